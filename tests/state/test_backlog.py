"""A backlog: everything is learned once, in order, before anybody can ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1 import call_pb2
from trunkline_server.state.alerts.tally import Tally
from trunkline_server.state.backlog import MOST, Backlog
from trunkline_server.state.lengths import Lengths
from trunkline_server.state.signals.track import Track
from trunkline_server.state.statistics import Finished


@given(st.lists(st.one_of(st.integers(), st.none()), max_size=5 * MOST))
def test_lessons_are_learned_once_in_order_and_never_many_wait(steps: list[int | None]) -> None:
    learned: list[int] = []
    added: list[int] = []
    backlog = Backlog(learned.append)
    for step in steps:
        if step is None:
            backlog.learn()
            assert learned == added
        else:
            backlog.add(step)
            added.append(step)
        assert learned == added[: len(learned)]
        assert len(added) - len(learned) < MOST


def test_what_a_lesson_adds_meanwhile_is_learned_too() -> None:
    learned: list[int] = []

    def learn(lesson: int) -> None:
        learned.append(lesson)
        if lesson < 3:
            backlog.add(lesson + 1)

    backlog = Backlog(learn)
    backlog.add(1)
    for _ in range(3):
        backlog.learn()
    assert learned == [1, 2, 3]


def test_a_lesson_that_fails_loses_no_other() -> None:
    learned: list[int] = []

    def learn(lesson: int) -> None:
        if lesson == 1:
            raise ValueError("a bug")
        learned.append(lesson)

    backlog = Backlog(learn)
    for lesson in range(4):
        backlog.add(lesson)
    with pytest.raises(ValueError, match="a bug"):
        backlog.learn()
    backlog.learn()
    assert learned == [0, 2, 3]


def test_what_waits_keeps_no_answer_in_memory() -> None:
    """A part of a message keeps all of it."""
    usage = call_pb2.Usage(input_tokens=10, output_tokens=7)
    lengths, tally, track = Lengths(), Tally(), Track()
    lengths.record(Finished("up", "up/m", "success", False, 1, usage, 1.0, None, estimated=9))
    tally.answered(Finished("up", "up/m", "success", False, 1, usage, 1.0, None), 10.0)
    track.answered(1.0, usage, None, 10.0)
    for backlog in (lengths._backlog, tally._given, track._answers):
        (lesson,) = backlog._waiting
        assert {type(each) for each in lesson} <= {str, int, float, bool, type(None)}


@given(st.lists(st.sampled_from(["answered", "began", "failed", "waited"]), max_size=60))
def test_nobody_can_tell_that_a_targets_lessons_waited(steps: list[str]) -> None:
    usage = call_pb2.Usage(input_tokens=10, output_tokens=7)
    asked, left = Track(), Track()
    for number, step in enumerate(steps):
        at = 10.0 * number
        for track in (asked, left):
            match step:
                case "answered":
                    track.answered(1.0 + number % 7, usage, None if number % 2 else 0.5, at)
                case "began":
                    track.began(100, 0.2 + number % 3, at)
                case "failed":
                    track.failed(at)
                case "waited":
                    track.waited(100, 30.0, at)
        asked.read(at, 0.0)
        asked.expected(50, at, streaming=False)
    end = 10.0 * len(steps) + 1
    assert left.read(end, 0.5) == asked.read(end, 0.5)
    for streaming in (False, True):
        assert left.usual(100, end, streaming=streaming) == asked.usual(100, end, streaming=streaming)
        assert left.late(100, end, streaming=streaming) == asked.late(100, end, streaming=streaming)
