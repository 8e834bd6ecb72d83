"""`make simulate`: every scenario with its figures and bars.

python -m simulation --seeds 5
"""

from __future__ import annotations

import argparse
import sys
import time

from simulation import scenarios, scenarios_of_attempts, scenarios_of_signals
from virtual_time import run_virtual

SCENARIOS = {**scenarios.SCENARIOS, **scenarios_of_attempts.SCENARIOS, **scenarios_of_signals.SCENARIOS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=SCENARIOS)
    asked = parser.parse_args()
    missed = 0
    for name, scenario in SCENARIOS.items():
        if asked.only not in (None, name):
            continue
        for seed in range(1, asked.seeds + 1):
            begin = time.process_time()
            bars = run_virtual(scenario(seed))
            print(f"{name}, seed {seed} ({time.process_time() - begin:.1f} s of CPU)")
            for bar in bars:
                print(f"  {'holds ' if bar.holds else 'MISSED'} {bar}")
                missed += not bar.holds
    print(f"{missed} bars missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
