"""Upstream's JSON. Text that is not Unicode is mended: it cannot enter a protobuf string, and should not end a call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from msgspec import DecodeError, ValidationError

if TYPE_CHECKING:
    from msgspec.json import Decoder

T = TypeVar("T")

# An escape of a JSON string: a pair of surrogates, half a pair (group 1), or any other.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def decode_json(decoder: Decoder[T], data: bytes) -> T:
    """Decode `data`; bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD.

    Raises DecodeError where it is not JSON, ValidationError (a DecodeError) where it is JSON of another shape.
    """
    try:
        return _decode(decoder, data)
    except RecursionError:
        raise DecodeError("nested too deeply") from None


def _decode(decoder: Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except ValidationError:
        raise
    except (DecodeError, UnicodeDecodeError):
        return decoder.decode(_mended(data))


def _mended(data: bytes) -> str:
    return _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], data.decode("utf-8", "replace"))
