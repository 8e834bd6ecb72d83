"""A call under a hard budget is cancelled wherever it waits, one place after the other: nothing stays held."""

from __future__ import annotations

import asyncio
import types
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from budget_books import LIVE, WRONG
from layers.test_budget import a_world, asking, hard, said
from ledgers import most_of, price_of
from make import TARGET, call, delta, part, playing
from msgspec import structs

from trunkline_server.layers.account import account
from trunkline_server.layers.budget import budget
from trunkline_server.state.budgets.accounts import Rules

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from pathlib import Path

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.core import Call, Handler


@types.coroutine
def cancelled(work: Coroutine[Any, Any, None], place: int) -> Generator[Any, Any, bool]:
    """Do the work, and cancel it where it waits for the `place`th time. False: it does not wait so often."""
    step = partial(work.send, None)
    for number in count(1):
        try:
            waits_for = step()
        except StopIteration:
            return number > place
        if number == place:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - it is the work's
            step = partial(work.throw, error)
        else:
            step = partial(work.send, None)
    raise AssertionError


async def pumped(handler: Handler, asked: Call) -> None:
    """What a tape does with a call."""
    events = handler(asked)
    try:
        async for _ in events:
            pass
    finally:
        await events.aclose()


@pytest.mark.parametrize("streaming", [True, False])
async def test_wherever_a_call_is_cancelled_nothing_stays_held(tmp_path: Path, streaming: bool) -> None:
    piece: list[StreamGenerateResponse | float] = [delta("b" * 4000), 0.0]
    long = [part("a"), 0.0, *piece * 3, *said()[1:]]
    async with a_world(tmp_path) as world:
        rules = Rules({"day": hard(period="daily", time_zone="UTC"), "ever": hard()})
        handler = budget(rules, world.ledger, most_of, account(world.ledger, price_of))(playing(long))
        places, ended = 0, False
        while not ended:
            places += 1
            asked = structs.replace(call(asking(5000), streaming=streaming), id=f"c{places}", target=TARGET, attempt=1)
            task = asyncio.ensure_future(cancelled(pumped(handler, asked), places))
            await asyncio.wait([task])
            ended = not task.cancelled() and not task.result()
            await world.settled()
            assert not await world.database.fetch(LIVE), places
            for what, query in WRONG.items():
                assert not await world.database.fetch(query), (places, what)
    # To reserve, to extend, to begin and to end, and for each piece.
    assert places > (8 if streaming else 5)
