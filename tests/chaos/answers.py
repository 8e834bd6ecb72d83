"""What scripted providers say: an answer that proves itself whole, in order, and its caller's own. Pure.

    c7:alpha:0 c7:alpha:1 c7:alpha:2 = 5d1c9f02

Each word has the call's number, the provider and its place; what stands behind the equals sign is the words' checksum.
"""

from __future__ import annotations

from zlib import crc32

_END = "= "


def say(number: str, provider: str, words: int) -> list[str]:
    """The pieces of an answer."""
    said = [_word(number, provider, place) for place in range(words)]
    return [*said, _END + _sum("".join(said))]


def flaw(number: str, text: str, *, whole: bool) -> str:
    """What is wrong with what a caller has of an answer; "" = nothing. `whole`: the caller was told that it is."""
    said, end, checksum = text.partition("=")
    if whole and not end:
        return f"taken for whole without its end: ...{text[-40:]!r}"
    if said and said != _expected(number, provider_of(said), said):
        return f"words are missing, mixed or another call's: ...{said[-40:]!r}"
    right = " " + _sum(said)
    if checksum != right and (whole or not right.startswith(checksum)):
        return f"the checksum is {checksum!r} and should be {right!r}"
    return ""


def provider_of(text: str) -> str:
    """Who says that it has said this."""
    return [*text.split(" ", 1)[0].split(":"), ""][1]


def _expected(number: str, provider: str, said: str) -> str:
    return "".join(_word(number, provider, place) for place in range(said.count(" ") + 1))[: len(said)]


def _word(number: str, provider: str, place: int) -> str:
    return f"{number}:{provider}:{place} "


def _sum(said: str) -> str:
    return f"{crc32(said.encode()):08x}"
