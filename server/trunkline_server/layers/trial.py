"""Trial: one try at a target. What it reads from its tape, in what time, and how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    Heartbeat,
    Restarted,
    StreamGenerateResponse,
    StreamStarted,
)
from trunkline_server.core import now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.fold import is_content, merge
from trunkline_server.layers.failure import deadline_passed, ending
from trunkline_server.layers.sums import cost_of
from trunkline_server.spans import seconds, set_nanoseconds, set_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.fold import Fold
    from trunkline_server.layers.resume import Resumption
    from trunkline_server.registry import TaskRegistry
    from trunkline_server.tape import Tape

    Report = Callable[[Call, call_pb2.Attempt], None]

HEARTBEAT = StreamGenerateResponse(heartbeat=Heartbeat())
NEVER = float("inf")


class Pace(Struct, frozen=True):
    """How long a reader waits, in seconds. All but `attempt` is of streams."""

    # For a whole answer, and for the first piece of a stream.
    attempt: float
    first_token: float = NEVER
    between_tokens: float = NEVER
    heartbeat: float = NEVER
    coalesce: float = 0.0


def pace_of(call: Call, routing: call_pb2.Routing | None) -> Pace:
    """The limits of the target's provider, and what the caller wants."""
    settings = call.snapshot.settings
    provider = settings.providers[call.target.provider]
    attempt = provider.retry.attempt_timeout or NEVER
    if routing is not None and routing.HasField("attempt_timeout"):
        attempt = min(attempt, seconds(routing.attempt_timeout))
    if not call.streaming:
        return Pace(attempt)
    limits, heartbeat, coalesce = settings.limits, NEVER, 0.0
    if call.request.HasField("stream_options"):
        options = call.request.stream_options
        coalesce = seconds(options.coalesce_window)
        heartbeat = seconds(options.heartbeat_interval) if options.HasField("heartbeat_interval") else NEVER
    return Pace(
        attempt,
        first_token=provider.first_token or limits.first_token,
        between_tokens=provider.between_tokens or limits.between_tokens,
        heartbeat=heartbeat,
        coalesce=coalesce,
    )


class Watched(Protocol):
    """An attempt, as whoever measures how targets do sees it."""

    def first_token(self, now: float) -> None:
        """Its first piece is there."""

    def ended(self, record: call_pb2.Attempt, now: float) -> None:
        """It has ended so."""


class Begins(Protocol):
    """Who measures how targets do."""

    def begin(self, call: Call, now: float) -> Watched:
        """An attempt at the call's target begins."""


class Shared(Struct):
    """What the trials of one call have in common."""

    report: Report
    signals: Begins
    # What the caller says of how it is tried. None = nothing.
    routing: call_pb2.Routing | None
    # The answer so far, where it is needed as a whole.
    fold: Fold | None = None
    # All, in the order in which they began.
    trials: list[Trial] = field(default_factory=list)
    # What to say at the end beside what the provider has to say.
    warnings: list[call_pb2.Warning] = field(default_factory=list)

    def begin(self, call: Call, number: int, resumption: Resumption | None) -> Trial:
        """Another one, at the call's target, which has this number."""
        pace, at = pace_of(call, self.routing), now()
        limit = min(at + pace.attempt, at + pace.first_token, call.deadline)
        trial = Trial(call, number, pace, at, limit, self, self.signals.begin(call, at), resumption)
        self.trials.append(trial)
        return trial

    def records(self) -> list[call_pb2.Attempt]:
        """Those that have ended."""
        return [trial.record for trial in self.trials if trial.record is not None]

    def running(self) -> list[Trial]:
        """Those that have not."""
        return [trial for trial in self.trials if trial.record is None]


