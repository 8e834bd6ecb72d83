"""`make fuzz`: damage answers until something other than a typed error comes out of a decoder.

    python -m fuzz [--seconds N] [--dialect NAME] [--seed N] [--save FOLDER]

Whatever leads to an outcome that was not seen before is damaged further. What fails is saved as the bytes that do it,
under FOLDER/<dialect>; `python -m fuzz --again FILE` tries one again. The exit code is 1 if anything fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conformance.__main__ import CORPUS
from fuzz.checks import dialect_named
from fuzz.run import Run, again
from fuzz.seeds import NAMES, seeds_of

SAVED = Path(__file__).parents[2] / ".fuzz"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Damage answers and read them.")
    parser.add_argument("--seconds", type=float, default=600, help="for each dialect (default: 600)")
    parser.add_argument("--dialect", choices=NAMES, help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--save", type=Path, default=SAVED, metavar="FOLDER", help="where to keep what fails")
    parser.add_argument("--again", type=Path, metavar="FILE", help="try one that was saved")
    options = parser.parse_args(arguments)
    if options.again:
        print(again(options.again))
        return 0
    failed = 0
    print(f"{'dialect':26}{'executions':>12}{'outcomes':>10}{'failures':>10}")
    for name in (options.dialect,) if options.dialect else NAMES:
        run = Run(name, dialect_named(name), seeds_of(name, CORPUS if CORPUS.is_dir() else None), options.seed)
        run.go(options.seconds)
        print(f"{name:26}{run.executions:12}{len(run.outcomes):10}{len(run.failures):10}", flush=True)
        for failure in run.failures.values():
            print(f"  {failure.why}\n  {failure.save(options.save)}")
        failed += len(run.failures)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
