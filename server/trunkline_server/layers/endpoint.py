"""Endpoint: each attempt goes to one of the provider's endpoints, when that takes it, and tells it how it went."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.routing.endpoints import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.state.endpoints import Endpoint


def one_of(endpoints: Sequence[Endpoint], handlers: Sequence[Handler], draw: Callable[[], float]) -> Handler:
    """One of `handlers` for each attempt, as its endpoint in the same place allows: see `choose`.

    A retry goes to the endpoint that pays for it, unless that cannot be asked any more.

    Raises UpstreamError NOT_SENT if the endpoint does not take the attempt. However the attempt ends, what it holds
    there is free at once, and the endpoint knows how it ended.
    """
    turns, is_alone = count(), len(endpoints) == 1

    def chosen(call: Call) -> int:
        waits = [each.wait() for each in endpoints]
        paying = [at for at, each in enumerate(endpoints) if each is call.paid_by and not waits[at]]
        return paying[0] if paying else choose(waits, next(turns), [each.share_away() for each in endpoints], draw)

    async def handle(call: Call) -> Events:
        at = 0 if is_alone else chosen(call)
        visit = await endpoints[at].enter(call)
        waiting = True
        try:
            events = handlers[at](call)
            try:
                async for event in events:
                    if event.HasField("completed"):
                        visit.completed(event)
                    elif waiting:
                        waiting = False
                        visit.first_token()
                    yield event
            except BaseException:
                await events.aclose()
                raise
            visit.end(call_pb2.OUTCOME_INTERRUPTED)
        except UpstreamError as error:
            visit.failed(error)
            raise
        except BaseException as error:
            visit.end(_outcome(error, call))
            raise

    return handle


def _outcome(error: BaseException, call: Call) -> call_pb2.Outcome.ValueType:
    """How an attempt ended that neither completed nor failed at the provider."""
    if isinstance(error, CallError):
        return call_pb2.OUTCOME_NOT_SENT
    # Otherwise cancelled or closed by `attempt`, which knows why.
    return call_pb2.OUTCOME_PROTOCOL_ERROR if isinstance(error, Exception) else call.fate.outcome
