"""What is learned, what it is worth, and who is asked for it."""

from __future__ import annotations

import random
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.routing.learned.cells import DISCOUNT, NOTHING, STRENGTH, Quality, cell_of, observed
from trunkline_server.routing.learned.exploring import drawn
from trunkline_server.routing.learned.offline import Judged, estimated
from trunkline_server.routing.learned.pacing import LEAST, MOST, Pace, paced
from trunkline_server.routing.learned.performance import performance_based
from trunkline_server.routing.learned.shape import BUCKETS, LOOKED_AT, MOST_WORDS, NO_SHAPE, shape_of
from trunkline_server.routing.learned.utility import Candidates, Exchange, utilities
from trunkline_server.state.learned import memory as memories
from trunkline_server.state.learned.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

QUESTION = shape_of("What is the capital of France?\nA. Paris\nB. Rome\nAnswer:")
CODE = shape_of("def add(a, b):\n    return a + b  # what is wrong with this = {}?")


# --- what is known ----------------------------------------------------------------------------------------------------


def test_of_whom_nothing_was_seen_the_prior_holds() -> None:
    assert Memory().quality("t", "m", QUESTION, prior=0.7) == Quality(0.7, 0.0)
    assert Memory().quality("", "m") == Quality(0.5, 0.0)


def test_few_observations_say_little_and_many_say_it_all() -> None:
    memory = Memory()
    memory.observe("t", NO_SHAPE, "m", 1.0)
    once = memory.quality("t", "m").mean
    for _ in range(3000):
        memory.observe("t", NO_SHAPE, "m", 1.0)
    assert 0.5 < once < 0.6
    assert memory.quality("t", "m").mean > 0.99
    assert memory.quality("t", "m").n == pytest.approx(1 / (1 - DISCOUNT), rel=0.01)


def test_a_task_without_observations_is_drawn_toward_the_models_mean() -> None:
    memory = Memory()
    for _ in range(200):
        memory.observe("easy", NO_SHAPE, "m", 0.9)
    general, special = memory.quality("other", "m"), memory.quality("easy", "m")
    assert special.mean > general.mean > 0.8
    assert general.n == 0


def test_what_prompts_look_like_tells_models_apart_where_no_task_is_named() -> None:
    memory = Memory()
    for _ in range(100):
        for shape, good, bad in ((QUESTION, "a", "b"), (CODE, "b", "a")):
            memory.observe("", shape, good, 0.9)
            memory.observe("", shape, bad, 0.3)
    a, b = memory.qualities("", QUESTION, ("a", "b"))
    assert a.mean > b.mean + 0.2
    a, b = memory.qualities("", CODE, ("a", "b"))
    assert b.mean > a.mean + 0.2


def test_what_was_is_forgotten_when_things_change() -> None:
    memory = Memory()
    for score in [1.0] * 2000 + [0.0] * 2000:
        memory.observe("t", NO_SHAPE, "m", score)
    assert memory.quality("t", "m").mean < 0.05


def test_a_model_that_does_not_answer_is_worth_less_whatever_its_answers_are() -> None:
    memory = Memory()
    for number in range(200):
        memory.observe("t", NO_SHAPE, "m", 0.8)
        memory.observe("t", NO_SHAPE, "n", 0.8)
        memory.observe_outcome("t", "m", answered=number % 2 == 0)
        memory.observe_outcome("t", "n", answered=True)
    m, n = memory.qualities("t", NO_SHAPE, ("m", "n"))
    assert m.mean < 0.6 * n.mean
    assert n.mean == pytest.approx(0.77, abs=0.03)  # answers alone say nothing of what they are worth


def test_a_score_that_is_said_anew_takes_the_place_of_the_old_one() -> None:
    once, anew = Memory(), Memory()
    for memory, score in ((once, 0.9), (anew, 0.1)):
        memory.observe("t", QUESTION, "m", score)
    anew.correct("t", QUESTION, "m", 0.1, 0.9)
    assert anew.quality("t", "m", QUESTION) == pytest.approx(once.quality("t", "m", QUESTION))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "MOST_KEYS", 10)
    monkeypatch.setattr(memories, "MOST_MODELS", 3)
    memory = Memory()
    for number in range(100):
        memory.observe(f"task {number}", NO_SHAPE, f"m{number}", 0.9)
    assert len(memory._cells) <= 10
    assert max(map(len, memory._cells.values())) <= 3
    assert memory.quality("task 99", "m99").n == 1
    assert memory.quality("task 1", "m1").n == 0


@given(st.lists(st.floats(0, 1), max_size=50))
def test_a_cell_is_never_beyond_what_it_saw(scores: list[float]) -> None:
    cell = NOTHING
    for score in scores:
        cell = observed(cell, score)
    assert 0 <= cell.total <= cell.n <= len(scores)
    assert cell_of(cell.n, cell.total) == (cell if scores else cell_of(0, 0))
    assert cell.kept == pytest.approx(STRENGTH / (STRENGTH + cell.n))


def test_shapes_hold_nothing_of_the_prompt_and_are_the_same_each_time() -> None:
    assert shape_of("tell me") == shape_of("tell me") != shape_of("show me")
    long = shape_of("x" * 100_000 + " y" * 100_000)
    assert all(0 <= key < 2**32 for chain in long.views for key in chain)
    assert len(shape_of("").views) == len(shape_of("é").views) == 4


def test_words_are_numbers_that_many_share_and_only_the_first_ones_are_looked_at() -> None:
    assert shape_of("").words == shape_of("12 + 3 = ?").words == ()
    assert len(shape_of("Привет").words) == len(shape_of("hello, HELLO").words) - 1 == 1
    many = shape_of(" ".join("".join(each) for each in product("abcd", repeat=4)))
    assert 2 * MOST_WORDS - 10 < len(many.words) < 2 * MOST_WORDS
    assert all(0 <= word < BUCKETS for word in many.words)
    assert shape_of(" " * LOOKED_AT + "beyond").words == ()
    assert not {*shape_of("cannot").words} <= {*shape_of("can not").words}
    assert set(shape_of("tell me").words) < set(shape_of("now tell me").words)


