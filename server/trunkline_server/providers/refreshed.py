"""Secrets that are fetched: anew before they expire, once for however many ask; the old one while it is good."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from trunkline_server.core import now
from trunkline_server.errors import CredentialMissing, UpstreamError
from trunkline_server.providers.credential import Held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Seconds that one fetch may take, however many requests it makes.
FETCH_TIME: Final = 15.0
# Seconds from a failure to the next try: twice as long each time, up to the longest.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
# Seconds. Nothing is fetched anew more rarely, however long it says that it is good.
LONGEST_LEASE: Final = 86_400.0
# Seconds. One that is younger is not fetched anew because the provider refuses it: the fault lies elsewhere.
YOUNG: Final = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lease(Generic[T]):
    """A secret, and how long it is good."""

    value: T
    # Seconds from now.
    lifetime: float
    renew_after: float


def lease(value: T, lifetime: float) -> Lease[T]:
    """A token's lease: renewed when three quarters of its life are over. Raises CredentialMissing if it has none."""
    if lifetime <= 0:
        raise CredentialMissing("what came has expired already")
    return Lease(value, lifetime, lifetime * 0.75)


class Refreshed(Generic[T]):
    """A source of what `fetch` gives. For one event loop; times are those of `now()`.

    A failure is told, and tried again after a pause. The old secret is given until it expires; after that `get` raises.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Lease[T]]],
        hint: Callable[[T | None], str],
        tell: Callable[[str], None],
        *,
        is_key: bool = False,
    ) -> None:
        """`hint`: how a secret is shown; of None, before there is one. `tell` hears of failures and of their end.

        `is_key`: another secret is another key, and not only the next token of the same identity.
        """
        self._fetch = fetch
        self._hint = hint
        self._tell = tell
        self._is_key = is_key
        self._lease: Lease[T] | None = None
        # When it expires, when the next fetch is due, and when the last one was begun.
        self._end = self._due = self._begun = float("-inf")
        self._failures = 0
        self._why = "it has not been fetched yet"
        self._version = 0
        self._refused = False
        self._fetching: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Fetch now, and before it expires, until `aclose`. Waits for nothing."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def aclose(self) -> None:
        """Fetch no more."""
        tasks = [task for task in (self._keeping, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def look(self) -> Held:
        """How it is now."""
        value = self._lease.value if self._lease is not None and now() < self._end else None
        failing = self._why if self._failures or value is None else ""
        hint = self._hint(value)
        if value is None:
            return Held(hint, self._version, missing=failing)
        return Held(hint, self._version, note=f"it cannot be had anew: {failing}" if failing else "")

    def refused(self) -> None:
        """Fetch it anew, unless it is young."""
        if self._lease is not None and now() - self._begun >= YOUNG:
            self._refused = True
            self._due = now()
            self._wake.set()

    async def get(self) -> T:
        """The secret. Waits for the fetch that is under way if there is none that is good. Raises CredentialMissing."""
        if self._lease is None or now() >= self._end:
            if not self._failures or now() >= self._due:
                await asyncio.shield(self._fetched())
            if self._lease is None or now() >= self._end:
                raise CredentialMissing(self._why)
        return self._lease.value

    async def _keep(self) -> None:
        while True:
            await asyncio.shield(self._fetched())
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._due - now())):
                    await self._wake.wait()

    def _fetched(self) -> asyncio.Task[None]:
        """The fetch that is under way; it never fails."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._try())
        return self._fetching

    async def _try(self) -> None:
        self._begun = now()
        try:
            async with asyncio.timeout(FETCH_TIME):
                lease = await self._fetch()
        except CredentialMissing as error:
            self._fail(error.why)
        except UpstreamError as error:
            self._fail(error.message)
        except TimeoutError:
            self._fail(f"no answer within {FETCH_TIME:.0f} s")
        except Exception as error:  # noqa: BLE001 - what others wrote may fail in any way, and its text may hold anything
            self._fail(f"fetching it failed with {type(error).__name__}")
        else:
            self._take(lease)

    def _fail(self, why: str) -> None:
        if why != self._why or not self._failures:
            self._tell(f"it cannot be had: {why}")
        self._why = why
        self._due = now() + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)

    def _take(self, lease: Lease[T]) -> None:
        if self._failures:
            self._tell("it can be had again")
        changed = self._lease is not None and lease.value != self._lease.value
        if changed and (self._is_key or self._refused):
            self._version += 1
        self._lease, self._failures, self._refused, self._why = lease, 0, False, "it has expired"
        # An answer may take long; what counts is when it was asked for.
        self._end = self._begun + lease.lifetime
        self._due = self._begun + min(max(lease.renew_after, FIRST_PAUSE), LONGEST_LEASE)
