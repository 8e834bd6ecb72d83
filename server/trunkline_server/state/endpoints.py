"""An endpoint as calls meet it: whether it takes one now, what it learns of each, and what is told of it.

Four facts are kept apart: its breaker (it fails), its pacer (it asked us to wait), its credential, and how much of its
traffic should go elsewhere. Beside them what it takes at once and a minute, and the queue of those who wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server import core
from trunkline_server.errors import UpstreamError
from trunkline_server.routing.steering import Figure
from trunkline_server.spans import set_seconds
from trunkline_server.state.endpoint.breaker import NOT_TAKEN, Breaker, State
from trunkline_server.state.endpoint.bucket import Wait
from trunkline_server.state.endpoint.concurrency import Aimd, Gradient
from trunkline_server.state.endpoint.queue import AdmissionQueue, Priority, Refused
from trunkline_server.state.endpoint.recent import Recent
from trunkline_server.state.endpoint.retry_budget import Floor, RetryBudget
from trunkline_server.state.endpoint.throttle import Throttle
from trunkline_server.state.endpoint.upstream_limits import UpstreamLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.core import Call
    from trunkline_server.settings import ProviderSettings, TimeLimits
    from trunkline_server.state.endpoint.breaker import Trial
    from trunkline_server.state.endpoint.concurrency import ConcurrencyLimit
    from trunkline_server.state.endpoint.queue import Place
    from trunkline_server.state.endpoint.recent import Pace
    from trunkline_server.state.endpoint.upstream_limits import Limit, Reserved
    from trunkline_server.state.endpoint.window import Counts
    from trunkline_server.state.provider_health import EndpointState

    # The breaker has another state: told once each time.
    Tell = Callable[[State], None]

# Seconds. For so long a call waits until the endpoint may be asked again, or for what it takes a minute; rather than
# that, it goes elsewhere.
PATIENCE = 2.0
# How many may wait at least, however few may run.
SHORTEST_BOUND = 100
# Seconds. When to come back to an endpoint whose probes are all under way.
PROBED = 1.0
# A first token is slow if it takes this part of what is waited for at most.
SLOW = 0.5
# What says that too much was asked at once.
_TOO_MUCH = frozenset({call_pb2.OUTCOME_RATE_LIMITED, call_pb2.OUTCOME_OVERLOADED, call_pb2.OUTCOME_TIMEOUT})
# What says nothing of the endpoint.
_SILENT = frozenset({call_pb2.OUTCOME_CANCELLED, call_pb2.OUTCOME_NOT_SENT, call_pb2.OUTCOME_UNSPECIFIED})
_PRIORITIES = {
    call_pb2.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    call_pb2.PRIORITY_BATCH: Priority.BATCH,
    call_pb2.PRIORITY_NORMAL: Priority.NORMAL,
    call_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
}
_CIRCUITS = {
    State.CLOSED: pb.EndpointHealth.CIRCUIT_CLOSED,
    State.OPEN: pb.EndpointHealth.CIRCUIT_OPEN,
    State.HALF_OPEN: pb.EndpointHealth.CIRCUIT_HALF_OPEN,
}


class Endpoint:
    """One credential at one address. For one event loop."""

    def __init__(
        self,
        known: EndpointState,
        settings: ProviderSettings,
        times: TimeLimits,
        tell: Tell,
        draw: Callable[[], float],
        *,
        local: bool = False,
        clock: Callable[[], float] = core.now,
    ) -> None:
        """`draw` gives random numbers from 0 to 1, `clock` seconds that never go back.

        `local`: a server of one's own, which queues what is too much and does not refuse it.
        """
        self.known = known
        limits, most = settings.limits, settings.limits.concurrency or settings.max_connections
        self._tell, self._draw, self.clock = tell, draw, clock
        first_token = settings.first_token or times.first_token
        # Seconds: in the queue at most, for which the attempt's time for a first token goes by; until one is slow.
        self._patience, self._slow = min(times.connect, SLOW * first_token), SLOW * first_token
        breaker = settings.breaker
        self._breaker = Breaker(draw, failures=breaker.failures, recovery=breaker.recovery, tell=self._turned)
        self._times_opened = 0
        self._throttle = Throttle()
        self._limits = UpstreamLimits(limits)
        self._queue = AdmissionQueue(most, bound=max(most, SHORTEST_BOUND))
        self._concurrency = _adaptive(most, local=local) if limits.concurrency is None else None
        self._recent = Recent()
        self._retries = RetryBudget(Floor())

    # --- before a call ------------------------------------------------------------------------------------------------

    def wait(self) -> float:
        """Seconds until it makes sense to ask it. 0 = now."""
        now = self.clock()
        return max(self.known.wait(), self._circuit(now), self._limits.wait(now), self._crowd())

    def _circuit(self, now: float) -> float:
        return 0.0 if self._breaker.admits(now) else self._breaker.wait(now) or PROBED

    def _crowd(self) -> float:
        queue = self._queue
        return max(0.001, queue.predicted_wait(len(queue))) if queue.taken >= queue.limit else 0.0

    def share_away(self) -> float:
        """The share of its traffic that should go elsewhere."""
        return self._throttle.share_away(self.clock())

    def figure(self) -> Figure:
        """How it does, for the choice among providers."""
        now = self.clock()
        return Figure(self._recent.success(now), self._throttle.share_away(now), self.wait())

    def utilisation(self) -> float:
        """How much of the scarcest of its limits is in use, from 0 to 1: calls at once, or what it takes a minute."""
        queue = self._queue
        return max(min(1.0, queue.taken / max(1, queue.limit)), self._limits.used(self.clock()))

    def share(self, floor: Floor) -> None:
        """What its own share of retries does not pay for, the floor does, which is the whole provider's."""
        self._retries = RetryBudget(floor)

    def pay_retry(self) -> bool:
        """A call wants to come again. False = it must not; nothing was spent."""
        return self._retries.withdraw(self.clock())

    async def enter(self, call: Call) -> Visit:
        """Wait until the call may begin. Whoever is given a visit leaves it.

        Raises UpstreamError NOT_SENT, which says why and when to come back: circuit_open, blocked, limit, too_late or
        queue_full. A call that goes away meanwhile leaves nothing behind.
        """
        now = self.clock()
        if not self._breaker.is_closed and (wait := self._circuit(now)):
            raise _not_sent("circuit_open", wait)
        pace = self._recent.pace(call.target.model, streaming=call.streaming)
        if self.known.blocked():
            now = await self._pause(call, pace, now)
        usual = pace.median(now)
        reserved, wait = self._reserve(call, now, usual) if self._limits.known else (None, 0.0)
        try:
            if wait:
                await asyncio.sleep(wait)
                now = self.clock()
            place = self._queue.take(now) if now + usual <= call.deadline else None
            if place is None:
                place = await self._enter_queue(call, now, usual)
        except BaseException:
            self._withdraw(reserved, self.clock())
            raise
        if wait or place.waited:
            now = self._look_again(place, reserved)
        return self._begin(call, pace, place, reserved, now)

    async def _pause(self, call: Call, pace: Pace, now: float) -> float:
        """Wait until the endpoint may be asked again, if that is soon. Returns what the clock reads then."""
        until = now + _patience(call, now, pace.median(now))
        while block := self.known.blocked():
            if now + block > until:
                raise _not_sent("blocked", block)
            await asyncio.sleep(block)
            now = self.clock()
        return now

    def _reserve(self, call: Call, now: float, usual: float) -> tuple[Reserved, float]:
        found = self._limits.reserve(call.request, now, _patience(call, now, usual))
        if isinstance(found, Wait):
            raise _not_sent("limit", found.seconds)
        return found

    async def _enter_queue(self, call: Call, now: float, usual: float) -> Place:
        try:
            return await self._queue.enter(
                _PRIORITIES[call.request.context.priority],
                min(call.deadline, now + self._patience + usual),
                first_token=usual,
            )
        except Refused as refused:
            raise _not_sent("queue_full" if refused.full else "too_late", refused.retry_after) from None

    def _look_again(self, place: Place, reserved: Reserved | None) -> float:
        """What was so before the call waited may have changed. Returns what the clock reads now."""
        now = self.clock()
        if block := self.known.blocked():
            self._give_back(place, reserved, now)
            raise _not_sent("blocked", block)
        return now

    def _give_back(self, place: Place, reserved: Reserved | None, now: float) -> None:
        self._withdraw(reserved, now)
        place.leave(now)

    def _withdraw(self, reserved: Reserved | None, now: float) -> None:
        if reserved is not None:
            self._limits.seen(reserved)
            reserved.release(now)

    def _begin(self, call: Call, pace: Pace, place: Place, reserved: Reserved | None, now: float) -> Visit:
        trial = self._breaker.start(now)
        if trial is None:
            self._give_back(place, reserved, now)
            raise _not_sent("circuit_open", self._circuit(now) or PROBED)
        visit = Visit(self, pace, place, reserved, trial, self._throttle.start(now), now)
        if call.paid_by is None:
            self._retries.deposit(now)
        pace.begin(visit, now)
        return visit

    # --- what a call tells --------------------------------------------------------------------------------------------

    def limited(self, limits: Sequence[Limit]) -> None:
        """An answer came, and said this of its limits."""
        if limits:
            self.known.limited(limits)
            self._limits.learn(limits, self.clock())

    def first_token(self, visit: Visit, now: float) -> None:
        """A call has the first piece of its answer."""
        pace = visit.pace
        seconds, streaming = self._recent.first_token(visit, pace, now), pace.streaming
        self._breaker.first_token(visit.trial, now, slow=streaming and seconds > self._slow)
        self._throttle.accepted(visit.bucket)
        if visit.reserved is not None:
            self._limits.seen(visit.reserved)
        if self._concurrency is not None and self._concurrency.heeds(streaming=streaming):
            self._concurrency.answered(seconds, self._queue.taken)
            self._concurrency.forget(now)
            self._resize()

    def succeeded(self, visit: Visit, event: pb.StreamGenerateResponse, now: float) -> None:
        """A call's answer is whole, as this event has it. The breaker knows since its first piece."""
        self._recent.succeeded(now)
        if visit.reserved is not None:
            response = event.completed.response
            visit.reserved.settle(response.usage if response.HasField("usage") else None, now)
        visit.place.leave(now)

    def ended(self, visit: Visit, outcome: call_pb2.Outcome.ValueType, usage: call_pb2.Usage | None) -> None:
        """A call has ended so, and not with its whole answer."""
        now, answered = self.clock(), visit.answered
        early = outcome == call_pb2.OUTCOME_TIMEOUT and not answered
        if early and not visit.pace.is_overdue(visit.began, now):
            outcome = call_pb2.OUTCOME_CANCELLED  # its time went by in the queue, or was short
        try:
            self._breaker.end(visit.trial, outcome, now)
        finally:  # who hears of another state may fail
            self._count(visit, outcome, now)
            if (reserved := visit.reserved) is not None:
                if not answered:
                    self._limits.seen(reserved)
                if outcome == call_pb2.OUTCOME_NOT_SENT:
                    reserved.release(now)
                else:
                    reserved.settle(usage, now)
            if outcome in _TOO_MUCH and self._concurrency is not None:
                self._concurrency.overloaded(visit.began, now, self._queue.taken)
                self._resize()
            visit.place.leave(now)

    def _count(self, visit: Visit, outcome: call_pb2.Outcome.ValueType, now: float) -> None:
        if outcome in NOT_TAKEN:
            self._recent.failed(visit, visit.pace, now)
            if not visit.answered:
                self._throttle.refused(visit.bucket)
        else:
            visit.pace.withdrawn(visit)
            if not visit.answered and outcome in _SILENT:
                self._throttle.withdrawn(visit.bucket)
            elif not visit.answered:
                self._throttle.accepted(visit.bucket)

    def _resize(self) -> None:
        limit = self._concurrency.limit if self._concurrency is not None else self._queue.limit
        if limit != self._queue.limit:
            self._queue.resize(limit)

    def _turned(self, state: State) -> None:
        """The breaker has another state."""
        self._times_opened += state is State.OPEN
        self._tell(state)

    # --- what is told -------------------------------------------------------------------------------------------------

    @property
    def credential(self) -> str:
        """How the credential is shown now. Empty = there is none."""
        return self.known.credential

    def missing(self) -> str:
        """Why there is nothing to send at present. Empty = there is."""
        return self.known.missing()

    def hindrance(self) -> str:
        """Why it cannot be asked now, and what to do about it. Empty = it can."""
        if told := self.known.hindrance():
            return told
        now = self.clock()
        if wait := self._breaker.wait(now):
            return f"it failed too often and is left alone for another {wait:.0f} s: see its recent errors"
        return ""

    def health(self) -> pb.EndpointHealth:
        """All of it, as the contract has it."""
        now, health, recent = self.clock(), self.known.health(), self._recent
        health.circuit = _CIRCUITS[self._breaker.state(now)]
        health.circuit_opened_count = self._times_opened
        health.in_flight, health.queue_depth = self._queue.taken, len(self._queue)
        health.concurrency_limit = self._queue.limit
        health.throttle_share = self._throttle.share_away(now)
        if (rate := recent.error_rate(now)) is not None:
            health.error_rate = rate
        if (found := recent.first_tokens(now)) is not None:
            set_seconds(health.time_to_first_token_p50, found[0])
            set_seconds(health.time_to_first_token_p95, found[1])
        wall = self.known.clock() - now
        for field, when in (("last_success_time", recent.succeeded_at), ("last_failure_time", recent.failed_at)):
            if when is not None:
                getattr(health, field).FromMicroseconds(round((wall + when) * 1e6))
        for dimension, limit, remaining in self._limits.left(now):
            health.kept_limits.add(dimension=dimension, limit=limit, remaining=remaining)
        return health


