"""What is known of one target: learned from its attempts, read as a Signal."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline.v1 import call_pb2
from trunkline_server.routing.signal import Signal
from trunkline_server.state.backlog import Backlog
from trunkline_server.state.endpoint.breaker import NOT_TAKEN
from trunkline_server.state.endpoint.fading import FadingShare
from trunkline_server.state.endpoint.last_minutes import ENOUGH, LastMinutes
from trunkline_server.state.endpoint.recent import overdue_after
from trunkline_server.state.signals import line
from trunkline_server.state.signals.line import Line
from trunkline_server.state.signals.peak import Peak

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Attempt, Usage

# Seconds for which a signal is not made anew, if nothing was learned.
FRESH = 0.05
# What is usual are residuals up to this quantile: a peak counts for what it is beyond. A failure counts as the other.
USUAL, LATE = 0.9, 0.99
# What is called late is later than that by so much: what is expected wavers by a few percent from call to call, and
# where nearly all first tokens take the same time every one of them would be late.
_MARGIN = 1.1
# Measurements after which these two are worked out, and worked out anew.
_FIRST, _ANEW = 32, 128
# Attempts that wait for their first token, the oldest, which are looked at.
_OLDEST = 8
# What is left of the weight of an answer's rate with each one after it.
_KEPT = 0.95


class Track:
    """One target's. For one event loop; nothing in it waits."""

    __slots__ = (
        "_answers", "_failures", "_late", "_line", "_measured", "_peak", "_residuals", "_signal", "_span", "_tokens",
        "_until", "_usual", "_wholes", "_wholes_line", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self._line, self._peak, self._failures = Line(), Peak(), FadingShare()
        self._residuals = LastMinutes()
        self._usual = self._late = 1.0
        self._measured = 0
        # Of streamed answers after their first token, fading: seconds, and the tokens in them.
        self._span = self._tokens = 0.0
        # Of answers that were not streamed: over the tokens that came out; and seconds of late.
        self._wholes_line, self._wholes = Line(), LastMinutes()
        # Streams without a first token, in the order in which they began.
        self.waiting: dict[Sample, None] = {}
        self._signal, self._until = Signal(), float("-inf")
        # Whatever else is learned or told waits for those.
        self._answers = Backlog(self._learn_answer)

    # --- what is learned ----------------------------------------------------------------------------------------------

    def begin(self, prompt_tokens: int, now: float, *, streaming: bool) -> Sample:
        """An attempt begins."""
        sample = Sample(self, prompt_tokens, now, streaming)
        if streaming:
            self.waiting[sample] = None
        return sample

    def began(self, prompt_tokens: int, seconds: float, now: float) -> None:
        """A stream's first token came after so long."""
        self._answers.learn()
        self._measure(seconds / self._line.learn(prompt_tokens, seconds), now)

    def _measure(self, ratio: float, now: float) -> None:
        self._peak.learn(ratio, now)
        self._residuals.record(ratio, now)
        measured = self._measured = self._measured + 1
        if measured == _FIRST or measured % _ANEW == 0:
            found = self._residuals.both(now).quantiles(USUAL, LATE)
            self._usual, self._late = (max(1.0, each) for each in found)
        self._until = now

    def answered(self, seconds: float, usage: Usage, first: float | None, now: float) -> None:
        """An answer is whole, after so long; of a stream with its first token after `first`."""
        # 0 may have been counted, or nobody counted.
        output = usage.output_tokens or (0 if usage.HasField("output_tokens") else None)
        # Only of streams it matters.
        reasoning = 0 if first is None else usage.reasoning_output_tokens
        self._answers.add(seconds, output, reasoning, first, now)

    def _learn_answer(
        self, seconds: float, output: int | None, reasoning: int, first: float | None, now: float
    ) -> None:
        self._failures.learn(0.0, now)
        if first is not None:
            tokens = (output or 0) - reasoning
            if tokens > 1:
                self._span = self._span * _KEPT + max(0.0, seconds - first)
                self._tokens = self._tokens * _KEPT + tokens - 1
            return
        self._wholes.record(seconds, now)
        if output is not None:
            self._measure(seconds / self._wholes_line.learn(output, seconds), now)

    def failed(self, now: float) -> None:
        """The provider failed an attempt, however quickly: as if it had been as slow as it hardly ever is."""
        self._answers.learn()
        self._failures.learn(1.0, now)
        self._peak.raise_to(self._late, now)
        self._until = now

    def waited(self, prompt_tokens: int, seconds: float, now: float) -> None:
        """A stream was given up after so long without a first token: that says only that it takes longer."""
        self._answers.learn()
        usual = self._line.at(prompt_tokens)
        if usual:
            self._peak.raise_to(seconds / usual, now)
            self._until = now

    # --- what is told -------------------------------------------------------------------------------------------------

    def read(self, now: float, utilisation: float) -> Signal:
        """All of it, at most FRESH seconds old."""
        self._answers.learn()
        if now >= self._until:
            self._signal, self._until = self._read(now, utilisation), now + FRESH
        return self._signal

    def _read(self, now: float, utilisation: float) -> Signal:
        known, wholes = self._line, self._wholes_line
        return Signal(
            known.base,
            known.slope,
            known.medians,
            self._span / self._tokens if self._tokens else None,
            (wholes.base, wholes.slope) if wholes.samples >= line.ENOUGH else None,
            self._residual(now),
            self._failures.read(now),
            utilisation,
            known.samples,
        )

    def _residual(self, now: float) -> float:
        """A peak for what it is beyond the usual noise, which is made of peaks, too; below 1 as it is."""
        ratio = self._peak.read(now)
        for sample in islice(self.waiting, _OLDEST):
            usual = self._line.at(sample.prompt_tokens)
            if usual and now - sample.began > ratio * usual:
                ratio = (now - sample.began) / usual
        return ratio / self._usual if ratio > self._usual else min(1.0, ratio)

    def usual(self, prompt_tokens: int, now: float, *, streaming: bool) -> float:
        """Seconds after which it begins most likely; of what is not streamed the whole answer. 0 = not known."""
        usual = self.expected(prompt_tokens, now, streaming=streaming)
        return usual * self._residual(now) if streaming else usual

    def expected(self, prompt_tokens: int, now: float, *, streaming: bool) -> float:
        """The same as it usually is, whatever happens at the moment."""
        self._answers.learn()
        return (self._line.at(prompt_tokens) if streaming else self._wholes.quantile(0.5, now)) or 0.0

    def late(self, prompt_tokens: int, now: float, *, streaming: bool) -> float | None:
        """Seconds after which it has begun in all but one of twenty cases. None: too little is known."""
        self._answers.learn()
        if not streaming:
            return self._wholes.quantile(0.95, now, ENOUGH)
        ratio, usual = self._residuals.quantile(0.95, now, ENOUGH), self._line.at(prompt_tokens)
        return None if ratio is None or usual is None else _MARGIN * ratio * usual


class Sample(Struct, eq=False):
    """An attempt at a target, from its begin to its end."""

    _of: Track
    prompt_tokens: int
    began: float
    _streaming: bool
    # Seconds to the first token of a stream. None = it has none yet.
    _first: float | None = None

    def first_token(self, now: float) -> None:
        """The first piece of its answer is there."""
        if self._streaming and self._first is None:
            self._first = max(0.0, now - self.began)
            self._of.waiting.pop(self, None)
            self._of.began(self.prompt_tokens, self._first, now)

    def ended(self, record: Attempt, now: float) -> None:
        """It has ended so. What the caller gave up, or another attempt was faster than, is no measurement."""
        silent = self._streaming and self._first is None
        if silent:
            self._of.waiting.pop(self, None)
        seconds, outcome = max(0.0, now - self.began), record.outcome
        if outcome == call_pb2.OUTCOME_SUCCESS:
            self._of.answered(seconds, record.usage, self._first, now)
            return
        hurried = outcome == call_pb2.OUTCOME_TIMEOUT and self._first is None and not self._is_late(seconds, now)
        if silent and outcome in _CENSORED:
            self._of.waited(self.prompt_tokens, seconds, now)
        if outcome in NOT_TAKEN and not hurried:
            self._of.failed(now)

    def _is_late(self, seconds: float, now: float) -> bool:
        """Whether it had time enough. If not it was its caller who had none."""
        return seconds >= overdue_after(self._of.expected(self.prompt_tokens, now, streaming=self._streaming))


# What says of an attempt without a first token only that it had none yet.
_CENSORED = frozenset({call_pb2.OUTCOME_CANCELLED, call_pb2.OUTCOME_TIMEOUT})
