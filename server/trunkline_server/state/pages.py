"""Pages of a list: how long one is, and the token of the next, which holds for the same question only."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from trunkline.v1.alerts_pb2 import ListAlertsRequest
    from trunkline.v1.identity_pb2 import ListApiKeysRequest, ListAuditEventsRequest

    Request = TypeVar("Request", ListAlertsRequest, ListApiKeysRequest, ListAuditEventsRequest)

DEFAULT_SIZE = 100
MAX_SIZE = 1000


def page_of(request: Request) -> tuple[int, str]:
    """How many entries the page has at most, and the id of the last entry before it; empty: it is the first.

    Raises InvalidRequest.
    """
    if request.page_size < 0:
        raise InvalidRequest([Violation("page_size", f"must be from 0 to {MAX_SIZE}")])
    last, _, digest = request.page_token.partition(".")
    if request.page_token and digest != _digest(request):
        raise InvalidRequest([Violation("page_token", "is not the next_page_token of a page of the same query")])
    return min(request.page_size or DEFAULT_SIZE, MAX_SIZE), last


def next_token(request: Request, last: str) -> str:
    """The token of the page after the entry with this id."""
    return f"{last}.{_digest(request)}"


def _digest(request: Request) -> str:
    query = type(request).FromString(request.SerializeToString())
    query.ClearField("page_token")
    query.ClearField("page_size")
    return hashlib.blake2b(query.SerializeToString(deterministic=True), digest_size=8).hexdigest()
