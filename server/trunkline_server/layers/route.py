"""Route: whom the call names, or whom the strategy chooses, becomes an ordered plan that the caller may use."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.routing.decision import Decision
    from trunkline_server.routing.routed import Replaced, Routed
    from trunkline_server.routing.router import Router


def route(router: Router, report: Callable[[Call, Decision], None]) -> Layer:
    """Give the call its plan, and its story how that was chosen.

    `report` is told of each decision. Who is answered by another model than he named is told so in the last event.
    Raises what Router.route raises.
    """

    def layer(below: Handler) -> Handler:
        def handle(call: Call) -> Events:
            routed = router.route(call)
            call.story.choice = routed.choice
            events = below(call.planned(routed.targets, routed.larger))
            if routed.decision is not None:
                report(call, routed.decision)
            return _followed(events, call, routed, router) if routed.is_followed else events

        return handle

    return layer


async def _followed(given: Events, call: Call, routed: Routed, router: Router) -> Events:
    cost: int | None = None
    try:
        async with aclosing(given) as events:
            async for event in events:
                if event.HasField("completed"):
                    cost = _cost(event)
                    yield _warned(event, routed.replaced) if routed.replaced else event
                else:
                    yield event
    finally:
        if routed.decision is not None:
            router.ended(call, routed, cost)


def _cost(event: StreamGenerateResponse) -> int | None:
    cost = event.completed.response.cost
    return cost.total_nano_usd if cost.HasField("total_nano_usd") else None


def _warned(event: StreamGenerateResponse, replaced: Replaced) -> StreamGenerateResponse:
    """A copy with the warning, if the target that answered stands in for another."""
    target = event.completed.response.served.target
    warning = replaced.get((target.provider, target.model))
    if warning is None:
        return event
    warned = StreamGenerateResponse()
    warned.CopyFrom(event)
    warned.completed.response.warnings.append(warning)
    return warned
