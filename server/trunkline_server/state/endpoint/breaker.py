"""A circuit breaker: whether an endpoint is worth calling, by how the calls before went.

Closed, it lets every call through. It opens when the provider fails too often, and lets none through for a while. Then
it is half-open: real calls go as probes, first one, then three. If they get an answer it closes; if one fails it opens
again, for twice as long.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline.v1 import call_pb2
from trunkline_server.state.endpoint.window import Counts, Window

if TYPE_CHECKING:
    from collections.abc import Callable

# What says that the provider is unwell. A rate limit is the pacer's, a credential's trouble is the credential's, and
# what is wrong with a request says nothing of the endpoint.
PROVIDER_FAULTS = frozenset(
    {
        call_pb2.OUTCOME_SERVER_ERROR,
        call_pb2.OUTCOME_OVERLOADED,
        call_pb2.OUTCOME_TIMEOUT,
        call_pb2.OUTCOME_INTERRUPTED,
        call_pb2.OUTCOME_PROTOCOL_ERROR,
        call_pb2.OUTCOME_NOT_CONNECTED,
    }
)
# What keeps calls from being taken, whosever fault that is.
NOT_TAKEN = PROVIDER_FAULTS | {call_pb2.OUTCOME_RATE_LIMITED, call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_QUOTA}
# It opens at so many failures in a row...
FAILURES = 5
# ...or, of at least so many calls in the window, this share failed or that share had a slow first token.
MIN_CALLS, FAILURE_SHARE, SLOW_SHARE = 10, 0.5, 0.8
# The window: buckets, and the seconds of each.
BUCKETS, BUCKET = 10, 3.0
# Seconds. How long it is open first, doubled each time, and at most; give or take this share.
FIRST_OPEN, LONGEST_OPEN, JITTER = 5.0, 300.0, 0.2
# Seconds. After being closed for so long it is as if it had never been open.
HEALTHY = 300.0
# Probes that have to succeed, one stage after the other.
STAGES = (1, 3)

_STARTED, _DECIDED, _SLOW, _FAILED = range(4)


class State(Enum):
    """Which calls it lets through: all, none, or probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


def _nobody(_: State) -> None:
    """Nobody wants to know."""


class Trial(Struct, eq=False):
    """A call that the breaker let through, until it is told how the call went."""

    generation: int
    bucket: Counts
    pending: bool = True
    ended: bool = False


class Breaker:
    """One endpoint's. Whoever starts a trial ends it, however the call ends: in half-open it holds a place."""

    def __init__(
        self,
        draw: Callable[[], float],
        *,
        failures: int = FAILURES,
        recovery: float | None = None,
        tell: Callable[[State], None] = _nobody,
    ) -> None:
        """`draw` gives random numbers from 0 to 1. `failures` in a row open it. `tell` hears of each other state.

        `recovery`: seconds that it is open, each time the same; None = longer each time.
        """
        self._draw = draw
        self._tell = tell
        self._failures = failures
        self._recovery = recovery
        self._state = State.CLOSED
        # As it nearly always is: then nothing else need be asked.
        self.is_closed = True
        self._open_until = 0.0
        self._closed_at = 0.0
        self._times_opened = 0
        # Grows with every change of state. What began under another one says nothing of this one.
        self._generation = 0
        self._begin()

    def _begin(self) -> None:
        self._window = Window(4, BUCKETS, BUCKET)
        self._in_a_row = 0
        self._stage, self._passed, self._probing = 0, 0, 0

    def state(self, now: float) -> State:
        """Open turns to half-open by itself."""
        if self._state is State.OPEN and now >= self._open_until:
            self._become(State.HALF_OPEN)
        return self._state

    def wait(self, now: float) -> float:
        """Seconds until it is no longer open. 0 = it is not."""
        return self._open_until - now if self.state(now) is State.OPEN else 0.0

    def admits(self, now: float) -> bool:
        """Whether `start` would let a call through."""
        state = self.state(now)
        return state is State.CLOSED or (
            state is State.HALF_OPEN and self._probing + self._passed < STAGES[self._stage]
        )

    def start(self, now: float) -> Trial | None:
        """A call begins now. None = it must not."""
        if not self.is_closed:
            if not self.admits(now):
                return None
            self._probing += 1
        # Counted now and not when it ends: failures are quick and answers slow, and would seem to be all there is.
        bucket = self._window.at(now)
        bucket[_STARTED] += 1
        return Trial(self._generation, bucket)

    def first_token(self, trial: Trial, now: float, *, slow: bool = False) -> None:
        """The call has the first piece of its answer: it succeeded. `slow`: much later than it should have."""
        if not self._decides(trial):
            return
        bucket = self._window.at(now)
        bucket[_DECIDED] += 1
        self._in_a_row = 0
        if slow:
            bucket[_SLOW] += 1
        if self._state is State.HALF_OPEN:
            self._probed(now, passed=not slow)
        elif slow:
            self._judge(now)

    def end(self, trial: Trial, outcome: call_pb2.Outcome.ValueType, now: float) -> None:
        """The call has ended. Being told twice changes nothing."""
        if trial.ended:
            return
        trial.ended = True
        if outcome == call_pb2.OUTCOME_SUCCESS:
            if trial.pending:
                self.first_token(trial, now)
        elif outcome in PROVIDER_FAULTS:
            self._failed(trial, now)
        elif self._decides(trial):
            # It says nothing: as if it had never been.
            trial.bucket[_STARTED] -= 1
            self._probing -= self._state is State.HALF_OPEN

    def _decides(self, trial: Trial) -> bool:
        pending, trial.pending = trial.pending, False
        return pending and trial.generation == self._generation

    def _failed(self, trial: Trial, now: float) -> None:
        """Also after its first token: an answer that breaks off is a failure, too."""
        if trial.generation != self._generation:
            return
        bucket = self._window.at(now)
        bucket[_DECIDED] += self._decides(trial)
        bucket[_FAILED] += 1
        self._in_a_row += 1
        if self._state is State.HALF_OPEN:
            self._probed(now, passed=False)
        else:
            self._judge(now)

    def _probed(self, now: float, *, passed: bool) -> None:
        if not passed:
            self._open(now)
            return
        self._probing -= 1
        self._passed += 1
        if self._passed == STAGES[self._stage]:
            self._stage, self._passed = self._stage + 1, 0
        if self._stage == len(STAGES):
            self._closed_at = now
            self._become(State.CLOSED)

    def _judge(self, now: float) -> None:
        started, decided, slow, failed = self._window.totals(now)
        # Of calls that last longer than the window, only the ends are in it.
        calls = max(started, decided)
        enough = calls >= MIN_CALLS
        if self._in_a_row >= self._failures or (
            enough and (failed >= FAILURE_SHARE * calls or slow >= SLOW_SHARE * calls)
        ):
            self._open(now)

    def _open(self, now: float) -> None:
        if self._state is State.CLOSED and now - self._closed_at >= HEALTHY:
            self._times_opened = 0
        self._open_until = now + self._open_time()
        self._times_opened += 1
        self._become(State.OPEN)

    def _open_time(self) -> float:
        if self._recovery is not None:
            return float(self._recovery)
        # The longest is reached at 6; an exponent that grows for ever would be too large one day.
        open_time = min(LONGEST_OPEN, FIRST_OPEN * 2.0 ** min(self._times_opened, 10))
        return open_time * (1 - JITTER + 2 * JITTER * self._draw())

    def _become(self, state: State) -> None:
        self._state, self.is_closed = state, state is State.CLOSED
        self._generation += 1
        self._begin()
        self._tell(state)
