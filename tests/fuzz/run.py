"""One dialect, for so long."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fuzz.checks import CHECKS, dialect_named
from fuzz.mutations import damaged

if TYPE_CHECKING:
    from fuzz.seeds import Seeds

    from trunkline_server.dialects.dialect import Dialect

# Seconds of the processor that no answer of this size may take.
_TOO_LONG = 2.0
_LARGEST = 200_000


@dataclass(frozen=True, slots=True)
class Failure:
    """What came out that must not, and the bytes that did it."""

    dialect: str
    kind: str
    why: str
    data: bytes
    # Of the random numbers by which it was cut, and what else was sent with it chosen.
    seed: int

    def save(self, folder: Path) -> Path:
        path = folder / self.dialect / f"{self.kind}-{self.seed}-{sha256(self.data).hexdigest()[:12]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return path


def again(path: Path) -> str:
    """The outcome of what was saved. Raises what it failed with."""
    kind, seed, _ = path.name.split("-")
    return CHECKS[kind](dialect_named(path.parent.name), path.read_bytes(), Random(int(seed)))


@dataclass(slots=True)
class Run:
    """A dialect, what it is fuzzed with, and what came of it."""

    name: str
    dialect: Dialect
    seeds: Seeds
    seed: int
    executions: int = 0
    outcomes: set[str] = field(default_factory=set)
    # By where they come from: the first of each.
    failures: dict[str, Failure] = field(default_factory=dict)

    def go(self, seconds: float = float("inf"), executions: int = sys.maxsize) -> None:
        """Until the time is over, or so many executions are done."""
        rng, end = Random(self.seed), time.monotonic() + seconds
        pools = {kind: [*getattr(self.seeds, kind)] for kind in CHECKS}
        kinds = [kind for kind, pool in pools.items() for _ in range(3 if kind == "streams" else 1) if pool]
        while time.monotonic() < end and self.executions < executions:
            kind = rng.choice(kinds)
            data = damaged(rng.choice(pools[kind]), pools[kind], rng)[:_LARGEST]
            if self._is_new(kind, data, rng.getrandbits(32)):
                pools[kind].append(data)

    def _is_new(self, kind: str, data: bytes, seed: int) -> bool:
        """Whether it leads to what was not seen before."""
        self.executions += 1
        begin = time.process_time()
        try:
            outcome = f"{kind}: {CHECKS[kind](self.dialect, data, Random(seed))}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            self._failed(
                kind, data, seed, f"{type(error).__name__}: {error}", traceback.extract_tb(error.__traceback__)[-1]
            )
            return False
        if time.process_time() - begin > _TOO_LONG:
            self._failed(kind, data, seed, "it takes too long", None)
        is_new = outcome not in self.outcomes
        self.outcomes.add(outcome)
        return is_new

    def _failed(self, kind: str, data: bytes, seed: int, why: str, place: traceback.FrameSummary | None) -> None:
        where = f"{kind}: {place.filename.rpartition('/')[2]}:{place.lineno}" if place else kind
        told = f"{where}: {why[:200]}"
        self.failures.setdefault(f"{where} {why[:20]}", Failure(self.name, kind, told, data, seed))
