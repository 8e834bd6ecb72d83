"""What holds of every decision, whatever it is made of: properties of scores, constraints, orders and chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import COMPLEXITY_COMPLEX, COMPLEXITY_SIMPLE, Target
from trunkline.v1.model_pb2 import CAPABILITY_STREAMING, CAPABILITY_TOOLS
from trunkline_server.errors import CallError, ContextTooLong
from trunkline_server.routing.analysis import Analysis
from trunkline_server.routing.ask import Ask
from trunkline_server.routing.candidates import Candidate, Tariff
from trunkline_server.routing.constraints import Constraints
from trunkline_server.routing.decision import Decision, Question, choose, rank
from trunkline_server.routing.expected import Size, expected
from trunkline_server.routing.numbers import numbers_of
from trunkline_server.routing.policy import Weights
from trunkline_server.routing.ranking import scores_by
from trunkline_server.routing.record import record, replay
from trunkline_server.routing.signal import Signal
from trunkline_server.routing.steering import Figure
from trunkline_server.routing.strategies import BUILT_IN, Kind, Strategy
from trunkline_server.routing.table import Table, table_of
from trunkline_server.routing.tokens import Count

SHARES = st.floats(0, 1)
PRICES = st.integers(0, 10**8)
SCORING = [each for each in BUILT_IN.values() if each.kind is Kind.SCORE and not each.local_first]
SEEDS = st.integers(0, (1 << 64) - 1)


def candidate(number: int, **what: Any) -> Candidate:
    provider, model = f"p{number % 3}", f"m{number}"
    known: dict[str, Any] = {
        "id": f"{provider}/{model}",
        "target": Target(provider=provider, model=model),
        "provider": provider,
        "model": model,
        "kind": "openai_compatible",
        "family": "",
        "hindrance": "",
        "local": False,
        "open_weights": None,
        "capabilities": frozenset({CAPABILITY_STREAMING}),
        "window": None,
        "max_output": None,
        "quality": 0.5,
        "coding": None,
        "reasoning": None,
        "speed": None,
        "tariff": Tariff(1_000_000, 2_000_000, 1_000_000, 0, 0),
        "effective_price": 1.0,
    }
    return Candidate(**{**known, **what})


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    scores = st.none() | SHARES
    price = draw(st.none() | PRICES)
    return candidate(
        draw(st.integers(0, 40)),
        family=draw(st.sampled_from(["", "gpt", "claude"])),
        local=draw(st.booleans()),
        capabilities=draw(st.frozensets(st.sampled_from([CAPABILITY_STREAMING, CAPABILITY_TOOLS]))),
        window=draw(st.none() | st.integers(1, 10**6)),
        max_output=draw(st.none() | st.integers(1, 10**5)),
        quality=draw(scores),
        coding=draw(scores),
        speed=draw(scores),
        tariff=None if price is None else Tariff(price, 2 * price, price, draw(PRICES), 0),
        effective_price=None if price is None else price / 1e6,
    )


ROWS = st.lists(candidates(), min_size=1, max_size=12, unique_by=lambda row: row.id)
ASKS = st.builds(
    lambda streaming, tokens, coding, hard, most: ask(
        streaming=streaming, tokens=tokens, coding=coding, hard=hard, most=most
    ),
    st.booleans(), st.integers(0, 100_000), st.booleans(), st.booleans(), st.none() | st.integers(1, 10_000),
)  # fmt: skip
SIGNALS = st.builds(
    Signal,
    base=st.floats(0.001, 30),
    per_prompt_token=st.floats(0, 0.001),
    medians=st.just(()),
    whole=st.none(),
    per_token=st.none() | st.floats(0.0001, 1),
    residual=st.floats(0.1, 10),
    errors=SHARES,
    utilisation=SHARES,
    samples=st.integers(0, 50),
)
FIGURES = st.builds(Figure, SHARES, SHARES, st.sampled_from([0.0, 0.0, 3.0]))
CONSTRAINTS = st.builds(
    Constraints,
    allowed=st.sampled_from([(), ("p0", "p1")]),
    denied=st.sampled_from([(), ("p2",)]),
    capabilities=st.sampled_from([(), (CAPABILITY_TOOLS,)]),
    min_window=st.none() | st.integers(0, 10**6),
    min_quality=st.none() | SHARES,
    max_cost=st.none() | st.integers(0, 10**9),
    max_first=st.none() | st.floats(0.01, 30),
    max_total=st.none() | st.floats(0.01, 100),
    local_only=st.booleans(),
)


def ask(
    *, streaming: bool = True, tokens: int = 1000, coding: bool = False, hard: bool = False, most: int | None = None
) -> Ask:
    count = Count(tokens)
    complexity = COMPLEXITY_COMPLEX if hard else COMPLEXITY_SIMPLE
    return Ask(
        streaming=streaming, analysis=Analysis(count.tokens, coding, complexity, count), count=count, max_output=most
    )


def question(table: Table, **what: Any) -> Question:
    given_: dict[str, Any] = {"seed": 1, "table": table, "ask": ask(), "groups": (tuple(range(len(table.rows))),)}
    return Question(**{**given_, "is_open": True, **what})


def decided(table: Table, figures: dict[str, Figure] | None = None, **what: Any) -> Decision:
    return choose(rank(question(table, **what)), figures or {})


def ids(decision: Decision) -> list[str]:
    return [decision.ranking.question.table.rows[index].id for index in decision.order]


def outcome(asked: Question) -> Decision | CallError:
    try:
        return choose(rank(asked), {})
    except CallError as error:
        return error


def roomy(rows: list[Candidate]) -> list[Candidate]:
    """The same with windows that hold everything."""
    return [replace(row, window=None) for row in rows]


def score(table: Table, id_: str, weights: Weights, request: Ask, signals: dict[int, Signal]) -> float:
    table = table_of(roomy([*table.rows]))
    ranking = rank(question(table, ask=request, strategy=Strategy(name="w", weights=weights), signals=signals))
    return scores_by(ranking.known)[[row.id for row in table.rows].index(id_)]


WEIGHTS = st.builds(Weights, cost=SHARES, performance=SHARES, quality=SHARES, specialised=SHARES)


@given(ROWS, ASKS, st.sampled_from(sorted(BUILT_IN)), st.dictionaries(st.integers(0, 11), SIGNALS), SEEDS, st.data())
def test_the_order_in_which_candidates_are_found_does_not_matter(
    rows: list[Candidate], request: Ask, strategy: str, signals: dict[int, Signal], seed: int, data: st.DataObject
) -> None:
    table = table_of(roomy(rows))
    known = {index: signal for index, signal in signals.items() if index < len(rows)}
    shuffled = table_of(data.draw(st.permutations(roomy(rows))))
    what: dict[str, Any] = {"ask": request, "strategy": BUILT_IN[strategy], "signals": known, "seed": seed}
    assert ids(decided(table, **what)) == ids(decided(shuffled, **what))


@given(ROWS, ASKS, CONSTRAINTS, st.sampled_from(sorted(BUILT_IN)), st.dictionaries(st.integers(0, 11), SIGNALS), SEEDS)
def test_no_constraint_is_ever_violated_and_nobody_else_is_left_out(
    rows: list[Candidate], request: Ask, wanted: Constraints, strategy: str, signals: dict[int, Signal], seed: int
) -> None:
    table = table_of(rows)
    known = {index: signal for index, signal in signals.items() if index < len(rows)}
    asked = question(table, ask=request, constraints=wanted, strategy=BUILT_IN[strategy], signals=known, seed=seed)
    numbers = numbers_of(table, request, known, {})
    decision = outcome(asked)
    if isinstance(decision, CallError):
        assert isinstance(decision, ContextTooLong) or decision.violations
        return
    for index in decision.order:
        row = table.rows[index]
        assert not wanted.allowed or row.provider in wanted.allowed
        assert row.provider not in wanted.denied
        assert set(wanted.capabilities) <= row.capabilities
        assert wanted.min_window is None or (row.window or 0) >= wanted.min_window
        assert wanted.min_quality is None or (row.quality is not None and row.quality >= wanted.min_quality)
        assert not wanted.local_only or row.local
        if wanted.max_cost is not None:
            assert row.tariff is not None
            assert (numbers.costs[index] or 0) <= wanted.max_cost
        first, total = numbers.times(index) or (None, None)
        assert wanted.max_first is None or first is None or first <= wanted.max_first
        assert wanted.max_total is None or total is None or total <= wanted.max_total
    removed = {each.row for each in decision.ranking.removed}
    assert removed | {*decision.order} == set(range(len(rows)))
    assert not removed & {*decision.order}


@given(ROWS, ASKS, WEIGHTS, st.integers(0, 11), st.floats(1, 100))
def test_a_dearer_model_never_scores_more(
    rows: list[Candidate], request: Ask, weights: Weights, at: int, times: float
) -> None:
    table = table_of(rows)
    row = table.rows[at % len(rows)]
    if row.tariff is None:
        return
    dear = replace(row.tariff, input=round(row.tariff.input * times), output=round(row.tariff.output * times))
    dearer = table_of(replace(each, tariff=dear) if each.id == row.id else each for each in rows)
    assert score(dearer, row.id, weights, request, {}) <= score(table, row.id, weights, request, {})
    for other in rows:
        if other.id != row.id:
            assert score(dearer, other.id, weights, request, {}) == score(table, other.id, weights, request, {})


@given(ROWS, ASKS, WEIGHTS, SIGNALS, st.integers(0, 11), st.floats(1, 100), SHARES)
def test_a_slower_or_failing_model_never_scores_more(
    rows: list[Candidate], request: Ask, weights: Weights, signal: Signal, at: int, times: float, more: float
) -> None:
    table, index = table_of(rows), at % len(rows)
    row = table.rows[index]
    before = score(table, row.id, weights, request, {index: signal})
    slower = signal._replace(
        residual=signal.residual * times, per_token=None if signal.per_token is None else signal.per_token * times
    )
    failing = signal._replace(errors=signal.errors + (1 - signal.errors) * more)
    for worse in (slower, failing):
        assert score(table, row.id, weights, request, {index: worse}) <= before + 1e-12


@given(ROWS, ASKS, st.dictionaries(st.integers(0, 11), SIGNALS), st.integers(0, 11))
def test_all_at_once_are_expected_to_take_what_each_is(
    rows: list[Candidate], request: Ask, signals: dict[int, Signal], at: int
) -> None:
    table, index = table_of(rows), at % len(rows)
    known = {each: signal for each, signal in signals.items() if each < len(rows)}
    numbers = numbers_of(table, request, known, {})
    size = Size(numbers.inputs[index], numbers.outputs[index], request.max_output)
    one = expected(table.rows[index], size, known.get(index))
    assert numbers.costs[index] == one.cost
    if index in known:
        assert numbers.times(index) == pytest.approx((one.first_token, one.total)) or not one.measured


@given(ROWS, st.sampled_from(sorted(BUILT_IN)), st.dictionaries(st.sampled_from(["p0", "p1", "p2"]), FIGURES), SEEDS)
def test_a_decision_replays(rows: list[Candidate], strategy: str, figures: dict[str, Figure], seed: int) -> None:
    decision = decided(table_of(roomy(rows)), figures, strategy=BUILT_IN[strategy], seed=seed)
    again = replay(record(decision))
    assert again.order == decision.order
    assert again.ranking.groups == decision.ranking.groups


@pytest.mark.parametrize("strategy", SCORING, ids=lambda each: each.name)
def test_raising_a_price_never_raises_a_share(strategy: Strategy) -> None:
    """Of three that are about as good, one becomes dearer step by step."""
    shares = []
    for price in (1_000_000, 1_100_000, 1_240_000, 1_300_000, 5_000_000):
        rows = [candidate(0), candidate(1), candidate(2, tariff=Tariff(price, 2 * price, price, 0, 0))]
        table = table_of(rows)
        counts = Counter(ids(decided(table, strategy=strategy, seed=seed * 7919))[0] for seed in range(1200))
        shares.append(counts[rows[2].id] / 1200)
    assert all(later <= before + 0.06 for before, later in pairwise(shares)), shares


# The best fit, and the best by what was learned, alone: equals go by their names, and trying others is for `explore`.
_ALONE = (Kind.CAPABILITY, Kind.LEARNED)


@pytest.mark.parametrize("strategy", sorted(name for name, each in BUILT_IN.items() if each.kind not in _ALONE))
def test_of_equals_nobody_starves(strategy: str) -> None:
    table = table_of(candidate(number) for number in range(6))
    what: dict[str, Any] = {"strategy": BUILT_IN[strategy]}
    counts = Counter(ids(decided(table, seed=seed * 104_729, turn=seed, **what))[0] for seed in range(900))
    assert set(counts) == {row.id for row in table.rows}
    assert min(counts.values()) > 900 / 6 / 3


def test_one_that_was_slow_is_asked_again_once_it_is_not() -> None:
    """Chance is among near-equals: who is left out is in again as soon as his signal says so."""
    table = table_of([candidate(0), candidate(1)])
    slow, well = Signal(base=9.0, per_token=0.5, samples=50), Signal(base=0.3, per_token=0.01, samples=50)
    during = Counter(ids(decided(table, signals={0: slow, 1: well}, seed=s * 7))[0] for s in range(500))
    after = Counter(ids(decided(table, signals={0: well, 1: well}, seed=s * 7))[0] for s in range(500))
    assert during[table.rows[0].id] < 10
    assert 150 < after[table.rows[0].id] < 350
