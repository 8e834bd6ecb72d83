"""Ways to damage an answer: its bytes, the order of its pieces, the values in its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from event_streams import message

from trunkline_server.wire.eventstream import EventStreamFramer
from trunkline_server.wire.framing import FramingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

# In place of any value: of every type, and at the ends of what its type can hold.
NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308, float("nan"), float("inf"))
TEXTS = ("", "x", "null", "0", "\x00", "\ud83d", "é" * 50, "{", '{"a":', "x" * 5000)
VALUES: tuple[Any, ...] = (None, True, False, *NUMBERS, *TEXTS, [], {}, [[]], [None], [{}], {"": None}, {"type": 1})
BYTES: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"data: ",
    b"data: [DONE]\n\n",
)
BYTES += (
    b"event: error\n",
    b": ping\n\n",
    b"{",
    b"}",
    b"]",
    b'"',
    b",",
    b"\\u",
    b"1e999",
    b"-",
    b"[" * 2000,
    b'{"a":' * 500,
)
_DEEP = 1500


def damaged(body: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """The body with one to four things wrong, most of them in its structure."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        body = rng.choice(_WAYS)(body, others, rng)
    return body


def pieces_of(data: bytes, rng: Random) -> list[bytes]:
    """The data as a socket may give it: in a few pieces, or byte by byte."""
    if len(data) < 3000 and rng.random() < 0.3:
        return [data[index : index + 1] for index in range(len(data))]
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(1, 12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# --- bytes ------------------------------------------------------------------------------------------------------------


def _cut_off(body: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    return body[: rng.randint(0, len(body))]


def _bytes_changed(body: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    start = rng.randint(0, len(body))
    end = min(len(body), start + rng.choice((0, 1, 1, 2, 10, 100)))
    return body[:start] + rng.choice((*BYTES, body[start:end] * 2)) + body[end:]


def _bit_flipped(body: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    if not body:
        return body
    place = rng.randrange(len(body))
    return body[:place] + bytes([body[place] ^ (1 << rng.randrange(8))]) + body[place + 1 :]


def _spliced(body: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    other = rng.choice(others)
    return body[: rng.randint(0, len(body))] + other[rng.randint(0, len(other)) :]


def _another_charset(body: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    return body.decode("utf-8", "replace").encode(rng.choice(("latin-1", "utf-16", "cp1252")), "replace")


# --- pieces and values ------------------------------------------------------------------------------------------------


def _pieces_changed(body: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """Events left out, doubled, in another order, or of another answer."""
    split, join = _form(body)
    pieces = split(body)
    if not pieces:
        return body
    place, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    match rng.randrange(5):
        case 0:
            del pieces[place]
        case 1:
            pieces.insert(other, pieces[place])
        case 2:
            pieces[place], pieces[other] = pieces[other], pieces[place]
        case 3:
            del pieces[min(place, other) : max(place, other)]
        case _:
            pieces[place:place] = split(rng.choice(others))[:3]
    return join(pieces)


def _value_changed(body: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    """One value in the JSON of one piece."""
    split, join = _form(body)
    pieces = split(body)
    if not pieces:
        return body
    place = rng.randrange(len(pieces))
    pieces[place] = _with_json(pieces[place], rng)
    return join(pieces)


def _with_json(piece: bytes, rng: Random) -> bytes:
    start = piece.find(b"{")
    try:
        value = json.loads(piece[start:])
    except (ValueError, RecursionError):
        return piece
    if rng.random() < 0.02:
        return piece[:start] + b'{"a":' * _DEEP + b"1" + b"}" * _DEEP
    return piece[:start] + json.dumps(changed(value, rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")


def changed(value: Any, rng: Random) -> Any:
    """The value with one value in it, however deep, another, gone, or under another name."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice([*value])
        match rng.randrange(8):
            case 0:
                return {name: inner for name, inner in value.items() if name != key}
            case 1:
                return {(f"{name}x" if name == key else name): inner for name, inner in value.items()}
            case 2:
                return value | {key: value[rng.choice([*value])]}
            case _:
                return value | {key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        new = rng.choice(([], [value[place]] * 2, [changed(value[place], rng)]))
        return [*value[:place], *new, *value[place + 1 :]]
    return rng.choice(VALUES)


Form = tuple["Callable[[bytes], list[bytes]]", "Callable[[list[bytes]], bytes]"]


def _form(body: bytes) -> Form:
    """How the body comes apart: events, lines, messages with checksums, or not at all."""
    if body[:1] == b"\x00":
        return _payloads, b"".join
    if b"data:" in body[:2000]:
        return lambda data: data.split(b"\n\n"), b"\n\n".join
    if body.count(b"\n{") > 1:
        return lambda data: data.split(b"\n"), b"\n".join
    return lambda data: [data], b"".join


def _payloads(body: bytes) -> list[bytes]:
    """The messages of an event stream, as far as it can be read: each is whole, with its checksums."""
    framer = EventStreamFramer()
    try:
        return [message(each.headers, each.payload) for each in framer.feed(body)]
    except FramingError:
        return []


def _payload_changed(body: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """As _value_changed, in a message whose checksums are right again."""
    if body[:1] != b"\x00":
        return _value_changed(body, others, rng)
    try:
        messages = EventStreamFramer().feed(body)
    except FramingError:
        return body
    place = rng.randrange(max(1, len(messages)))
    payloads = [_with_json(each.payload, rng) if at == place else each.payload for at, each in enumerate(messages)]
    return b"".join(message(each.headers, payload) for each, payload in zip(messages, payloads, strict=True))


_WAYS = (
    *(_payload_changed,) * 6,
    *(_pieces_changed,) * 4,
    _value_changed,
    _cut_off,
    _bytes_changed,
    _bytes_changed,
    _bit_flipped,
    _spliced,
    _another_charset,
)
