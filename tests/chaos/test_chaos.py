"""A sample of `make chaos`: a few seconds of trouble, and a hundred callers who go away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos import cancels, invariants
from chaos.__main__ import timeline
from chaos.run import run

if TYPE_CHECKING:
    from pathlib import Path

SEED = 1


async def test_promises_hold_while_providers_are_in_trouble(tmp_path: Path) -> None:
    record = await run(tmp_path, SEED, seconds=2.5)
    assert invariants.problems(record) == [], f"seed {SEED}\n{timeline(record)}"
    assert record.troubles
    assert len(record.calls) > 50


async def test_many_who_go_away_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    record = await cancels.cancel_all(tmp_path, streams=100, seed=SEED, spread=0.5)
    assert cancels.problems(record) == []
