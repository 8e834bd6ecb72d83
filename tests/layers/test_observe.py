"""Observe: what is written down of a call, whoever else wants to know of it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import make
import msgspec
import pytest

from trunkline_server.layers.observe import observe
from trunkline_server.logs import build_log

if TYPE_CHECKING:
    from trunkline_server.state.ledger.rows import CallRow
    from trunkline_server.state.statistics import Finished


async def test_what_cannot_be_learned_from_costs_neither_row_nor_line() -> None:
    def learn(_: Finished, __: float) -> None:
        raise ZeroDivisionError

    log = io.BytesIO()
    rows: list[CallRow] = []
    events = observe(build_log(log), learn, rows.append)(make.playing(make.answer("hello")))(make.call())
    with pytest.raises(ZeroDivisionError):
        async for _ in events:
            pass
    assert [row.result for row in rows] == ["success"]
    assert [msgspec.json.decode(line)["result"] for line in log.getvalue().splitlines()] == ["success"]
