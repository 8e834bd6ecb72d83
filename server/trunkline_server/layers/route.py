"""Route: the request's model becomes an ordered plan of targets that the caller may use. Pure over the call."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline_server.routing.names import resolve_model

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler


def route(below: Handler) -> Handler:
    """Give the call its plan. Raises UnknownModel, ModelNotAllowed or NoCandidate."""

    async def handle(call: Call) -> Events:
        plan = resolve_model(call.snapshot, call.request.model, call.identity)
        async with aclosing(below(replace(call, plan=plan))) as events:
            async for event in events:
                yield event

    return handle
