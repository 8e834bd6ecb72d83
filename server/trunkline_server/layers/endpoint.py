"""Endpoint: each attempt goes to one of the provider's endpoints, which are credentials of its operator."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from trunkline_server.routing.endpoints import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.state.provider_health import EndpointState


def one_of(states: Sequence[EndpointState], handlers: Sequence[Handler]) -> Handler:
    """One of `handlers` for each attempt, as its state in the same place allows: see `choose`."""
    if len(handlers) == 1:
        return handlers[0]
    turns = count()

    def handle(call: Call) -> Events:
        return handlers[choose([state.wait() for state in states], next(turns))](call)

    return handle
