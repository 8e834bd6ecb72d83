"""A window: what it tells is what a list of all that happened would tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.state.endpoint.window import Window

BUCKETS, WIDTH = 4, 3.0
# Seconds that pass, a kind that is counted, and which of the buckets that were told before it is counted into again.
STEPS = st.lists(st.tuples(st.floats(-1.0, 9.0), st.integers(0, 1), st.integers(0, 9)), max_size=40)


@given(st.floats(0.0, 1e6), STEPS)
def test_it_forgets_by_buckets_and_counts_late_into_those_it_knows(
    begin: float, steps: list[tuple[float, int, int]]
) -> None:
    window, now, latest = Window(2, BUCKETS, WIDTH), begin, 0
    told: list[tuple[int, list[int]]] = []
    counted: list[tuple[int, int]] = []
    for seconds, kind, back in steps:
        now = max(0.0, now + seconds)
        latest = max(latest, int(now // WIDTH))
        told.append((latest, window.at(now)))
        number, bucket = told[-1 - back % len(told)]
        bucket[kind] += 1
        counted.append((number, kind))
        known = [each for at, each in counted if at > latest - BUCKETS]
        newest = [each for at, each in counted if at > latest - 2]
        assert window.totals(now) == [known.count(0), known.count(1)]
        assert window.newest(2) == [newest.count(0), newest.count(1)]
