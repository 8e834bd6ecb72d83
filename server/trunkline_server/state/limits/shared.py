"""Callers' limits in Valkey: exact for all instances that share it; without it, each has its share of them.

A reservation is one script, and the server's clock is everybody's. Settling is sent and not waited for. A call that
runs holds a lease of each limit of calls at once, which is renewed: those of an instance that died end by themselves.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.limits.engine import LOST, EngineFailed, connect
from trunkline_server.state.limits.limits import Admitted, Left, Lost, NeverAdmissible, TooMuch
from trunkline_server.state.limits.local import LocalLimits
from trunkline_server.state.limits.scripts import SERVER_TIME, scripts

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from trunkline_server.logs import Log
    from trunkline_server.state.limits.engine import Engine, Reply
    from trunkline_server.state.limits.limits import Answer, Demand
    from trunkline_server.state.limits.where import Where

# Seconds: for an answer, beyond which it counts as lost; between tries to reach it; of a lease, and between renewals.
PATIENCE = 0.5
PAUSE = 1.0
LEASE = 30.0
RENEWAL = 10.0
_MINUTE = 60_000_000
# Leases in one command; limits of which it is known what was left.
_AT_ONCE = 500
_MOST_SEEN = 20_000


class _Loaded(NamedTuple):
    """A connection, and what the scripts are called there."""

    engine: Engine
    reserve: str
    settle: str
    renew: str


class SharedLimits:
    """For one event loop. `follow` has to run: without it nothing is shared."""

    def __init__(
        self, place: Where, instances: int, clock: Callable[[], float], log: Log, *, server_time: str = SERVER_TIME
    ) -> None:
        """`instances` share it. `server_time`: what tells microseconds there, in Lua."""
        self._place = place
        self._instances = instances
        self._log = log
        self._scripts = scripts(server_time)
        self._at: _Loaded | None = None
        self._tickets = (f"{secrets.token_hex(8)}:{number}" for number in count())
        # By ticket: the limits of calls at once that a call of ours is in.
        self._leases: dict[str, Sequence[Demand]] = {}
        self._local = LocalLimits(clock)
        # What was left of a limit when it was last heard of.
        self._seen: dict[tuple[str, str], int] = {}
        # Set once it was tried to reach it.
        self._tried = asyncio.Event()
        self.lost: Lost | None = None

    async def wait_ready(self) -> None:
        """Wait until it was tried to reach it."""
        await self._tried.wait()

    async def follow(self) -> None:
        """Keep a connection, and the leases of calls that run."""
        while True:
            try:
                engine = await connect(self._place)
                try:
                    await self._serve(engine)
                finally:
                    self._at = None
                    await engine.aclose()
            except EngineFailed as failed:
                self._lose(failed.why)
            self._tried.set()
            await asyncio.sleep(PAUSE)

    async def _serve(self, engine: Engine) -> None:
        """Raises EngineFailed, sooner or later."""
        names = [await engine.send("SCRIPT", "LOAD", script) for script in self._scripts]
        loaded = _Loaded(engine, *(name.decode() for name in names if isinstance(name, bytes)))
        await self._renew(loaded)
        self._at = loaded
        if self.lost is not None:
            self._log.info("limits_shared_again")
        self.lost = None
        self._tried.set()
        while True:
            # Not wait_for: of two things at once it forgets a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL):
                    await engine.lost.wait()
            if engine.lost.is_set():
                raise EngineFailed(LOST)
            await self._renew(loaded)

    async def _renew(self, at: _Loaded) -> None:
        held = [(_key(demand), ticket) for ticket, demands in self._leases.items() for demand in demands]
        for start in range(0, len(held), _AT_ONCE):
            keys, tickets = zip(*held[start : start + _AT_ONCE], strict=True)
            await at.engine.send("EVALSHA", at.renew, len(keys), *keys, _microseconds(LEASE), *tickets)

    def _lose(self, why: str) -> None:
        if self.lost is None:
            self._local.empty()
            self._log.warning("limits_not_shared", why=why, means=f"each limit is a part of {self._instances} here")
        self.lost = Lost(why, time.time() if self.lost is None else self.lost.since)

    async def reserve(self, demands: Sequence[Demand]) -> Answer:
        """Take all of it or nothing; of this instance's share if there is no Valkey."""
        at = self._at
        if at is None:
            return await self._reserve_here(demands)
        ticket = next(self._tickets)
        keys, told = [_key(each) for each in demands], [_told(each, each.units) for each in demands]
        lease = _microseconds(LEASE)
        sent = at.engine.send(
            "EVALSHA", at.reserve, len(keys), *keys, ticket, lease, *(x for each in told for x in each)
        )
        try:
            await asyncio.wait((sent,), timeout=PATIENCE)
        except asyncio.CancelledError:
            sent.add_done_callback(lambda done: self._give_back(at, ticket, demands, done))
            raise
        if not sent.done():
            at.engine.fail("Valkey does not answer")
        try:
            reply = sent.result()
        except EngineFailed as failed:
            at.engine.fail(failed.why)
            self._at = None if self._at is at else self._at
            self._lose(failed.why)
            return await self._reserve_here(demands)
        return self._answered(ticket, demands, reply)

    def _answered(self, ticket: str, demands: Sequence[Demand], reply: Reply) -> Answer:
        numbers = _numbers(reply)
        if numbers[0] < 0:
            return NeverAdmissible(demands[numbers[1] - 1])
        if numbers[0] == 0:
            return self._refused(demands[numbers[1] - 1], numbers[2])
        self._leases[ticket] = leased = [each for each in demands if each.dimension == "concurrency"]
        for each in leased:
            self._local.enter(each)
        left = [
            Left(each, max(0, remaining), reset / 1e6)
            for each, remaining, reset in zip(demands, numbers[1::2], numbers[2::2], strict=True)
        ]
        self._note(left)
        return Admitted(left, lambda tokens: self._settle(ticket, demands, tokens))

    def _refused(self, demand: Demand, wait: int) -> TooMuch:
        """`wait`: microseconds. Below 0 = until a call ends."""
        if wait < 0:
            return TooMuch(demand, None)
        self._note([Left(demand, max(0, demand.units - -(-wait * demand.limit // _MINUTE)))])
        return TooMuch(demand, wait / 1e6)

    def _settle(self, ticket: str, demands: Sequence[Demand], tokens: int | None) -> None:
        for each in self._leases.pop(ticket):
            self._local.leave(each)
        if self._at is not None:
            self._send_back(self._at, ticket, demands, tokens)

    def _send_back(self, at: _Loaded, ticket: str, demands: Sequence[Demand], tokens: int | None) -> None:
        changed = [
            (each, 0 if tokens is None or each.dimension == "concurrency" else each.units - tokens)
            for each in demands
            if each.dimension == "concurrency" or (each.dimension == "tokens" and tokens not in {None, each.units})
        ]
        self._send_settled(at, ticket, changed)

    def _give_back(self, at: _Loaded, ticket: str, demands: Sequence[Demand], done: Future[Reply]) -> None:
        """It was admitted when its caller had gone."""
        if not done.cancelled() and done.exception() is None and _numbers(done.result())[0] == 1:
            self._send_settled(at, ticket, [(each, each.units) for each in demands])

    def _send_settled(self, at: _Loaded, ticket: str, changed: Sequence[tuple[Demand, int]]) -> None:
        if changed:
            keys = [_key(each) for each, _ in changed]
            told = [x for each, back in changed for x in _told(each, back)]
            at.engine.send("EVALSHA", at.settle, len(keys), *keys, ticket, *told)

    # --- without Valkey -----------------------------------------------------------------------------------------------

    async def _reserve_here(self, demands: Sequence[Demand]) -> Answer:
        shares = [self._share(each) for each in demands]
        for each, share in zip(demands, shares, strict=True):
            known = self._seen.pop((each.scope, each.dimension), None)
            if known is not None and each.dimension != "concurrency":
                self._local.lower(share, known // self._instances)
        return await self._local.reserve(shares)

    def _share(self, demand: Demand) -> Demand:
        """At least one; what is more than the share ever has takes all of it, and owes the rest once it is settled."""
        limit = max(1, demand.limit // self._instances)
        return demand._replace(
            limit=limit, units=min(demand.units, limit) if demand.units <= demand.limit else demand.units
        )

    def _note(self, left: Sequence[Left]) -> None:
        if len(self._seen) > _MOST_SEEN:
            self._seen.clear()
        for each in left:
            self._seen[each.demand.scope, each.demand.dimension] = each.remaining


def _key(demand: Demand) -> str:
    """Braces: in a cluster all limits are in one place, as one script needs them."""
    return f"{{trunkline}}:limit:{demand.scope}:{demand.dimension}"


def _told(demand: Demand, units: int) -> tuple[str, int, int]:
    return demand.dimension, demand.limit, units


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _numbers(reply: Reply) -> list[int]:
    return [each for each in reply if isinstance(each, int)] if isinstance(reply, list) else [0, 1, -1]
