"""What a prompt looks like, cheaply: four views of it, each from coarse to fine, and which words are in it.

Prompts that look alike ask for similar work, and models differ by the kind of work. A view is a chain of keys, each of
which splits those before it; a prompt's keys name the cells (cells.py) that know how models did on prompts like it.
Words, and pairs of neighbours, are told apart as far as BUCKETS go. Who knows the language can guess much of a prompt
from all of this: it is kept sealed (state/learned/seal.py), and in no log.
"""

from __future__ import annotations

import re
from itertools import repeat
from operator import mod
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from trunkline.v1.content_pb2 import ROLE_USER

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest


class Shape(NamedTuple):
    """What is kept of a prompt."""

    # By view, from coarse to fine.
    views: tuple[tuple[int, ...], ...]
    # Below BUCKETS, each once, in no order.
    words: tuple[int, ...]


NO_SHAPE = Shape((), ())
# Characters at the beginning that are looked at.
LOOKED_AT = 1500
# Words that are looked at, and the numbers that they and their pairs have.
MOST_WORDS, BUCKETS = 64, 16_384
_WORD = re.compile(rb"[a-z\x80-\xff]+")
_TOKENS = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")


def prompt_of(request: GenerateRequest) -> str:
    """What the caller says last, as far as it is text."""
    for message in reversed(request.messages):
        if message.role == ROLE_USER:
            return "".join(part.text for part in message.parts)
    return ""


def shape_of(prompt: str) -> Shape:
    """The prompt's keys: how it begins, how it ends, its size, its symbols, its words. Takes about 25 us."""
    head = prompt[:LOOKED_AT]
    first = [*_TOKENS.findall(prompt[:64].lower()), "", "", ""]
    last = ["", "", "", *_TOKENS.findall(prompt[-64:].lower())]
    half, size = len(prompt).bit_length(), (len(prompt) ** 2).bit_length()
    digits = sum(map(head[:300].count, "0123456789")).bit_length()
    marks = [_many(head, mark) for mark in ("$", "=", "_", "{", "(")]
    views = (
        _chain("first", f"{head.isascii()} {first[0]} {first[1]}", first[2]),
        _chain("last", f"{last[-1]} {last[-2]}", last[-3]),
        _chain("size", f"{size} {digits} {_many(head, chr(10))}", f"{_many(head, '?')}"),
        _chain("symbols", f"{marks}", f"{_many(head, 'def ')} {half}"),
    )
    return Shape(views, _words(head))


def _words(head: str) -> tuple[int, ...]:
    words = _WORD.findall(head.lower().encode())[:MOST_WORDS]
    alone = [*map(crc32, words)]
    pairs = map(crc32, words[1:], map(crc32, repeat(b" "), alone))
    return tuple({*map(mod, alone, repeat(BUCKETS)), *map(mod, pairs, repeat(BUCKETS))})


def _many(text: str, what: str) -> int:
    """How often, roughly: 0, 1, 2 to 3, 4 to 7, ..., at most 6."""
    return min(6, text.count(what).bit_length())


def _chain(view: str, *parts: str) -> tuple[int, ...]:
    keys, key = [], crc32(view.encode())
    for part in parts:
        key = crc32(f" {part}".encode(), key)
        keys.append(key)
    return tuple(keys)
