"""Pages of answers: a token holds the place where the page before ended, and the query that it belongs to. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from trunkline_server.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_DIGEST_SIZE = 8

_Place = TypeVar("_Place")


class Paged(Protocol):
    """A request for a page."""

    page_size: int
    page_token: str


def page_size(request: Paged, default: int, most: int) -> int:
    """How many rows a page has."""
    return min(request.page_size or default, most)


def violations_of_page(request: Paged, place: type[object]) -> Iterator[Violation]:
    """What is wrong with the page that is asked for."""
    if request.page_size < 0:
        yield Violation("page_size", "is negative: say 0 for the default")
    if request.page_token:
        try:
            decode_place(request, place)
        except ValueError:
            yield Violation("page_token", "is not of this query: repeat all else as it was, or begin without one")


def encode_place(request: Paged, place: object) -> str:
    """The token of a place between two pages of what `request` asks for."""
    return base64.urlsafe_b64encode(_digest(request) + msgspec.msgpack.encode(place)).decode()


def decode_place(request: Paged, place: type[_Place]) -> _Place:
    """The place that the request's token stands for. Raises ValueError if it is not of this query."""
    data = base64.b64decode(request.page_token, altchars="-_", validate=True)
    if not data.startswith(_digest(request)):
        raise ValueError("the token is of another query")
    try:
        return msgspec.msgpack.decode(data[_DIGEST_SIZE:], type=place)
    except msgspec.DecodeError:
        raise ValueError("the token is none of ours") from None


def _digest(request: Paged) -> bytes:
    """What the query asks for beside the page."""
    query: Message = type(request)()  # type: ignore[assignment]
    query.CopyFrom(request)  # type: ignore[arg-type]
    query.ClearField("page_token")
    query.ClearField("page_size")
    return hashlib.blake2b(query.SerializeToString(deterministic=True), digest_size=_DIGEST_SIZE).digest()
