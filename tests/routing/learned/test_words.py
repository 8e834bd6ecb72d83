"""What words add to what cells tell of a model."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.routing.learned.cells import STRENGTH
from trunkline_server.routing.learned.shape import BUCKETS, NO_SHAPE, Shape, shape_of
from trunkline_server.state.learned import words as adding
from trunkline_server.state.learned.memory import Memory
from trunkline_server.state.learned.words import Words

# Prompts that look alike and are about other things.
LAW = "Which of these is a contract that the court would enforce"
SUMS = "Which of these is a number that the square would divide"


def test_words_tell_apart_what_looks_the_same() -> None:
    memory, law, sums = Memory(), shape_of(LAW), shape_of(SUMS)
    alike = Shape(law.views, sums.words)
    for _ in range(200):
        for shape, good, bad in ((law, "a", "b"), (alike, "b", "a")):
            memory.observe("", shape, good, 0.9)
            memory.observe("", shape, bad, 0.3)
    a, b = memory.qualities("", law, ("a", "b"))
    assert a.mean > b.mean + 0.2
    a, b = memory.qualities("", alike, ("a", "b"))
    assert b.mean > a.mean + 0.2
    a, b = memory.qualities("", Shape(law.views, ()), ("a", "b"))
    assert a.mean == pytest.approx(b.mean, abs=0.02)


def test_what_one_word_decides_is_found_among_many() -> None:
    draw, memory = random.Random(0), Memory()
    marked: dict[bool, list[float]] = {True: [], False: []}
    for number in range(4000):
        words = {*draw.sample(range(1, 400), 20), *((0,) if (has := draw.random() < 0.3) else ())}
        shape = Shape((), tuple(words))
        if number >= 3000:
            marked[has].append(memory.quality("", "m", shape).mean)
        memory.observe("", shape, "m", float(draw.random() < (0.8 if has else 0.4)))
    assert fmean(marked[True]) > fmean(marked[False]) + 0.05


def test_a_model_of_which_nothing_was_seen_gets_nothing_from_words() -> None:
    memory = Memory()
    for _ in range(100):
        memory.observe("", shape_of(LAW), "m", 1.0)
        memory.observe("", shape_of(SUMS), "m", 0.0)
    assert memory.quality("", "other", shape_of(LAW), prior=0.7).mean == 0.7


def mixed(memory: Memory, model: str, score: float, times: int = 30) -> None:
    """Observations of a model on prompts of all kinds."""
    draw = random.Random(times)
    for _ in range(times):
        memory.observe("", Shape((), tuple(draw.sample(range(100, 200), 10))), model, score)


def test_the_first_answer_tells_how_good_a_model_is_and_nothing_of_words() -> None:
    """Else all of a prompt's words had what the model is better than nobody knew."""
    memory, shape = Memory(), Shape((), (1, 2, 3))
    mixed(memory, "other", 0.5)
    memory.observe("", shape, "m", 1.0)
    assert memory.quality("", "m", shape) == memory.quality("", "m", NO_SHAPE)
    memory.correct("", shape, "m", 1.0, 0.9)
    assert memory.quality("", "m", shape) == memory.quality("", "m", NO_SHAPE)


def test_what_was_not_learned_from_is_not_corrected_in_words() -> None:
    memory, shape = Memory(), Shape((), (1, 2, 3))
    mixed(memory, "m", 0.5)
    for _ in range(100):
        memory.correct("", shape, "m", 0.0, 1.0)
    asked, plain = (memory.quality("", "m", each).mean for each in (shape, NO_SHAPE))
    assert asked == pytest.approx(plain, abs=0.01)


def test_what_is_known_of_a_model_does_not_move_with_what_others_do() -> None:
    """Words of which one model knows become common as others are asked."""
    memory, shape = Memory(), Shape((), (1, 2, 3))
    for model in "ab":
        mixed(memory, model, 0.5)
    memory.observe("", shape, "b", 0.0)
    once = memory.quality("", "b", shape).mean
    for _ in range(3000):
        memory.observe("", shape, "a", 0.5)
    assert memory.quality("", "b", shape).mean == pytest.approx(once, abs=0.02)


def test_words_tell_what_the_cells_of_the_task_leave() -> None:
    """Two tasks, each with a word of its own: the task says nearly all."""
    memory = Memory()
    for number in range(400):
        task, word, score = ("good", 1, 0.8) if number % 2 else ("bad", 2, 0.2)
        memory.observe(task, Shape((), (word,)), "m", score)
    assert 0.75 < memory.quality("good", "m", Shape((), (1,))).mean < 0.87


