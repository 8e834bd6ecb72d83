"""What a replay came to, for a person."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from bench_routing.replay import point_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench_routing.figures import Curve
    from bench_routing.replay import Compared, Replay
    from bench_routing.routers import Choices

_HEAD = ("", "quality", "cost", "of best's", "latency s", "AIQ", "APGR", "CPT(50)", "CPT(80)", "same quality at")

# Strategies by what a table does not have.
_UNTOLD = (
    "round_robin, weighted and least_loaded are random here; local_first, capability_match, priority and ab_test go by "
    "what a table does not have."
)


def print_report(replay: Replay) -> None:
    """The table, and what it says of performance_based."""
    table = replay.table
    print(
        f"{table.name}: {len(table.models)} models, {len(table.train)} train rows, {len(table.test)} test rows", end=""
    )
    print(f", {len({row.task for row in table.train})} tasks" if table.labelled else ", no task labels")
    print(f"best single model on train rows: {replay.best}")
    _print_cells([_HEAD, *_rows(replay)])
    print(_UNTOLD)
    print("Of a sweep: quality and cost with price left out. CPT: a share of what the best single model costs more.")
    for line in _verdicts(replay):
        print(line)


def _rows(replay: Replay) -> Iterator[tuple[str, ...]]:
    yield _row("random", replay, replay.random)
    yield _row("best single", replay, replay.singles[replay.best])
    singles = [*replay.singles.values()]
    top = max(singles, key=lambda choices: fmean(choices.scores))
    yield _row("hull of singles", replay, top, replay.curve(singles))
    for name, choices in replay.strategies.items():
        if name != "latency_optimized" or choices.seconds:
            yield _row(name, replay, choices)
    for name, swept in replay.sweeps.items():
        yield _row(name, replay, swept[0], replay.curve(swept))
        if name in replay.on_budget:
            yield _row("  at best single's cost", replay, replay.on_budget[name])
    yield _row("oracle", replay, replay.oracle[0], replay.curve(replay.oracle))


def _row(name: str, replay: Replay, choices: Choices, curve: Curve | None = None) -> tuple[str, ...]:
    point = point_of(choices)
    latency = f"{fmean(choices.seconds):.2f}" if choices.seconds else "-"
    share = f"{point.cost / replay.scale.best.cost:.1%}" if replay.scale.best.cost else "-"
    figures: tuple[str, ...] = ("-",) * 5
    if curve is not None:
        shares = (f"{each:.1%}" if each is not None else "-" for each in (curve.cpt50, curve.cpt80, curve.match))
        figures = (f"{curve.aiq:.4f}", f"{curve.apgr:.3f}" if curve.apgr is not None else "-", *shares)
    return (name, f"{point.quality:.4f}", f"{point.cost:,.0f}", share, latency, *figures)


def _verdicts(replay: Replay) -> Iterator[str]:
    for name, choices in replay.on_budget.items():
        share = point_of(choices).cost / replay.scale.best.cost if replay.scale.best.cost else 1.0
        said = _said(replay.over_best(choices))
        yield f"{name}: quality {said} against the best single model, at {share:.1%} of its cost"
    if replay.table.labelled:
        ours, other = replay.sweeps["performance_based, labels"], replay.sweeps["task-label table"]
        yield f"performance_based, labels: AIQ {_said(replay.aiq_over(ours, other))} against the task-label table"


def _said(compared: Compared) -> str:
    return f"{compared.difference:+.4f} [{compared.low:+.4f}, {compared.high:+.4f}]"


def _print_cells(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        print(first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)))
