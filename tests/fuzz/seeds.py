"""What fuzzing begins with: the answers of the golden cases, and recorded ones where they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.exchanges import DIALECTS, exchanges
from event_streams import stream as framed

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = tuple(sorted(set(DIALECTS.values())))
# Longer ones make for few executions, and hold little that the others do not.
_LONGEST = 40_000


@dataclass(slots=True)
class Seeds:
    """Of one dialect: streams, whole answers and errors, each as its bytes."""

    streams: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=lambda: [b"{}", b'{"error":{"message":"m","code":"c"}}'])


def seeds_of(dialect: str, corpus: Path | None) -> Seeds:
    """Those of the dialect. `corpus` is a folder of recorded exchanges."""
    seeds = Seeds()
    for case in sorted((GOLDEN / dialect).iterdir()):
        seeds.streams.extend(_streams(case))
        seeds.answers.extend(path.read_bytes() for path in case.glob("response.json"))
    for exchange in exchanges(corpus) if corpus else ():
        if exchange.dialect == dialect and len(body := exchange.answer()) <= _LONGEST:
            kind = "errors" if exchange.failed else "streams" if exchange.kind == "stream" else "answers"
            getattr(seeds, kind).append(body)
    return seeds


def _streams(case: Path) -> Iterator[bytes]:
    for path in case.glob("stream.*"):
        if path.suffix == ".jsonl":
            yield framed(map(json.loads, path.read_text().splitlines()))
        else:
            yield path.read_bytes()
