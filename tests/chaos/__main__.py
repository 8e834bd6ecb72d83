"""`make chaos`: providers in trouble under load, then a thousand callers who all go away; and what must hold."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from chaos import cancels, invariants
from chaos.invariants import p99, shared_fate
from chaos.run import run

if TYPE_CHECKING:
    from chaos.records import Held, Run

# Of all that is wrong.
SHOWN = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="how long trouble is brought")
    parser.add_argument("--streams", type=int, default=1000, help="how many callers go away at once")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    wrong = [*_trouble(given.seed, given.seconds), *_cancels(given.seed, given.streams)]
    for each in wrong[:SHOWN]:
        print(f"FAILED {each}")
    print(f"{len(wrong)} problems, seed {given.seed}")
    sys.exit(bool(wrong))


def _trouble(seed: int, seconds: float) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        record = asyncio.run(run(Path(folder), seed, seconds))
    print(figures(record), flush=True)
    wrong = invariants.problems(record)
    if wrong:
        print(timeline(record))
    return wrong


def _cancels(seed: int, streams: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        record = asyncio.run(cancels.cancel_all(Path(folder), streams, seed))
    print(f"{len(record.left)} streams were cancelled; closed at the provider {times(record)}", flush=True)
    print(longest(record.after), flush=True)
    return cancels.problems(record)


def times(record: cancels.Cancelled) -> str:
    """How long it took to close connections, by the clock on the wall and without what the machine took."""
    wall = sorted(record.gone[number] - left for number, left in record.left.items() if number in record.gone)
    if not wall:
        return "never"
    middle, last, own = (1000 * each for each in (wall[len(wall) // 2], wall[-1], max(record.took().values())))
    return f"after {middle:.1f} ms, the last after {last:.1f} ms, {own:.1f} ms without waits for a processor"


def figures(record: Run) -> str:
    """What happened, in numbers."""
    outcomes = Counter(call.reason or "/".join(call.outcomes) for call in record.calls)
    calm, out = shared_fate(record)
    sizes = [size >> 20 for _, size in record.memory]
    asked = sum(seen.what == "asked" for seen in record.seen)
    lines = [
        f"{len(record.calls)} calls: {', '.join(f'{count} {name}' for name, count in outcomes.most_common())}",
        f"{asked} requests reached providers, {len(record.attempts)} attempts in the {_mode(record)} ledger",
        f"troubles: {dict(Counter(each.what for each in record.troubles))}",
        f"memory: {sizes[0]} MiB at the start, {max(sizes)} at most, {sizes[-1]} at the end",
    ]
    lines.append(longest(record.after))
    if calm and out:
        lines.append(f"healthy provider, slowest hundredth: {p99(calm):.3f} s, while another is out {p99(out):.3f} s")
    return "\n".join(lines)


def longest(held: Held | None) -> str:
    """How long other calls had to wait for the gateway's event loop."""
    if held is None or not held.collections:
        return "the event loop was not looked at"
    turns = " ".join(f"{min(took, busy) * 1000:.0f}" for took, busy, *_ in held.turns[:5])
    collections = " ".join(f"{each * 1000:.0f}" for each in held.collections)
    return f"longest turns of the event loop: {turns or '<10'} ms; garbage collections by generation: {collections} ms"


def _mode(record: Run) -> str:
    return "strict" if record.strict else "relaxed"


def timeline(record: Run) -> str:
    """What was done to whom, in seconds from the first call."""
    start = record.calls[0].began
    lines = [
        f"{each.since - start:8.3f} to {each.until - start:8.3f}  {each.provider:8} {each.what}"
        for each in record.troubles
    ]
    return "\n".join(sorted(lines))


if __name__ == "__main__":
    main()