# --- what it is worth -------------------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """One of them."""

    id: str
    quality: Quality
    cost: float | None = None
    seconds: float | None = None


def columns(candidates: Sequence[Candidate]) -> Candidates:
    """All of them, as they are decided among."""
    return Candidates(*zip(*candidates, strict=True)) if candidates else Candidates((), (), ())


QUALITY = st.builds(Quality, st.floats(0, 1), st.floats(0, 500))
CANDIDATES = st.lists(
    st.tuples(QUALITY, st.one_of(st.none(), st.floats(0, 1e9)), st.one_of(st.none(), st.floats(0, 100))),
    min_size=1,
    max_size=8,
).map(lambda found: [Candidate(f"p/{place}", *each) for place, each in enumerate(found)])
EXCHANGE = Exchange(price_weight=0.2, reference=1e6, time_weight=0.01, promise=2.0)


@given(CANDIDATES, st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_are_given_changes_nothing(
    candidates: list[Candidate], number: float, shuffle: random.Random
) -> None:
    mixed = candidates[:]
    shuffle.shuffle(mixed)
    for explore in (0.0, 0.3):
        one, other = (performance_based(columns(each), EXCHANGE, explore, number) for each in (candidates, mixed))
        assert [candidates[i].id for i in one.order] == [mixed[i].id for i in other.order]
        assert sorted(one.order) == [*range(len(candidates))]
        assert sum(one.propensities) == pytest.approx(1.0)


@given(CANDIDATES, st.floats(1, 1e6), st.floats(0.1, 50))
def test_nobody_is_worth_more_for_being_dearer_or_slower(
    candidates: list[Candidate], dearer: float, slower: float
) -> None:
    first = candidates[0]
    if first.cost is None:
        return
    worse = first._replace(cost=first.cost + dearer, seconds=(first.seconds or 0.0) + slower)
    before, after = (utilities(columns([each, *candidates[1:]]), EXCHANGE)[0] for each in (first, worse))
    assert after <= before


def test_among_equals_the_cheapest_is_asked() -> None:
    known = Quality(0.8, 50)
    found = performance_based(columns([Candidate("p/a", known, 20.0), Candidate("p/b", known, 10.0)]), Exchange())
    assert found.order == (1, 0)
    assert performance_based(columns([]), Exchange()).order == ()


# --- spending at a pace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [2_000.0, 5_000.0, 6_500.0])
def test_what_is_spent_comes_within_two_percent_of_the_target(target: float) -> None:
    draw, pace, spent = random.Random(3), Pace(target), []
    for _ in range(6000):
        better, cheaper = draw.random(), 0.6 * draw.random()
        candidates = [
            Candidate("p/dear", Quality(better, 9), 10_000.0),
            Candidate("p/cheap", Quality(cheaper, 9), 1_000.0),
        ]
        chosen = candidates[
            performance_based(columns(candidates), Exchange(price_weight=pace.weight, reference=target)).order[0]
        ]
        cost = (chosen.cost or 0.0) * draw.lognormvariate(-0.125, 0.5)
        pace = paced(pace, cost)
        spent.append(cost)
    assert fmean(spent[1000:]) == pytest.approx(target, rel=0.02)


def test_the_weight_of_price_stays_within_its_bounds() -> None:
    low = high = Pace(1.0)
    for _ in range(1000):
        low, high = paced(low, 0.0), paced(high, 1e9)
    assert (low.balance, low.weight, high.weight) == (LEAST, 0.0, MOST)


# --- trying, and judging by the log -----------------------------------------------------------------------------------


def test_nothing_is_tried_unless_it_is_asked_for() -> None:
    candidates = [Candidate("p/a", Quality(0.6, 1)), Candidate("p/b", Quality(0.5, 1))]
    found = [performance_based(columns(candidates), Exchange(), 0.0, number / 100) for number in range(100)]
    assert {each.order for each in found} == {(0, 1)}
    assert found[0].propensities == (1.0, 0.0)


def test_targets_are_tried_as_often_as_the_log_says() -> None:
    candidates = [
        Candidate("p/a", Quality(0.6, 5)),
        Candidate("p/b", Quality(0.5, 5)),
        Candidate("p/c", Quality(0.1, 400)),
    ]
    draw, firsts = random.Random(5), [0, 0, 0]
    for _ in range(20_000):
        found = performance_based(columns(candidates), Exchange(), 0.5, draw.random())
        firsts[found.order[0]] += 1
    assert [count / 20_000 for count in firsts] == pytest.approx(found.propensities, abs=0.015)
    assert found.propensities[0] > found.propensities[1] > found.propensities[2]


def test_a_number_beyond_all_chances_still_hits_somebody() -> None:
    assert drawn([0.3, 0.7], 1.0) == 1


def test_a_policy_is_judged_by_the_log_of_another() -> None:
    draw, right = random.Random(9), {"a": 0.3, "b": 0.7}
    log, raw = [], []
    for _ in range(20_000):
        chances = {"a": 0.9, "b": 0.1}
        action = "a" if draw.random() < chances["a"] else "b"
        score = float(draw.random() < right[action])
        log.append(Judged(chances[action], float(action == "b"), score))
        raw.append(score)
    always_b = estimated(log)
    assert always_b.mean == pytest.approx(0.7, abs=0.03)
    assert fmean(raw) < 0.4
    assert 1500 < always_b.effective < 2500
    assert estimated([]) == (0.0, 0.0)
