"""`make crash`: kill a gateway at every failpoint, then at random moments, in each mode, and judge its ledger."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from crash.check import WITH_BUDGETS
from crash.failpoints import ALONE, AT_START, FAILPOINTS, WITH_MONEY
from crash.run import run

MODES = ("relaxed", "strict", *WITH_BUDGETS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many random moments, as many in each mode")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    given = parser.parse_args()
    print(f"seed {given.seed}")
    plan = [
        (mode, name, given.seed)
        for mode in MODES
        for name in (*(WITH_MONEY if mode in WITH_BUDGETS else ALONE), *FAILPOINTS, *AT_START)
    ]
    plan += [(MODES[number % len(MODES)], "", given.seed + number) for number in range(given.kills)]
    failed = sum(not _survives(*each) for each in plan)
    print(f"{len(plan) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


def _survives(mode: str, name: str, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(Path(folder), mode, name, seed))
    figures = f"asked {report.asked:4}  rows {report.rows:4}  missing {report.missing}  lost {report.lost}"
    print(
        f"{mode:8} {name or f'random, seed {seed}':45} {figures}  {'ok' if not report.problems else 'FAILED'}",
        flush=True,
    )
    for problem in report.problems[:5]:
        print(f"    {problem}")
    return not report.problems


if __name__ == "__main__":
    main()