class Visit(Struct, eq=False):
    """A call at an endpoint, from when it may begin until it has ended."""

    _at: Endpoint
    pace: Pace
    place: Place
    # None: the endpoint has no limits that are known.
    reserved: Reserved | None
    trial: Trial
    # Of the throttle.
    bucket: Counts
    began: float
    # Its first piece has come.
    answered: bool = False
    _ended: bool = False

    def first_token(self) -> None:
        """The first piece of the answer is there."""
        if not self.answered:
            self._begins(self._at.clock())

    def _begins(self, now: float) -> None:
        self.answered = True
        self._at.first_token(self, now)

    def completed(self, event: pb.StreamGenerateResponse) -> None:
        """The answer is whole, as this event has it."""
        now = self._at.clock()
        if not self.answered:
            self._begins(now)
        self._at.known.succeeded()
        if not self._ended:
            self._ended = True
            self._at.succeeded(self, event, now)

    def failed(self, error: UpstreamError) -> None:
        """The provider failed the call."""
        self._at.known.failed(error)
        self.end(error.outcome, error.usage)

    def end(self, outcome: call_pb2.Outcome.ValueType, usage: call_pb2.Usage | None = None) -> None:
        """It has ended so, unless it had ended before. What it held is free."""
        if not self._ended:
            self._ended = True
            self._at.ended(self, outcome, usage)


def _adaptive(most: int, *, local: bool) -> ConcurrencyLimit:
    """Nothing is held back before the provider, or its slowness, says so."""
    return Gradient(most, highest=most) if local else Aimd(most, highest=most)


def _patience(call: Call, now: float, usual: float) -> float:
    """Seconds that a call may wait whose first token usually takes so long."""
    return min(PATIENCE, call.deadline - now - usual)


def _not_sent(code: str, retry_after: float) -> UpstreamError:
    return UpstreamError(call_pb2.OUTCOME_NOT_SENT, code=code, retry_after=retry_after)
