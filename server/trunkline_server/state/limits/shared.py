"""Callers' limits in Valkey: exact for all instances that share it; without it, each has its share of them.

A reservation is one script, and the server's clock is everybody's. Settling is sent and not waited for. A call that
runs holds a lease of each limit of calls at once, which is renewed: those of an instance that died end by themselves.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from functools import lru_cache, partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.limits.engine import LOST, EngineFailed, connect
from trunkline_server.state.limits.limits import Admitted, Left, Limit, Lost, NeverAdmissible, Terms, TooMuch
from trunkline_server.state.limits.local import LocalLimits
from trunkline_server.state.limits.scripts import SERVER_TIME, scripts

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterable, Sequence

    from trunkline_server.logs import Log
    from trunkline_server.state.limits.counters import Counters
    from trunkline_server.state.limits.engine import Engine, Reply
    from trunkline_server.state.limits.limits import Answer
    from trunkline_server.state.limits.where import Where

# Seconds: for an answer, beyond which it counts as lost; between tries to reach it; of a lease, and between renewals.
PATIENCE = 0.5
PAUSE = 1.0
LEASE = 30.0
RENEWAL = 10.0
# Leases in one command; limits of which it is known what was left; callers whose shares are kept from call to call.
_AT_ONCE = 500
_MOST_SEEN = 20_000
_MOST_SHARES = 1024


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
        self._leases: dict[str, Sequence[Limit]] = {}
        self._local = LocalLimits(clock)
        self._shares = lru_cache(_MOST_SHARES)(self._shares_of)
        # What was left of a limit when it was last heard of.
        self._seen: dict[str, int] = {}
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
        held = [(_key(limit), ticket) for ticket, limits in self._leases.items() for limit in limits]
        for start in range(0, len(held), _AT_ONCE):
            keys, tickets = zip(*held[start : start + _AT_ONCE], strict=True)
            await at.engine.send("EVALSHA", at.renew, len(keys), *keys, _microseconds(LEASE), *tickets)

    def _lose(self, why: str) -> None:
        if self.lost is None:
            self._local.empty()
            self._log.warning("limits_not_shared", why=why, means=f"each limit is a part of {self._instances} here")
        self.lost = Lost(why, time.time() if self.lost is None else self.lost.since)

    async def reserve(self, terms: Terms, units: Sequence[int]) -> Answer:
        """Take all of it or nothing; of this instance's share if there is no Valkey."""
        at = self._at
        if at is None:
            return await self._reserve_here(terms, units)
        ticket = next(self._tickets)
        keys, told = _told(zip(terms.all, [*units, *[1] * len(terms.at_once)], strict=True))
        sent = at.engine.send("EVALSHA", at.reserve, len(keys), *keys, ticket, _microseconds(LEASE), *told)
        try:
            await asyncio.wait((sent,), timeout=PATIENCE)
        except asyncio.CancelledError:
            sent.add_done_callback(lambda done: self._give_back(at, ticket, terms, units, done))
            raise
        if not sent.done():
            at.engine.fail("Valkey does not answer")
        try:
            reply = sent.result()
        except EngineFailed as failed:
            at.engine.fail(failed.why)
            self._at = None if self._at is at else self._at
            self._lose(failed.why)
            return await self._reserve_here(terms, units)
        return self._answered(ticket, terms, units, _numbers(reply))

    def _answered(self, ticket: str, terms: Terms, units: Sequence[int], numbers: Sequence[int]) -> Answer:
        if numbers[0] != 1:
            return self._refused(terms, units, *numbers)
        self._leases[ticket] = terms.at_once
        # Of the share: what counts calls at once is the same, and buckets here are never of all of a limit.
        counters = self._local.counters(self._shares(terms))
        counters.enter()
        remaining, resets = numbers[1::2], numbers[2::2]
        for each, known in zip(terms.a_minute, remaining, strict=False):
            self._note(each, known)
        nearest = [min(alike, key=remaining.__getitem__) for alike in terms.alike]
        left = [Left(terms.all[at], remaining[at], resets[at] / 1e6) for at in nearest]
        return Admitted(left, partial(self._settle, ticket, terms, units, counters))

    def _refused(self, terms: Terms, units: Sequence[int], kind: int, which: int, *told: int) -> Answer:
        """See scripts.py. Without a word of what is left a call has to end first."""
        limit = terms.all[which - 1]
        if kind < 0:
            return NeverAdmissible(limit, units[which - 1])
        wait, remaining, reset = told
        if wait < 0:
            return TooMuch(Left(limit, 0), None)
        self._note(limit, remaining)
        return TooMuch(Left(limit, max(0, remaining), reset / 1e6), wait / 1e6)

    def _settle(self, ticket: str, terms: Terms, units: Sequence[int], counters: Counters, tokens: int | None) -> None:
        del self._leases[ticket]
        counters.leave()
        if self._at is not None:
            back = [
                (each, reserved - tokens)
                for each, reserved in zip(terms.a_minute, units, strict=True)
                if each.dimension == "tokens" and tokens is not None and tokens != reserved
            ]
            self._send_settled(self._at, ticket, terms, back)

    def _give_back(self, at: _Loaded, ticket: str, terms: Terms, units: Sequence[int], done: Future[Reply]) -> None:
        """It was admitted when its caller had gone."""
        if not done.cancelled() and done.exception() is None and _numbers(done.result())[0] == 1:
            self._send_settled(at, ticket, terms, zip(terms.a_minute, units, strict=True))

    def _send_settled(self, at: _Loaded, ticket: str, terms: Terms, back: Iterable[tuple[Limit, int]]) -> None:
        keys, told = _told([*back, *((each, 0) for each in terms.at_once)])
        if keys:
            at.engine.send("EVALSHA", at.settle, len(keys), *keys, ticket, *told)

    # --- without Valkey -----------------------------------------------------------------------------------------------

    async def _reserve_here(self, terms: Terms, units: Sequence[int]) -> Answer:
        shares = self._shares(terms)
        for share in shares.a_minute:
            known = self._seen.pop(share.place, None)
            if known is not None:
                self._local.lower(share, known // self._instances)
        return await self._local.reserve(
            shares, [_within(*each) for each in zip(units, terms.a_minute, shares.a_minute, strict=True)]
        )

    def _shares_of(self, terms: Terms) -> Terms:
        """Of each at least one."""
        return Terms([Limit(each.scope, each.dimension, max(1, each.most // self._instances)) for each in terms.all])

    def _note(self, limit: Limit, remaining: int) -> None:
        if len(self._seen) > _MOST_SEEN:
            self._seen.clear()
        self._seen[limit.place] = max(0, remaining)


def _within(units: int, whole: Limit, share: Limit) -> int:
    """What is more than the share ever has takes all of it, and owes the rest once it is settled."""
    return units if units > whole.most else min(units, share.most)


def _key(limit: Limit) -> str:
    """Braces: in a cluster all limits are in one place, as one script needs them."""
    return f"{{trunkline}}:limit:{limit.place}"


def _told(of: Iterable[tuple[Limit, int]]) -> tuple[list[str], list[str | int]]:
    """The keys and the arguments of limits, each with its units."""
    keys: list[str] = []
    told: list[str | int] = []
    for limit, units in of:
        keys.append(_key(limit))
        told += (limit.dimension, limit.most, units)
    return keys, told


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _numbers(reply: Reply) -> list[int]:
    return [each for each in reply if isinstance(each, int)] if isinstance(reply, list) else [0, 1, -1, 0, 0]
