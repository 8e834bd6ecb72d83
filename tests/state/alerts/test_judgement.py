"""When alerts are opened and resolved: once each, whatever noise there is around the figures that decide it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.alerts_pb2 import Alert
from trunkline_server.state.alerts.judgement import (
    GONE_AFTER,
    OPEN_AFTER,
    RESOLVE_AFTER,
    SEEN_ELSEWHERE,
    Open,
    Streaks,
    judge,
)
from trunkline_server.state.alerts.reading import Is, Key, Reading, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = Key(Alert.KIND_ERROR_RATE, "up")
STEP = 15.0
ENTER, LEAVE = 0.1, 0.05


class World:
    """One thing that is read, and the alert of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.streaks: Streaks = {}
        self.open: dict[Key, Open] = {}
        # What happened, and when.
        self.history: list[tuple[str, float]] = []

    def read(self, value: float | None, severity: Alert.Severity.ValueType = Alert.SEVERITY_MEDIUM) -> None:
        """What is read next; None: nothing is known."""
        self.now += STEP
        readings = [] if value is None else [Reading(KEY, state_of(value, ENTER, LEAVE), severity)]
        self.streaks, verdict = judge(self.streaks, readings, self.open, self.now)
        for _ in verdict.opens:
            assert KEY not in self.open
            self.open[KEY] = Open("a", severity, self.now)
            self.history.append(("opened", self.now))
        for _ in (*verdict.remains, *verdict.worsens):
            self.open[KEY] = self.open[KEY]._replace(seen=self.now)
        for _ in verdict.worsens:
            self.open[KEY] = self.open[KEY]._replace(severity=severity)
            self.history.append(("worsened", self.now))
        for _ in verdict.resolves:
            del self.open[KEY]
            self.history.append(("resolved", self.now))

    def read_all(self, values: Iterable[float | None]) -> list[str]:
        for value in values:
            self.read(value)
        return [what for what, _ in self.history]


def lasting(value: float, seconds: float) -> list[float]:
    return [value] * (int(seconds / STEP) + 1)


BAD, WELL = lasting(1.0, OPEN_AFTER), lasting(0.0, RESOLVE_AFTER)


def test_what_lasts_is_opened_once_and_resolved_once() -> None:
    assert World().read_all([*BAD, *BAD, *BAD, *WELL, *WELL, *WELL]) == ["opened", "resolved"]


def test_what_passes_soon_is_not_opened() -> None:
    assert World().read_all([1.0, 0.0, 1.0, 1.0, 0.0] * 20) == []


def test_it_is_resolved_only_after_being_well_without_a_break() -> None:
    almost = lasting(0.0, RESOLVE_AFTER)[:-1]
    world = World()
    assert world.read_all([*BAD, *almost, 0.07, *almost, 1.0, *almost]) == ["opened"]
    assert world.read_all(WELL) == ["opened", "resolved"]


@given(st.lists(st.floats(LEAVE, 1.0), max_size=200))
def test_noise_around_the_figure_that_opens_never_resolves(noise: list[float]) -> None:
    assert World().read_all(noise) in ([], ["opened"])


@given(st.lists(st.floats(0.0, ENTER, exclude_max=True), max_size=200))
def test_noise_around_the_figure_that_resolves_never_opens_again(noise: list[float]) -> None:
    assert World().read_all([*BAD, *noise]) in (["opened"], ["opened", "resolved"])


@given(st.lists(st.one_of(st.none(), st.floats(0.0, 0.2)), max_size=400))
def test_whatever_comes_openings_and_resolutions_take_turns_and_time(values: list[float | None]) -> None:
    world = World()
    world.read_all(values)
    turns = [each for each in world.history if each[0] != "worsened"]
    assert [what for what, _ in turns] == ["opened", "resolved"] * (len(turns) // 2) + ["opened"] * (len(turns) % 2)
    for (what, before), (_, after) in pairwise(turns):
        assert after - before >= (RESOLVE_AFTER if what == "opened" else OPEN_AFTER)


def test_what_is_not_known_is_not_well() -> None:
    world = World()
    nothing: list[float | None] = [None] * int(GONE_AFTER / STEP - 1)
    assert world.read_all([*BAD, *nothing, *BAD, *nothing]) == ["opened"]
    assert world.read_all([None, None]) == ["opened", "resolved"]


def test_what_was_open_before_a_restart_is_not_opened_again() -> None:
    before = World()
    before.read_all(BAD)
    after = World()
    after.now, after.open = before.now, dict(before.open)
    assert after.read_all([*BAD, *WELL, *WELL]) == ["resolved"]


def test_what_another_gateway_sees_is_not_resolved() -> None:
    world = World()
    world.read_all(BAD)
    for _ in range(100):
        world.open[KEY] = world.open[KEY]._replace(seen=world.now)  # the other one, a moment ago
        world.read(0.0)
    assert [what for what, _ in world.history] == ["opened"]
    assert world.read_all(lasting(0.0, SEEN_ELSEWHERE)) == ["opened", "resolved"]


def test_getting_worse_is_told_once_and_getting_better_is_not() -> None:
    world = World()
    for severity in (Alert.SEVERITY_MEDIUM,) * 4 + (Alert.SEVERITY_HIGH, Alert.SEVERITY_MEDIUM, Alert.SEVERITY_HIGH):
        world.read(1.0, severity)
    assert [what for what, _ in world.history] == ["opened", "worsened"]


def test_between_is_neither() -> None:
    assert [state_of(value, ENTER, LEAVE) for value in (0.1, 0.0999, 0.05, 0.0499)] == [
        Is.BAD,
        Is.BETWEEN,
        Is.BETWEEN,
        Is.WELL,
    ]
