"""`make bench`: Trunkline against the floor.

    python -m bench [--quick] [--no-bars]

Prints a table, writes bench-gateway.json and ends with one line of JSON. The exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bench.figures import EXACT, machine, missed, table
from bench.rig import Rig
from bench.rounds import FULL, QUICK, measure

FILE = Path("bench-gateway.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Trunkline against the floor.")
    parser.add_argument("--quick", action="store_true", help="measure little: to see that it runs")
    parser.add_argument("--no-bars", action="store_true", help="miss bars of speed and memory and exit 0 all the same")
    options = parser.parse_args()
    begin, where = time.monotonic(), machine()
    with Rig() as rig:
        results = measure(rig, QUICK if options.quick else FULL)
    last_line = results.last_line()
    print(table(list(results.figures.values())))
    print(f"\nresident memory over the streams of the crowd, MB: {', '.join(f'{mb:.1f}' for mb in results.resident)}")
    failures = missed(last_line)
    print(f"{time.monotonic() - begin:.0f} s", *(failures.values() or ["every bar is met"]), sep="\n")
    FILE.write_text(json.dumps({**last_line, "machine": where, "results": asdict(results)}, indent=2) + "\n")
    print(json.dumps(last_line))
    return int(bool(failures.keys() & EXACT if options.no_bars else failures))


if __name__ == "__main__":
    sys.exit(main())
