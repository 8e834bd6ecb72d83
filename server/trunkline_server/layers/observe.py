"""Observe: one access-log line and one count for every call, whatever became of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal

from trunkline.v1 import call_pb2
from trunkline_server.core import now
from trunkline_server.errors import CallError, reason_name
from trunkline_server.layers.entry import call_row
from trunkline_server.state.statistics import Finished

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.gateway_service_pb2 import GenerateResponse
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.logs import Log
    from trunkline_server.state.ledger.rows import CallRow

CANCELLED = "CANCELLED"


def observe(log: Log, record: Callable[[Finished, float], None], enter: Callable[[CallRow], None]) -> Layer:
    """See the final outcome of every call, invalid ones and those whose caller went away included.

    A caller that goes away shows as CancelledError at an await, or as GeneratorExit when a write failed. Nothing is
    awaited here at the end: the RPC's task may be cancelled already.
    """

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            answer: GenerateResponse | None = None
            reason = CANCELLED
            try:
                events = below(call)
                try:
                    async for event in events:
                        if event.HasField("completed"):
                            answer = event.completed.response
                        yield event
                except BaseException:
                    await events.aclose()
                    raise
                reason = ""
            except CallError as error:
                reason = reason_name(error.reason)
                raise
            except asyncio.CancelledError:
                reason = _why_cancelled(call)
                raise
            except Exception:
                reason = reason_name(call_pb2.ERROR_REASON_INTERNAL)
                raise
            finally:
                finished = _finished(call, reason, answer)
                ended = time.time()
                enter(call_row(call, finished, round((ended - finished.total_time) * 1e6), reason, answer))
                _write(log, call, finished, reason, answer)
                # Last: what is learned must not cost a row or a line.
                record(finished, ended)

        return handle

    return layer


def _why_cancelled(call: Call) -> str:
    task = asyncio.current_task()
    if task is not None and not task.cancelling():
        return reason_name(call_pb2.ERROR_REASON_INTERNAL)
    if now() >= call.deadline:
        return reason_name(call_pb2.ERROR_REASON_DEADLINE_EXCEEDED)
    return CANCELLED


def _result(reason: str, answer: GenerateResponse | None) -> Literal["success", "error", "cancelled"]:
    # Once the terminal marker was handed over the call is whole, however the connection ended.
    if answer is not None:
        return "success"
    return "cancelled" if reason == CANCELLED else "error"


def _finished(call: Call, reason: str, answer: GenerateResponse | None) -> Finished:
    story = call.story
    provider, model = story.target.provider, story.target.model
    result = _result(reason, answer)
    return Finished(
        provider=provider,
        model=f"{provider}/{model}" if provider else "",
        result=result,
        interrupted=story.committed and result == "error",
        attempts=story.attempts,
        usage=answer.usage if answer is not None and answer.HasField("usage") else None,
        total_time=now() - call.arrival,
        time_to_first_token=story.time_to_first_token,
        task=call.request.routing.task if story.valid else "",
        estimated=_estimated(call, provider, model),
    )


def _estimated(call: Call, provider: str, model: str) -> int | None:
    """What the request was thought to have, counted as the family of the model counts that answered."""
    count = call.story.count
    if count is None or count.media or not provider:
        return None
    offer = call.snapshot.offers[provider]
    known = offer.models.get(model) or offer.discovered.get(model)
    return count.at(known.family if known is not None else "")


def _write(log: Log, call: Call, finished: Finished, reason: str, answer: GenerateResponse | None) -> None:
    usage, first = finished.usage, finished.time_to_first_token
    log.info(
        "call",
        id=call.id,
        method="StreamGenerate" if call.streaming else "Generate",
        requested_model=call.request.model[:200],
        target=finished.model,
        result=finished.result,
        reason=reason,
        finish_reason=answer.provider_finish_reason if answer is not None else "",
        input_tokens=usage.input_tokens if usage and usage.HasField("input_tokens") else None,
        output_tokens=usage.output_tokens if usage and usage.HasField("output_tokens") else None,
        attempts=finished.attempts,
        total_ms=round(finished.total_time * 1000, 2),
        first_token_ms=None if first is None else round(first * 1000, 2),
        config=call.snapshot.version,
    )
