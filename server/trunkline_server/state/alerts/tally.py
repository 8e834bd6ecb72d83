"""How attempts and answers went of late, by provider and by model. In memory of this process; a restart begins anew."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1 import call_pb2
from trunkline_server.state.backlog import Backlog
from trunkline_server.state.endpoint.breaker import NOT_TAKEN
from trunkline_server.state.endpoint.window import Window
from trunkline_server.state.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.state.statistics import Finished

# Attempts are counted over five minutes.
_BUCKETS, _BUCKET = 30, 10.0
# Answers are measured in turns of five minutes; "now" is the running one and the one before, "usual" the twelve before.
TURN, _NOW, _USUAL = 300.0, 2, 12
# Models that are known. The one that answered longest ago goes first.
MOST_MODELS = 1000
_DECIDED, _FAILED = range(2)


class Failures(NamedTuple):
    """Attempts at a provider in the last five minutes."""

    provider: str
    attempts: int
    failed: int


class Pace(NamedTuple):
    """How soon a model answers, in seconds: medians."""

    # "provider/model".
    model: str
    # Seconds to the first token, else to the whole answer.
    streamed: bool
    now: float
    usual: float
    answers: int
    usual_answers: int


class _Turns:
    """Histograms of the last turns, the running one last."""

    def __init__(self) -> None:
        self._turns: deque[Histogram] = deque(maxlen=_NOW + _USUAL)
        # The running one: its number, when it is over. The clock may begin at 0, when the machine does.
        self._last, self._until = -1, 0.0

    def at(self, now: float) -> Histogram:
        """That of the running turn."""
        if now >= self._until:
            self._go_on(int(now // TURN))
        return self._turns[-1]

    def _go_on(self, turn: int) -> None:
        self._turns.extend(Histogram() for _ in range(min(turn - self._last, _NOW + _USUAL)))
        self._last, self._until = turn, (turn + 1) * TURN

    def read(self) -> tuple[Histogram, Histogram]:
        """Of now, and as usual."""
        turns, both = list(self._turns), (Histogram(), Histogram())
        for of, some in zip(both, (turns[-_NOW:], turns[:-_NOW]), strict=True):
            for each in some:
                of.merge(each)
        return both


class Tally:
    """For one event loop; nothing in it waits. Times are on a clock that never goes back."""

    def __init__(self) -> None:
        self._attempts: defaultdict[str, Window] = defaultdict(lambda: Window(2, _BUCKETS, _BUCKET))
        self._answers: OrderedDict[tuple[str, bool], _Turns] = OrderedDict()
        self._ended = Backlog(self._learn_attempt)
        self._given = Backlog(self._learn_answer)

    def attempted(self, provider: str, outcome: call_pb2.Outcome.ValueType, now: float) -> None:
        """An attempt has ended. What its caller gave up, and what is wrong with a request, says nothing."""
        if outcome == call_pb2.OUTCOME_SUCCESS or outcome in NOT_TAKEN:
            self._ended.add(provider, outcome in NOT_TAKEN, now)

    def _learn_attempt(self, provider: str, failed: bool, now: float) -> None:
        bucket = self._attempts[provider].at(now)
        bucket[_DECIDED] += 1
        if failed:
            bucket[_FAILED] += 1

    def answered(self, call: Finished, now: float) -> None:
        """A call has ended. Times of calls that took more than one attempt say nothing of a model."""
        if call.result == "success" and call.attempts == 1:
            first = call.time_to_first_token
            self._given.add(call.model, first is not None, call.total_time if first is None else first, now)

    def _learn_answer(self, model: str, streamed: bool, seconds: float, now: float) -> None:
        key = model, streamed
        turns = self._answers.get(key)
        if turns is None:
            turns = self._answers[key] = _Turns()
            if len(self._answers) > MOST_MODELS:
                self._answers.popitem(last=False)
        else:
            self._answers.move_to_end(key)
        turns.at(now).record(seconds)

    def failures(self, now: float) -> Iterator[Failures]:
        """Of every provider that was asked lately."""
        self._ended.learn()
        for provider, window in self._attempts.items():
            attempts, failed = window.totals(now)
            if attempts:
                yield Failures(provider, attempts, failed)

    def paces(self, now: float) -> Iterator[Pace]:
        """Of every model that answers now and did before."""
        self._given.learn()
        for (model, streamed), turns in self._answers.items():
            turns.at(now)
            lately, usual = turns.read()
            if lately.count and usual.count:
                yield Pace(model, streamed, lately.quantile(0.5), usual.quantile(0.5), lately.count, usual.count)
