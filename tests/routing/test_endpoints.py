from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.routing.endpoints import choose

WAITS = st.lists(st.one_of(st.just(0.0), st.floats(0, 1e9)), min_size=1, max_size=8)


@given(WAITS, st.integers(0, 10**9))
def test_one_that_may_be_used_is_chosen_if_there_is_one_else_the_one_that_is_back_first(
    waits: list[float], turn: int
) -> None:
    assert waits[choose(waits, turn)] == min(waits)


@given(WAITS, st.integers(0, 10**6))
def test_those_that_may_be_used_take_turns_evenly(waits: list[float], first: int) -> None:
    ready = [index for index, wait in enumerate(waits) if wait == 0]
    counts = Counter(choose(waits, first + turn) for turn in range(3 * len(ready)))
    assert counts == dict.fromkeys(ready, 3)
