"""Route: the request's model becomes an ordered plan of targets. Pure over the call's snapshot."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline_server.routing.names import resolve_model

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler


def route(below: Handler) -> Handler:
    """Give the call its plan. Raises UnknownModel or NoCandidate."""

    async def handle(call: Call) -> Events:
        plan = resolve_model(call.snapshot, call.request.model)
        async with aclosing(below(replace(call, plan=plan))) as events:
            async for event in events:
                yield event

    return handle
