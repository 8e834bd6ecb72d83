"""The breaker against a model of it that keeps every event and counts again each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from trunkline.v1 import call_pb2
from trunkline_server.state.endpoint.breaker import Breaker, State, Trial

FAULTS = {"OVERLOADED", "SERVER_ERROR", "TIMEOUT", "NOT_CONNECTED", "INTERRUPTED", "PROTOCOL_ERROR"}
OUTCOMES = st.sampled_from([*call_pb2.Outcome.values()])


@dataclass(eq=False)
class ModelTrial:
    born: int
    start: float
    decided: bool = False


@dataclass
class Model:
    """Without jitter. Times are whole seconds, buckets are three of them."""

    state: str = "closed"
    until: float = 0.0
    closed_at: float = 0.0
    opened: int = 0
    born: int = 0
    events: list[tuple[str, float]] = field(default_factory=list)
    row: int = 0
    places: int = 1
    good: int = 0
    probes: set[ModelTrial] = field(default_factory=set)

    def become(self, state: str) -> None:
        self.state, self.born = state, self.born + 1
        self.events, self.row, self.places, self.good, self.probes = [], 0, 1, 0, set()

    def look(self, now: float) -> None:
        if self.state == "open" and now >= self.until:
            self.become("half-open")

    def start(self, now: float) -> ModelTrial | None:
        self.look(now)
        if self.state == "open" or (self.state == "half-open" and len(self.probes) + self.good >= self.places):
            return None
        trial = ModelTrial(self.born, now)
        self.events.append(("start", now))
        self.probes.add(trial)
        return trial

    def answer(self, trial: ModelTrial, now: float, slow: bool) -> None:
        if trial.decided or trial.born != self.born:
            return
        trial.decided, self.row = True, 0
        self.events += [("decided", now)] + [("slow", now)] * slow
        self.probes.discard(trial)
        if self.state == "half-open" and not slow:
            self.good += 1
            if self.good == self.places:
                self.places, self.good = self.places + 2, 0
            if self.places > 3:
                self.closed_at = now
                self.become("closed")
        elif slow:
            self.judge(now)

    def end(self, trial: ModelTrial, outcome: call_pb2.Outcome.ValueType, now: float) -> None:
        if trial.born != self.born:
            return
        if call_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_") in FAULTS:
            self.events += [("failure", now)] + [("decided", now)] * (not trial.decided)
            trial.decided = True
            self.row += 1
            self.judge(now)
        elif outcome == call_pb2.OUTCOME_SUCCESS:
            self.answer(trial, now, slow=False)
        elif not trial.decided:
            self.events.remove(("start", trial.start))
        self.probes.discard(trial)

    def judge(self, now: float) -> None:
        seen = [kind for kind, at in self.events if now // 3 - at // 3 < 10]
        starts, decided, slow, failures = (seen.count(kind) for kind in ("start", "decided", "slow", "failure"))
        calls = max(starts, decided)
        bad = self.row >= 5 or (calls >= 10 and (failures / calls >= 0.5 or slow / calls >= 0.8))
        if bad or self.state == "half-open":
            if self.state == "closed" and now - self.closed_at >= 300:
                self.opened = 0
            self.until = now + min(300.0, 5.0 * 2**self.opened)
            self.opened += 1
            self.become("open")


Pair = tuple[Trial, ModelTrial]


class BreakerMachine(RuleBasedStateMachine):
    trials: Bundle[Pair] = Bundle("trials")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker, self.model = Breaker(lambda: 0.5), Model()

    @rule(seconds=st.sampled_from([1, 2, 3, 5, 10, 40, 310]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def wait_until_half_open(self) -> None:
        self.now += self.breaker.wait(self.now)

    @rule(target=trials)
    def start(self) -> MultipleResults[Pair]:
        return multiple(*self.started())

    def started(self) -> list[Pair]:
        """None if both refuse."""
        real, model = self.breaker.start(self.now), self.model.start(self.now)
        if real is not None and model is not None:
            return [(real, model)]
        assert real is None
        assert model is None
        return []

    @rule(pair=trials, slow=st.booleans())
    def first_token(self, pair: Pair, slow: bool) -> None:
        real, model = pair
        self.breaker.first_token(real, self.now, slow=slow)
        self.model.answer(model, self.now, slow)

    @rule(pair=consumes(trials), outcome=OUTCOMES)
    def end(self, pair: Pair, outcome: call_pb2.Outcome.ValueType) -> None:
        real, model = pair
        self.breaker.end(real, outcome, self.now)
        self.model.end(model, outcome, self.now)

    @rule(count=st.integers(1, 12), outcome=OUTCOMES)
    def calls(self, count: int, outcome: call_pb2.Outcome.ValueType) -> None:
        for pair in [pair for _ in range(count) for pair in self.started()]:
            self.end(pair, outcome)

    @invariant()
    def same(self) -> None:
        self.model.look(self.now)
        assert self.breaker.state(self.now) is State(self.model.state)
        assert self.breaker.admits(self.now) == (
            self.model.state == "closed"
            or (self.model.state == "half-open" and len(self.model.probes) + self.model.good < self.model.places)
        )

    @precondition(lambda self: self.breaker.state(self.now) is State.OPEN)
    @invariant()
    def open_as_long(self) -> None:
        assert self.breaker.wait(self.now) == self.model.until - self.now
        assert self.breaker.start(self.now) is None

    @precondition(lambda self: self.breaker.state(self.now) is State.HALF_OPEN)
    @invariant()
    def few_probes(self) -> None:
        assert len(self.model.probes) <= 3


TestBreaker = BreakerMachine.TestCase
