"""Signals of targets: what is measured, what is no measurement, and what never looks fast."""

from __future__ import annotations

from math import exp
from random import Random
from typing import TYPE_CHECKING

import make
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.routing.signal import Signal
from trunkline_server.state.signals.peak import TAU, Peak
from trunkline_server.state.signals.prompts import prompt_tokens
from trunkline_server.state.signals.signals import MAX_TARGETS, Signals
from trunkline_server.state.signals.track import FRESH

if TYPE_CHECKING:
    from trunkline_server.core import Call

OK, DOWN = call_pb2.OUTCOME_SUCCESS, call_pb2.OUTCOME_SERVER_ERROR
CANCELLED, TIMEOUT = call_pb2.OUTCOME_CANCELLED, call_pb2.OUTCOME_TIMEOUT


async def template() -> Call:
    return make.call()


CALL = run_virtual(template())


class World:
    """Signals on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now, self.used = 1000.0, 0.0
        self.signals = Signals(lambda: self.now, lambda _: self.used)

    def call(self, model: str = "m", tokens: int = 100, *, streaming: bool = True) -> Call:
        request = pb.GenerateRequest(prompt="four" * tokens)
        return structs.replace(
            CALL, target=call_pb2.Target(provider="p", model=model), request=request, streaming=streaming
        )

    def run(
        self,
        first: float | None = 0.5,
        outcome: call_pb2.Outcome.ValueType = OK,
        *,
        after: float = 0.5,
        model: str = "m",
        tokens: int = 100,
        output: int | None = None,
        streaming: bool = True,
    ) -> None:
        """An attempt, whose first token takes so long, and which ends so long after it."""
        sample = self.signals.begin(self.call(model, tokens, streaming=streaming), self.now)
        if first is not None:
            self.now += first
            sample.first_token(self.now)
        self.now += after
        record = call_pb2.Attempt(outcome=outcome)
        if output is not None:
            record.usage.output_tokens = output
        sample.ended(record, self.now)

    def read(self, model: str = "m") -> Signal:
        self.now += FRESH
        return self.signals.of("p", model)

    def warmed(self, calls: int = 200) -> World:
        """With so many calls of usual noise behind it."""
        random = Random(1)
        for _ in range(calls):
            self.run(0.5 * exp(random.gauss(0, 0.3)), output=50, after=0.98)
        return self


def test_nothing_is_known_of_who_was_never_asked() -> None:
    world = World()
    world.used = 0.4
    assert world.read() == Signal(utilisation=0.4)
    assert (world.read().first_token(10), world.read().total(10, 10)) == (None, None)


def test_first_tokens_and_rates_are_apart() -> None:
    signal = World().warmed().read()
    assert signal.samples == 200
    assert signal.usual_first_token(100) == pytest.approx(0.52, rel=0.15)
    assert signal.per_token == pytest.approx(0.02, rel=0.01)
    first = signal.first_token(100)
    assert first is not None
    assert signal.total(100, 1000) == pytest.approx(first + 20.0, rel=0.01)


def test_long_answers_and_long_prompts_do_not_look_like_another_speed() -> None:
    world, random = World(), Random(3)
    for number in range(300):
        tokens = 100_000 if number % 10 == 0 else 100
        world.run((0.4 + 4e-5 * tokens) * exp(random.gauss(0, 0.1)), tokens=tokens, output=1 + number, after=0.0)
    signal = world.read()
    assert signal.first_token(100) == pytest.approx(0.4, rel=0.3)
    assert signal.first_token(100_000) == pytest.approx(4.4, rel=0.3)


def test_a_peak_counts_at_once_and_is_forgotten_by_itself() -> None:
    world = World().warmed()
    assert world.read().residual < 1.4
    world.run(2.5)
    assert world.read().residual > 2.5
    world.now += 5 * TAU
    assert world.read().residual == 1.0


def test_a_failure_never_looks_fast() -> None:
    """Also where it comes at once: a provider that answers 500 in 3 ms is not a provider that takes 3 ms."""
    world = World().warmed()
    before = world.read()
    world.run(None, DOWN, after=0.003)
    after = world.read()
    assert after.residual >= before.residual
    assert after.residual > 1.2
    assert after.errors == pytest.approx(0.1, abs=0.01)
    assert after.usual_first_token(100) == before.usual_first_token(100)
    for _ in range(30):
        world.run(None, DOWN, after=0.003)
    assert world.read().errors > 0.9


@given(st.lists(st.tuples(st.sampled_from([DOWN, CANCELLED, TIMEOUT]), st.floats(0, 60)), max_size=20))
def test_what_has_no_first_token_never_makes_a_target_look_faster(ends: list[tuple[int, float]]) -> None:
    world, alone = World().warmed(30), World().warmed(30)
    for outcome, after in ends:
        world.run(None, outcome, after=after)  # type: ignore[arg-type]
        alone.now = world.now
        assert (world.read().first_token(100) or 0) >= (alone.read().first_token(100) or 0) * 0.999


def test_what_was_given_up_counts_only_if_it_took_longer() -> None:
    world = World().warmed()
    world.now += 5 * TAU
    world.run(None, CANCELLED, after=0.2)
    assert world.read().residual == 1.0
    world.run(None, CANCELLED, after=5.0)
    slow = world.read()
    assert slow.residual > 5
    assert slow.errors == 0.0


def test_a_stream_that_is_waited_for_counts_before_it_ends() -> None:
    world = World().warmed()
    sample = world.signals.begin(world.call(), world.now)
    world.now += 5.0
    assert world.read().residual > 5
    sample.ended(call_pb2.Attempt(outcome=call_pb2.OUTCOME_NOT_SENT), world.now)
    assert world.read().residual == 1.0


def test_a_caller_in_a_hurry_is_not_the_targets_fault() -> None:
    world = World().warmed()
    world.run(None, TIMEOUT, after=0.1)
    assert world.read().errors == 0.0
    world.run(None, TIMEOUT, after=30.0)
    assert world.read().errors > 0.0


def test_whole_answers_have_a_line_over_what_came_out() -> None:
    world, random = World(), Random(2)
    for number in range(200):
        output = 10 + number % 500 * 10
        world.run(None, after=(0.5 + 0.02 * output) * exp(random.gauss(0, 0.1)), output=output, streaming=False)
    signal = world.read()
    assert signal.first_token(100) is None
    assert signal.total(100, 1000) == pytest.approx(20.5, rel=0.3)


def test_usual_and_late_hang_on_the_prompts_size() -> None:
    world = World()
    call = world.call()
    assert (world.signals.usual(call, call.target), world.signals.late(call, call.target)) == (0.0, None)
    for number in range(100):
        tokens = 100_000 if number % 2 else 100
        world.run(0.5 + 4e-5 * tokens + 0.001 * (number % 7), tokens=tokens, after=0.0)
    long = world.call(tokens=100_000)
    late = [world.signals.late(each, each.target) or 0.0 for each in (call, long)]
    assert late == [pytest.approx(0.5, rel=0.2), pytest.approx(4.5, rel=0.2)]
    assert world.signals.usual(long, long.target) == pytest.approx(4.5, rel=0.2)


def test_targets_that_callers_make_up_do_not_fill_the_memory() -> None:
    world = World()
    for number in range(MAX_TARGETS + 50):
        world.run(model=str(number), after=0.0)
        world.run(model="0", after=0.0)
    assert len(world.signals._tracks) == MAX_TARGETS
    assert world.read("0").samples > MAX_TARGETS
    assert world.read("1").samples == 0


def test_signals_are_read_in_the_order_that_is_asked() -> None:
    world = World()
    world.run(model="a")
    names = ["b", "a", "c"]
    found = world.signals.read([call_pb2.Target(provider="p", model=name) for name in names])
    assert [signal.samples for signal in found] == [0, 1, 0]


@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 30)), min_size=1, max_size=30))
@example([(0.5, 7.0), (0.75, 1.0)])
def test_a_peak_stays_between_what_was_measured_and_one(measured: list[tuple[float, float]]) -> None:
    peak, now = Peak(), 0.0
    for ratio, pause in measured:
        now += pause
        peak.learn(ratio, now)
        assert min(1.0, *(each for each, _ in measured)) - 1e-9 <= peak.read(now)
        assert ratio - 1e-9 <= peak.read(now) <= max(1.0, *(each for each, _ in measured)) + 1e-9


def test_media_are_not_the_prompts_size() -> None:
    text = content_pb2.Part(text="x" * 40_000)
    image = content_pb2.Part(media=content_pb2.Media(mime_type="image/png", data=b"x" * 4_000_000))
    request = pb.GenerateRequest(messages=[content_pb2.Message(parts=[text, image])])
    assert prompt_tokens(request) == pytest.approx(10_000, rel=0.01)
