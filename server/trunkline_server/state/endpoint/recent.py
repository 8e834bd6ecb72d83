"""How an endpoint does at the moment: what traffic is led by, and what health tells."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.first_tokens import FirstTokens
from trunkline_server.state.endpoint.window import Window

if TYPE_CHECKING:
    from collections.abc import Hashable

# What one call more weighs in the estimate: the last ten or so make most of it.
WEIGHT = 0.1
# Seconds after which what is known of an endpoint that nobody calls has faded to a third.
FORGETTING = 30.0
# A call is overdue if its first token takes so many times as long as usual, and so many seconds.
OVERDUE, SHORTEST_OVERDUE = 4.0, 2.0
# Seconds. Where nothing is known of first tokens.
UNKNOWN_OVERDUE = 10.0
# Seconds for which the usual first token is not worked out anew.
_FRESH = 1.0
# The window of the error rate: a minute.
_BUCKETS, _BUCKET = 12, 5.0

_DECIDED, _FAILED = range(2)


class Recent:
    """One endpoint's. Whoever begins a call ends it."""

    def __init__(self) -> None:
        self._estimate, self._estimated_at = 1.0, 0.0
        self._window = Window(2, _BUCKETS, _BUCKET)
        self._waiting: dict[Hashable, float] = {}
        self._first_tokens = FirstTokens()
        self._usual, self._usual_until = 0.0, float("-inf")
        # On the clock of `now`. None = never.
        self.succeeded_at: float | None = None
        self.failed_at: float | None = None

    def begin(self, call: Hashable, now: float) -> None:
        """A call waits for its first token."""
        self._waiting[call] = now

    def first_token(self, call: Hashable, now: float) -> float:
        """It has it, after so many seconds: it was taken."""
        seconds = now - self._waiting.pop(call)
        self._first_tokens.record(max(0.0, seconds), now)
        self._learn(1.0, now)
        return seconds

    def failed(self, call: Hashable, now: float) -> None:
        """The provider failed it, before its first token or after."""
        self.withdrawn(call)
        self._learn(0.0, now)
        self._decided(now)
        self._window.add(_FAILED, self._window.at(now))
        self.failed_at = now

    def succeeded(self, now: float) -> None:
        """An answer is whole."""
        self._decided(now)
        self.succeeded_at = now

    def withdrawn(self, call: Hashable) -> None:
        """It says nothing of the endpoint."""
        self._waiting.pop(call, None)

    def _decided(self, now: float) -> None:
        self._window.add(_DECIDED, self._window.at(now))

    def _learn(self, success: float, now: float) -> None:
        known = self._faded(now)
        self._estimate, self._estimated_at = known + WEIGHT * (success - known), now

    def _faded(self, now: float) -> float:
        return 1.0 - (1.0 - self._estimate) * exp(-max(0.0, now - self._estimated_at) / FORGETTING)

    def success(self, now: float) -> float:
        """How likely a call that begins now is taken. One that is overdue counts as failed until it is decided."""
        return self._faded(now) * (1.0 - WEIGHT) ** self._overdue(now)

    def _overdue(self, now: float) -> int:
        if not self._waiting:
            return 0
        usual = self.usual(now)
        before = now - (max(SHORTEST_OVERDUE, OVERDUE * usual) if usual else UNKNOWN_OVERDUE)
        count = 0
        for begin in self._waiting.values():  # in the order in which they began
            if begin > before:
                break
            count += 1
        return count

    def usual(self, now: float) -> float:
        """Seconds to the first token: the median. 0 = not known."""
        if now >= self._usual_until:
            self._usual, self._usual_until = self._first_tokens.quantile(0.5, now) or 0.0, now + _FRESH
        return self._usual

    def late(self, now: float) -> float:
        """What one in twenty first tokens takes longer than. 0 = not known."""
        return self._first_tokens.quantile(0.95, now) or 0.0

    def error_rate(self, now: float) -> float | None:
        """The share of the last minute's calls that failed. None: there were none."""
        self._window.at(now)
        decided, failed = self._window.totals
        return failed / decided if decided else None
