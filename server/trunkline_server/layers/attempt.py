"""Attempt: one try at a target, in a task of its own, under the call's deadline. The only task boundary."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    Heartbeat,
    StreamCompleted,
    StreamGenerateResponse,
    StreamStarted,
)
from trunkline_server.core import Fate, now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.fold import Fold, is_content, merge
from trunkline_server.layers.failure import call_error, deadline_passed, interrupted
from trunkline_server.spans import seconds, set_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.core import Call, Events, Handler, Layer, Tape, TaskRegistry

    Report = Callable[[Call, call_pb2.Attempt], None]

# How an attempt ended that the gateway itself ended, by the reason that its caller is told. Every other was not sent.
ENDINGS = {
    call_pb2.ERROR_REASON_DEADLINE_EXCEEDED: call_pb2.OUTCOME_TIMEOUT,
    call_pb2.ERROR_REASON_DRAINING: call_pb2.OUTCOME_INTERRUPTED,
}
_NOT_SENT = call_pb2.OUTCOME_NOT_SENT
HEARTBEAT = StreamGenerateResponse(heartbeat=Heartbeat())
NEVER = float("inf")


def attempt(registry: TaskRegistry, report: Report) -> Layer:
    """Try the first target of the plan.

    Guarantees: exactly one of `completed` and an error; for a streamed call the target's first piece within first_token
    and each next one within between_tokens; nothing after the deadline. A unary call's events are held until the
    terminal marker. However the call ends, the registry closes what runs below. `report` learns of the attempt once,
    when it has ended, and must not fail.
    """

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            call.story.attempts += 1
            trial = _Trial(replace(call, target=call.plan[0], attempt=call.story.attempts, fate=Fate()))
            with registry.play(below(trial.call)) as tape:
                # What runs below is closed when this block is left: by then it is written down how the attempt ended.
                try:
                    async with aclosing(trial.stream(tape) if call.streaming else trial.whole(tape)) as events:
                        async for event in events:
                            yield event
                except UpstreamError as error:
                    raise trial.failed(call_error(trial.call, error), error) from error
                except CallError as error:
                    final = interrupted(error) if trial.call.story.committed and _is_draining(error) else error
                    raise trial.failed(final, UpstreamError(ENDINGS.get(error.reason, _NOT_SENT))) from error
                except Exception:
                    trial.end(UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR))
                    raise
                finally:
                    report(trial.call, trial.end(UpstreamError(call_pb2.OUTCOME_CANCELLED)))

        return handle

    return layer


def _is_draining(error: CallError) -> bool:
    return error.reason == call_pb2.ERROR_REASON_DRAINING


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a reader of a stream waits, in seconds."""

    first_token: float
    between_tokens: float
    heartbeat: float
    coalesce: float


def pace_of(call: Call) -> Pace:
    """The limits of the target's provider, and what the caller wants of the stream."""
    limits, options = call.snapshot.settings.limits, call.request.stream_options
    provider = call.snapshot.settings.providers[call.target.provider]
    return Pace(
        first_token=provider.first_token or limits.first_token,
        between_tokens=provider.between_tokens or limits.between_tokens,
        heartbeat=seconds(options.heartbeat_interval) if options.HasField("heartbeat_interval") else NEVER,
        coalesce=seconds(options.coalesce_window),
    )


