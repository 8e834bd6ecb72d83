"""A ledger in memory, for tests of the layers above it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.core import Call
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow


@dataclass
class MemoryLedger:
    """Holds the rows; `commits` waits once for each row, as a store does in strict mode."""

    begun: list[AttemptRow] = field(default_factory=list)
    finished: list[AttemptRow] = field(default_factory=list)
    calls: list[CallRow] = field(default_factory=list)
    refuses: bool = False
    commits: asyncio.Event | None = None

    async def begin(self, row: AttemptRow) -> None:
        if self.refuses:
            raise LedgerUnavailable("the disk is full")
        self.begun.append(row)
        if self.commits is not None:
            await self.commits.wait()

    def finish(self, row: AttemptRow) -> asyncio.Future[None]:
        self.finished.append(row)
        return asyncio.ensure_future(self._committed())

    async def _committed(self) -> None:
        if self.commits is not None:
            await self.commits.wait()

    def end_call(self, row: CallRow) -> None:
        self.calls.append(row)


def price_of(_: Call, usage: call_pb2.Usage, *__: object) -> tuple[call_pb2.Cost, int]:
    """1,000 nano-USD a token in, 2,000 a token out."""
    cost = call_pb2.Cost(input_nano_usd=usage.input_tokens * 1000, output_nano_usd=usage.output_tokens * 2000)
    cost.total_nano_usd = cost.input_nano_usd + cost.output_nano_usd
    cost.price_version = "test"
    return cost, usage.cache_read_input_tokens * 500


def most_of(_: Call, input_tokens: int, *__: object) -> Callable[[int], int]:
    """The same."""
    return lambda output_tokens: input_tokens * 1000 + output_tokens * 2000


def unpriced(*_: object) -> tuple[call_pb2.Cost, int]:
    """Nobody knows the price."""
    return call_pb2.Cost(price_version="test"), 0