def test_words_forget_as_cells_do() -> None:
    """After long enough a word learns as fast as ever."""
    words = Words()
    for _ in range(5000):
        words.learn((1,), "m", 0.0)
        words.learn((2,), "n", 0.0)
    for _ in range(700):
        words.learn((1,), "m", 0.5)
        words.learn((2,), "n", 0.0)
    assert words.add((1,), ("m",))[0] > 0.35


def test_a_model_that_is_always_as_good_is_so_whatever_the_words() -> None:
    memory, draw = Memory(), random.Random(1)
    for _ in range(300):
        memory.observe("", Shape((), tuple(draw.sample(range(100), 10))), "m", 0.9)
    plain = memory.quality("", "m").mean
    for _ in range(20):
        shape = Shape((), tuple(draw.sample(range(100), 10)))
        assert memory.quality("", "m", shape).mean == pytest.approx(plain, abs=0.01)


def test_a_score_that_is_said_anew_takes_the_place_of_the_old_one_in_words_too() -> None:
    once, anew, shape = Memory(), Memory(), shape_of(LAW)
    for memory, score in ((once, 0.9), (anew, 0.1)):
        for other in (SUMS, "Something else", LAW):
            memory.observe("", shape_of(other), "m", 0.5)
        memory.observe("", shape, "m", score)
    anew.correct("", shape, "m", 0.1, 0.9)
    assert anew.quality("", "m", shape).mean == pytest.approx(once.quality("", "m", shape).mean, abs=0.02)
    assert once.quality("", "m", shape).mean > 0.55


def test_an_error_is_laid_to_words_by_how_rare_they_are_and_by_how_much_they_saw() -> None:
    words = Words()
    for number in range(10):
        words.learn((0, 100 + number), "n", 0.0)
    words.learn((0, 1), "m", 1.0)
    # The one rare word has it all: its x is 1, and so was m.
    assert words.add((0, 1), ("m",)) == pytest.approx([1 / (1 + STRENGTH)])
    assert words.add((0, 2), ("m",)) == pytest.approx([0.0], abs=0.01)
    assert list(words.add((0, 1), ("n",))) == [0.0]


def test_words_explain_what_others_left_and_no_more() -> None:
    words = Words()
    for _ in range(1000):
        words.learn((1, 2, 3), "m", 0.5)
        words.learn((4, 5), "m", 0.0)
    assert 0.45 < words.add((1, 2, 3), ("m",))[0] <= 0.5
    assert abs(words.add((4, 5), ("m",))[0]) < 0.01


def test_words_that_every_prompt_has_say_nothing() -> None:
    words = Words()
    for _ in range(10):
        words.learn((7,), "m", 1.0)
    assert words.add((7,), ("m",)) == ()
    words.learn((8,), "m", 1.0)
    assert words.add((8,), ("m", "n"))[0] > 0


def test_models_are_bounded_and_one_that_is_idle_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MOST_MODELS", 2)
    words = Words()
    words.learn((1,), "", 0.0)
    for _ in range(adding.IDLE):
        for model in ("a", "b", "c"):
            words.learn((2, 3), model, 1.0)
            words.learn((4,), model, 0.0)
    a, b, c = words.add((2, 3), ("a", "b", "c"))
    assert a > 0.5
    assert b > 0.5
    assert c == 0, "models that take turns do not take each other's place"
    for _ in range(adding.IDLE):
        words.learn((2, 3), "c", 1.0)
        words.learn((4,), "b", 0.0)
    a, b, c = words.add((2, 3), ("a", "b", "c"))
    assert a == 0
    assert c > 0.5


def test_words_that_agree_do_not_lead_beyond_the_scale() -> None:
    memory = Memory()
    for _ in range(1000):
        for word in range(4):
            memory.observe("", Shape((), (word,)), "m", float(word < 2))
    assert memory.quality("", "m", Shape((), (0, 1))).mean == 1.0
    assert memory.quality("", "m", Shape((), (2, 3))).mean == 0.0


@given(
    st.lists(st.tuples(st.lists(st.integers(0, BUCKETS - 1), max_size=8, unique=True), st.floats(0, 1)), max_size=40),
    st.lists(st.integers(0, BUCKETS - 1), max_size=8, unique=True),
)
def test_an_estimate_is_never_beyond_its_scale(seen: list[tuple[list[int], float]], asked: list[int]) -> None:
    memory = Memory()
    for words, score in seen:
        memory.observe("", Shape((), tuple(words)), "m", score)
    assert 0 <= memory.quality("", "m", Shape((), tuple(asked))).mean <= 1
