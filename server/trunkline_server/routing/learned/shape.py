"""What a prompt looks like, cheaply: five views of it, each from coarse to fine.

Prompts that look alike ask for similar work, and models differ by the kind of work. A view is a chain of keys, each of
which splits those before it; a prompt's keys name the cells (cells.py) that know how models did on prompts like it.
No key can be turned back into text.
"""

from __future__ import annotations

import re
from zlib import crc32

# By view, from coarse to fine.
Shape = tuple[tuple[int, ...], ...]

NO_SHAPE: Shape = ()
# Characters at the beginning that are looked at.
LOOKED_AT = 1500
_TOKENS = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")


def shape_of(prompt: str) -> Shape:
    """The prompt's keys: how its parts are marked, how it begins, how it ends, its size, its symbols. About 15 us."""
    head = prompt[:LOOKED_AT]
    first = [*_TOKENS.findall(prompt[:64].lower()), "", "", ""]
    last = ["", "", "", *_TOKENS.findall(prompt[-64:].lower())]
    lines, options, questions = _many(head, "\n"), _many(head, "A."), _many(head, "?")
    foreign, half, size = not head.isascii(), len(prompt).bit_length(), (len(prompt) ** 2).bit_length()
    digits = sum(map(head[:300].count, "0123456789")).bit_length()
    plain = f"{_many(head, '$')} {_many(head, '=')} {_many(head, '_')}"
    marks = f"{foreign} {options} {questions}"
    return (
        _chain("marks", marks, f"{lines}", f"{half} {last[-1]}"),
        _chain("first", f"{foreign} {first[0]}", first[1], first[2]),
        _chain("last", last[-1], last[-2], last[-3]),
        _chain("size", f"{half} {digits}", f"{size} {lines}", f"{questions}"),
        _chain("symbols", plain, f"{_many(head, '{')} {_many(head, '(')}", f"{_many(head, 'def ')} {half}"),
    )


def _many(text: str, what: str) -> int:
    """How often, roughly: 0, 1, 2 to 3, 4 to 7, ..., at most 6."""
    return min(6, text.count(what).bit_length())


def _chain(view: str, *parts: str) -> tuple[int, ...]:
    keys, key = [], crc32(view.encode())
    for part in parts:
        key = crc32(part.encode(), key)
        keys.append(key)
    return tuple(keys)