class Trial(Struct, eq=False):
    """One attempt. Its events are read by `events`; it has ended once `record` is there."""

    call: Call
    # Its target's.
    number: int
    pace: Pace
    begin: float
    # When its first piece has to be there, of a unary call the whole answer. Not after the deadline.
    limit: float
    _shared: Shared
    _watched: Watched
    # Of what was sent before this. None: nothing was.
    _resumption: Resumption | None
    record: call_pb2.Attempt | None = None
    # When its first piece came, in nanoseconds since 1970. 0: none did.
    _created: int = 0

    def asked(self, below: Handler) -> Events:
        """What answers it, for a tape."""
        return below(self.call) if self._resumption is None else self._resumption.asked(self.call, below)

    def events(self, tape: Tape) -> Events:
        """What the caller gets of it. Raises UpstreamError, and CallError if the whole call ends."""
        return self._stream(tape) if self.call.streaming else self._whole(tape)

    async def whole(self, below: Handler, registry: TaskRegistry) -> list[StreamGenerateResponse]:
        """The same without a tape: nothing runs beside a unary call that is asked of one target at a time."""
        answer: list[StreamGenerateResponse] = []
        events = below(self.call)  # there is nothing to resume
        try:
            with registry.term(self.limit, self.late, self._ended_by):
                async for event in events:
                    if not answer:
                        self._begun(now())
                    answer.append(event)
                    if event.HasField("completed"):
                        break  # the answer is whole, however long it takes to close
            # To its end, which is next: to close it here throws an exception through every layer below.
            await anext(events, None)
        finally:
            await events.aclose()
        if not answer or not (last := answer[-1]).HasField("completed"):
            raise no_marker()
        answer[-1] = self._completed(last)
        return answer

    async def _whole(self, tape: Tape) -> Events:
        """The events of a unary call, all at once, when the terminal marker is there."""
        events: list[StreamGenerateResponse] = []
        while not events or not events[-1].HasField("completed"):
            await self._wait(tape, self.limit, NEVER)
            taken = taken_from(tape)
            if not events:
                self._begun(now())
            events += taken
        events[-1] = self._completed(events[-1])
        for event in events:
            yield event

    async def _stream(self, tape: Tape) -> Events:
        """The events of a streamed call as they come: `started` before the first piece, neighbours merged."""
        pace, fold, resumption = self.pace, self._shared.fold, self._resumption
        limit = self.limit
        while True:
            while not await self._wait(tape, limit, pace.heartbeat):
                yield HEARTBEAT
            if pace.coalesce and self._created:
                await tape.gather(min(now() + pace.coalesce, self.call.deadline))
            events = merge(taken_from(tape))
            for event in events if resumption is None else resumption.join(events):
                if not self._created and (is_content(event) or event.HasField("completed")):
                    yield self._opening()
                if fold is not None:
                    fold.add(event)
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
        raise self.late(due)

    def late(self, due: float) -> Exception:
        """What it means that nothing came until then."""
        if due >= self.call.deadline:
            return deadline_passed()
        return UpstreamError(call_pb2.OUTCOME_TIMEOUT, code=self._code())

    def _code(self) -> str:
        if not self.call.streaming:
            return "attempt_timeout"
        if self._created:
            return "between_tokens"
        return "first_token" if self.pace.first_token <= self.pace.attempt else "attempt_timeout"

    def _begun(self, at: float) -> None:
        """Its first piece is there."""
        self._created = time.time_ns()
        self._watched.first_token(at)

    def _opening(self) -> StreamGenerateResponse:
        """What tells that this target begins to answer."""
        story, fold, at = self.call.story, self._shared.fold, now()
        self._begun(at)
        if self._resumption is not None:
            restarted = Restarted(
                discard=self._resumption.discard, target=self.call.target, cause=self._resumption.cause
            )
            event = StreamGenerateResponse(restarted=restarted)
            if fold is not None:
                fold.add(event)
            return event
        story.committed = True
        story.time_to_first_token = at - self.call.arrival
        event = StreamGenerateResponse(started=StreamStarted(id=self.call.id, target=self.call.target))
        set_nanoseconds(event.started.create_time, self._created)
        return event

    def _completed(self, event: StreamGenerateResponse) -> StreamGenerateResponse:
        """The provider's `completed` with what only we know. A copy: an event that was given is not changed."""
        call, shared = self.call, self._shared
        last = StreamGenerateResponse()
        last.CopyFrom(event)
        response = last.completed.response
        if shared.fold is not None and call.request.stream_options.include_final_message:
            response.CopyFrom(shared.fold.response())
        response.id = call.id
        set_nanoseconds(response.create_time, self._created)
        for warning in response.warnings:
            warning.target.CopyFrom(call.target)
        at = now()
        self._succeed(response, at)
        if shared.warnings:
            response.warnings.extend(shared.warnings)
        self.tell(response.served, at)
        return last

    def _succeed(self, response: GenerateResponse, at: float) -> None:
        usage = response.usage if response.HasField("usage") else None
        cost = response.cost if response.HasField("cost") else None
        self._ended(call_pb2.OUTCOME_SUCCESS, at, usage, cost)
        if len(self._shared.trials) > 1 and (cost := cost_of(self._shared.records())) is not None:
            response.cost.CopyFrom(cost)

    def _ended_by(self, error: Exception) -> None:
        """It is about to be closed for this."""
        if isinstance(error, UpstreamError):
            self.end(error)
        elif isinstance(error, CallError):
            self.end(UpstreamError(ending(error)))

    def end(self, error: UpstreamError) -> None:
        """It ends so, unless it had ended before."""
        if self.record is not None:
            return
        self._ended(error.outcome, now(), error.usage, error.cost, error)

    def _ended(
        self,
        outcome: call_pb2.Outcome.ValueType,
        at: float,
        usage: call_pb2.Usage | None,
        cost: call_pb2.Cost | None,
        error: UpstreamError | None = None,
    ) -> None:
        """Write down and tell that it has ended so. `error`: it has failed."""
        call = self.call
        call.fate.outcome = call.story.outcome = outcome
        record = call_pb2.Attempt(
            target=call.target, outcome=outcome, hedge=call.hedge, retry=call.again, usage=usage, cost=cost
        )
        set_seconds(record.duration, at - self.begin)
        if error is not None:
            self._add_failure(record, error)
        self.record = record
        self._watched.ended(record, at)
        self._shared.report(call, record)

    def _add_failure(self, record: call_pb2.Attempt, error: UpstreamError) -> None:
        """What the provider said, and what it cost all the same."""
        record.provider_status = error.status
        record.provider_code = error.code
        record.provider_message = error.message
        record.provider_request_id = error.request_id
        settle = self.call.fate.settle
        if error.cost is None and settle is not None and (cost := settle(error.outcome)) is not None:
            record.cost.CopyFrom(cost)

    def tell(self, served: call_pb2.Served, at: float) -> None:
        """Complete what the provider said of itself. `at`: when the call ends."""
        call, story = self.call, self.call.story
        served.target.CopyFrom(call.target)
        served.requested_model = call.request.model
        served.config_version = call.snapshot.version
        choice = story.choice
        served.strategy, served.decision_id = choice.strategy, choice.decision_id
        served.task, served.experiment_arm = choice.task, choice.arm
        served.attempts.extend(self._shared.records())
        if story.time_to_first_token is not None:
            set_seconds(served.time_to_first_token, story.time_to_first_token)
        set_seconds(served.total_time, at - call.arrival)


def taken_from(tape: Tape) -> list[StreamGenerateResponse]:
    """What is ready. Raises what the tape raises, and UpstreamError if it has ended without a terminal marker."""
    events = tape.take()
    if not events:
        raise no_marker()
    return events


def no_marker() -> UpstreamError:
    """The answer has ended without saying so."""
    return UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_terminal_marker")