class _Trial:
    """One attempt: what it reads from the tape, and how it ended."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._begin = now()
        self._create_time = Timestamp()
        self._fold = Fold() if call.streaming and call.request.stream_options.include_final_message else None
        self._record: call_pb2.Attempt | None = None
        call.story.target = call.target

    async def whole(self, tape: Tape) -> Events:
        """The events of a unary call, all at once, when the terminal marker is there."""
        events: list[StreamGenerateResponse] = []
        while not events or not events[-1].HasField("completed"):
            if not await tape.wait(self.call.deadline):
                raise deadline_passed()
            events += _taken(tape)
            if not self._create_time.seconds:
                self._create_time.FromNanoseconds(time.time_ns())
        events[-1] = self._completed(events[-1])
        for event in events:
            yield event

    async def stream(self, tape: Tape) -> Events:
        """The events of a streamed call as they come: `started` before the first piece, neighbours merged."""
        pace, story = pace_of(self.call), self.call.story
        limit = self._begin + pace.first_token
        while True:
            while not await self._wait(tape, limit, pace.heartbeat):
                yield HEARTBEAT
            if pace.coalesce and story.committed:
                await tape.gather(min(now() + pace.coalesce, self.call.deadline))
            for event in merge(_taken(tape)):
                if not story.committed and (is_content(event) or event.HasField("completed")):
                    yield self._started()
                if self._fold is not None:
                    self._fold.add(event)
                if event.HasField("completed"):
                    yield self._completed(event)
                    return
                yield event
            limit = now() + pace.between_tokens

    async def _wait(self, tape: Tape, limit: float, heartbeat: float) -> bool:
        """Whether there is something to take (True) or a heartbeat is due (False). Raises when a limit passes."""
        due, beat = min(limit, self.call.deadline), now() + heartbeat
        if await tape.wait(min(due, beat)):
            return True
        if beat < due:
            return False
        if due == self.call.deadline:
            raise deadline_passed()
        code = "between_tokens" if self.call.story.committed else "first_token"
        raise UpstreamError(call_pb2.OUTCOME_TIMEOUT, code=code)

    def _started(self) -> StreamGenerateResponse:
        story = self.call.story
        story.committed = True
        story.time_to_first_token = now() - self.call.arrival
        self._create_time.FromNanoseconds(time.time_ns())
        started = StreamStarted(id=self.call.id, target=self.call.target, create_time=self._create_time)
        return StreamGenerateResponse(started=started)

    def _completed(self, event: StreamGenerateResponse) -> StreamGenerateResponse:
        """The provider's `completed` with what only we know. A copy: an event that was given is not changed."""
        if self._fold is not None:
            response = self._fold.response()
        else:
            response = GenerateResponse()
            response.CopyFrom(event.completed.response)
        response.id = self.call.id
        response.create_time.CopyFrom(self._create_time)
        for warning in response.warnings:
            warning.target.CopyFrom(self.call.target)
        self._record = self._attempt(call_pb2.OUTCOME_SUCCESS)
        if response.HasField("usage"):
            self._record.usage.CopyFrom(response.usage)
        if response.HasField("cost"):
            self._record.cost.CopyFrom(response.cost)
        self._tell(response.served)
        return StreamGenerateResponse(completed=StreamCompleted(response=response))

    def end(self, error: UpstreamError) -> call_pb2.Attempt:
        """The attempt as it ended; `error` is how, unless it had ended before."""
        if self._record is None:
            self._record = record = self._attempt(error.outcome)
            record.provider_status = error.status
            record.provider_code = error.code
            record.provider_message = error.message
            record.provider_request_id = error.request_id
            if error.usage is not None:
                record.usage.CopyFrom(error.usage)
            if error.cost is not None:
                record.cost.CopyFrom(error.cost)
        return self._record

    def failed(self, final: CallError, error: UpstreamError) -> CallError:
        """`final`, with what the call cost all the same."""
        record = self.end(error)
        failure = call_pb2.CallFailure(id=self.call.id)
        if record.HasField("usage"):
            failure.usage.CopyFrom(record.usage)
        if record.HasField("cost"):
            failure.cost.CopyFrom(record.cost)
        self._tell(failure.served)
        final.failure = failure
        return final

    def _attempt(self, outcome: call_pb2.Outcome.ValueType) -> call_pb2.Attempt:
        self.call.fate.outcome = self.call.story.outcome = outcome
        record = call_pb2.Attempt(target=self.call.target, outcome=outcome)
        set_seconds(record.duration, now() - self._begin)
        return record

    def _tell(self, served: call_pb2.Served) -> None:
        """Complete what the provider said of itself."""
        served.target.CopyFrom(self.call.target)
        served.requested_model = self.call.request.model
        served.config_version = self.call.snapshot.version
        served.attempts.append(self.end(UpstreamError(call_pb2.OUTCOME_SUCCESS)))
        if self.call.story.time_to_first_token is not None:
            set_seconds(served.time_to_first_token, self.call.story.time_to_first_token)
        set_seconds(served.total_time, now() - self.call.arrival)


def _taken(tape: Tape) -> list[StreamGenerateResponse]:
    events = tape.take()
    if not events:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_terminal_marker")
    return events
