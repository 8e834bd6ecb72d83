"""How an endpoint does at the moment: what traffic is led by, and what health tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.fading import WEIGHT, FadingShare
from trunkline_server.state.endpoint.last_minutes import LastMinutes
from trunkline_server.state.endpoint.window import Window
from trunkline_server.state.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Hashable

# A call is overdue if its first token takes so many times as long as usual, and so many seconds. It counts as failed:
# for the choice of whom to ask, late is as bad.
OVERDUE, SHORTEST_OVERDUE = 4.0, 2.0
# Seconds. Where nothing is known of first tokens.
UNKNOWN_OVERDUE = 10.0
# Seconds for which the usual first token is not worked out anew.
_FRESH = 1.0
# The window of the error rate: a minute.
_BUCKETS, _BUCKET = 12, 5.0

# What is told apart: a model, streamed or not. More kinds than these are one.
MOST_KINDS = 1000

_DECIDED, _FAILED = range(2)


def overdue_after(usual: float) -> float:
    """Seconds after which a first token is overdue that usually takes so long. 0 = that is not known."""
    return max(SHORTEST_OVERDUE, OVERDUE * usual) if usual else UNKNOWN_OVERDUE


class Pace:
    """How soon answers of one kind begin, and which are waited for."""

    __slots__ = ("_limit", "_until", "_usual", "first_tokens", "streaming", "waiting")

    def __init__(self, *, streaming: bool) -> None:
        self.streaming = streaming
        self.first_tokens = LastMinutes()
        # The usual first token and the limit, as they are told until then.
        self._usual = self._limit = 0.0
        self._until = float("-inf")
        # When each call began that has no first token yet, in that order.
        self.waiting: dict[Hashable, float] = {}

    def begin(self, call: Hashable, now: float) -> None:
        """A call waits for its first token."""
        self.waiting[call] = now

    def withdrawn(self, call: Hashable) -> None:
        """It says nothing of the endpoint."""
        self.waiting.pop(call, None)

    def is_overdue(self, began: float, now: float) -> bool:
        """Whether a call that began then should have its first token by now."""
        return now - began >= self.limit(now)

    def limit(self, now: float) -> float:
        """Seconds after which a first token is overdue."""
        if now >= self._until:
            self._renew(now)
        return self._limit

    def median(self, now: float) -> float:
        """Seconds to the first token. 0 = not known."""
        if now >= self._until:
            self._renew(now)
        return self._usual

    def _renew(self, now: float) -> None:
        self._usual = self.first_tokens.quantile(0.5, now) or 0.0
        self._limit, self._until = overdue_after(self._usual), now + _FRESH

    def overdue(self, now: float) -> int:
        """How many of those that are waited for."""
        if not self.waiting:
            return 0
        before, count = now - self.limit(now), 0
        for begin in self.waiting.values():
            if begin > before:
                break
            count += 1
        return count


class Recent:
    """One endpoint's. Whoever begins a call ends it, at the pace of its kind."""

    def __init__(self) -> None:
        self._failures = FadingShare()
        self._window = Window(2, _BUCKETS, _BUCKET)
        self._paces: dict[tuple[str, bool], Pace] = {}
        # On the clock of `now`. None = never.
        self.succeeded_at: float | None = None
        self.failed_at: float | None = None

    def pace(self, model: str, *, streaming: bool) -> Pace:
        """That of this kind: always the same."""
        kind = model, streaming
        pace = self._paces.get(kind)
        if pace is None:
            kind = kind if len(self._paces) < MOST_KINDS else ("", streaming)
            pace = self._paces.get(kind) or self._paces.setdefault(kind, Pace(streaming=streaming))
        return pace

    def first_token(self, call: Hashable, pace: Pace, now: float) -> float:
        """It has it, after so many seconds."""
        seconds = max(0.0, now - pace.waiting.pop(call, now))
        self._failures.learn(seconds > pace.limit(now), now)
        pace.first_tokens.record(seconds, now)
        return seconds

    def failed(self, call: Hashable, pace: Pace, now: float) -> None:
        """The provider failed it, before its first token or after."""
        pace.withdrawn(call)
        self._failures.learn(1.0, now)
        bucket = self._window.at(now)
        bucket[_DECIDED] += 1
        bucket[_FAILED] += 1
        self.failed_at = now

    def succeeded(self, now: float) -> None:
        """An answer is whole."""
        self._window.at(now)[_DECIDED] += 1
        self.succeeded_at = now

    def success(self, now: float) -> float:
        """How likely a call that begins now is taken, and in time."""
        overdue = sum(pace.overdue(now) for pace in self._paces.values() if pace.waiting)
        return (1.0 - self._failures.read(now)) * (1.0 - WEIGHT) ** overdue

    def first_tokens(self, now: float) -> tuple[float, float] | None:
        """Median and 95th percentile of the seconds to the first token of what was streamed. None: nothing was."""
        everything = Histogram()
        for pace in self._paces.values():
            if pace.streaming:
                everything.merge(pace.first_tokens.both(now))
        if not everything.count:
            return None
        median, late = everything.quantiles(0.5, 0.95)
        return median, late

    def error_rate(self, now: float) -> float | None:
        """The share of the last minute's calls that failed. None: there were none."""
        decided, failed = self._window.totals(now)
        return failed / decided if decided else None
