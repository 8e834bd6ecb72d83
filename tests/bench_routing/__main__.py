"""`make bench-routing`: what choosing a model for each call is worth, replayed over tables of answers.

    python -m bench_routing [TABLE]

Without TABLE: the tables of ../shared/routing, beside the checkout. Learns from train rows, one by one, as the gateway
does from feedback, and judges by test rows. Costs are nano-USD for a call on average; intervals are of 95%, by the
paired bootstrap over test rows. Bars that are missed are named. Ends with 1 if a table cannot be read, or one of
../shared/routing misses a bar; a table of one's own is told of and held to none.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench_routing.bars import missed
from bench_routing.replay import Replay
from bench_routing.report import print_report
from bench_routing.table import BadTable, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "routing"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench_routing", description="What choosing a model is worth.")
    parser.add_argument("table", nargs="?", type=Path, help="JSON lines (default: those of ../shared/routing)")
    given = parser.parse_args(arguments).table
    paths = [given] if given else sorted(SHARED.glob("*.jsonl*"))
    if not paths:
        print("There are no tables: no folder ../shared/routing. Nothing was replayed; TABLE=FILE replays another.")
    failures: list[str] = []
    for path in paths:
        begin = time.monotonic()
        try:
            replay = Replay(read_table(path))
        except (BadTable, OSError) as bad:
            print(f"{path}: {bad}", file=sys.stderr)
            return 1
        print_report(replay)
        failures += missed(replay)
        print(f"({time.monotonic() - begin:.0f} s)\n", flush=True)
    if paths:
        print(*([f"missed: {each}" for each in failures] or ["every bar is met"]), sep="\n")
    return int(bool(failures) and given is None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
