"""Route: the request's model becomes an ordered plan of targets that the caller may use."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline_server.routing.names import resolve_model
from trunkline_server.routing.plan import plan_of
from trunkline_server.routing.steering import steer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.routing.steering import Figure

    Figures = Callable[[Iterable[str]], Mapping[str, Figure]]


def route(figures: Figures, draw: Callable[[], float]) -> Layer:
    """Give the call its plan: several that are equally good by chance, and as they did lately.

    `figures` tells how providers do now, `draw` gives random numbers from 0 to 1. Raises UnknownModel,
    ModelNotAllowed or NoCandidate.
    """

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            def resolve(name: str) -> tuple[Target, ...]:
                targets = resolve_model(call.snapshot, name, call.identity)
                if len(targets) == 1:
                    return targets
                return steer(targets, figures(target.provider for target in targets), draw)

            plan = plan_of(call.snapshot.settings, call.request.model, call.request.routing, resolve)
            async with aclosing(below(replace(call, plan=plan.targets, larger=plan.larger))) as events:
                async for event in events:
                    yield event

        return handle

    return layer
