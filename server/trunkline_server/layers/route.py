"""Route: the request's model becomes an ordered plan of targets that the caller may use."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
from trunkline_server.routing.plan import plan_of
from trunkline_server.routing.replaced import targets_of
from trunkline_server.routing.steering import steer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.routing.steering import Figure

    Replaced = dict[tuple[str, str], CallWarning]
    Figures = Callable[[Iterable[str]], Mapping[str, Figure]]


def route(figures: Figures, draw: Callable[[], float], clock: Callable[[], float] = time.time) -> Layer:
    """Give the call its plan: several that are equally good by chance, and as they did lately.

    `figures` tells how providers do now, `draw` gives random numbers from 0 to 1, `clock` seconds since
    1970. Who is answered by another model than he named is told so in the last event. Raises UnknownModel,
    ModelNotAllowed, ModelGone or NoCandidate.
    """

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            when, strict = int(clock()), call.request.routing.strict_params
            replaced: Replaced = {}

            def resolve(name: str) -> tuple[Target, ...]:
                targets, instead = targets_of(call.snapshot, name, when, call.identity, strict=strict)
                replaced.update(instead)
                if len(targets) == 1:
                    return targets
                return steer(targets, figures(target.provider for target in targets), draw)

            plan = plan_of(call.snapshot.settings, call.request.model, call.request.routing, resolve)
            async with aclosing(below(replace(call, plan=plan.targets, larger=plan.larger))) as events:
                async for event in events:
                    yield _warned(event, replaced) if replaced and event.HasField("completed") else event

        return handle

    return layer


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
