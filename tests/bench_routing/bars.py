"""The bars that a replay is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench_routing.replay import point_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench_routing.replay import Replay

WITHOUT, WITH, TABLE = "performance_based, no labels", "performance_based, labels", "task-label table"


def missed(replay: Replay) -> Iterator[str]:
    """Each bar that is not met, in words."""
    name, choices = replay.table.name, replay.on_budget[WITHOUT]
    over, cost, best = replay.over_best(choices), point_of(choices).cost, replay.scale.best.cost
    if not over.low > 0.0:
        yield f"{name}: {WITHOUT}: better than the best single model by {over.low:.6f} at least: the bar is above 0"
    if cost > best:
        yield f"{name}: {WITHOUT}: {cost:,.0f} nano-USD a call: the bar is the best single model's {best:,.0f}"
    if replay.table.labelled:
        gain = replay.aiq_over(replay.sweeps[WITH], replay.sweeps[TABLE]).difference
        if not gain >= 0.0:
            yield f"{name}: {WITH}: AIQ {gain:+.4f} against the {TABLE}: the bar is 0"
