"""What is fetched anew before it expires, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from trunkline_server.core import now
from trunkline_server.errors import CredentialMissing
from trunkline_server.providers.refreshed import (
    FETCH_TIME,
    LONGEST_LEASE,
    LONGEST_PAUSE,
    YOUNG,
    Lease,
    Refreshed,
    lease,
)

HOUR = 3600.0


@dataclass
class Store:
    """Gives tokens that are numbered, or fails, or takes long."""

    lifetime: float = HOUR
    takes: float = 1.0
    error: Exception | None = None
    begun: list[float] = field(default_factory=list)
    running: int = 0
    # When each token expires, by its number.
    ends: list[float] = field(default_factory=list)

    async def fetch(self) -> Lease[int]:
        assert not self.running, "one at a time"
        self.begun.append(now())
        self.running += 1
        begin = now()
        try:
            await asyncio.sleep(self.takes)
            if self.error is not None:
                raise self.error
        finally:
            self.running -= 1
        self.ends.append(begin + self.lifetime)
        return lease(len(self.ends) - 1, self.lifetime)


def refreshed(store: Store, told: list[str] | None = None, *, is_key: bool = False) -> Refreshed[int]:
    tell = (told if told is not None else []).append
    return Refreshed(store.fetch, lambda value: f"token {value}", tell, is_key=is_key)


def test_it_is_fetched_at_once_and_again_before_it_expires_though_nobody_asks() -> None:
    async def main() -> None:
        store = Store()
        source = refreshed(store)
        source.start()
        assert source.look().missing == "it has not been fetched yet"
        await asyncio.sleep(2)
        assert source.look().missing == ""
        assert await source.get() == 0
        await asyncio.sleep(HOUR - 10)
        assert await source.get() == 1
        assert store.begun == pytest.approx([1000.0, 1000.0 + 0.75 * HOUR])
        await source.aclose()

    run_virtual(main())


@pytest.mark.parametrize("started", [True, False])
def test_a_hundred_who_ask_at_once_cause_one_fetch(started: bool) -> None:
    async def main() -> None:
        store = Store()
        source = refreshed(store)
        if started:
            source.start()
        assert await asyncio.gather(*(source.get() for _ in range(100))) == [0] * 100
        assert len(store.begun) == 1
        await source.aclose()

    run_virtual(main())


def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    async def main() -> None:
        source = refreshed(Store())
        first, second = (asyncio.ensure_future(source.get()) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second == 0

    run_virtual(main())


def test_a_failing_refresh_keeps_the_old_one_until_it_expires_and_then_says_why() -> None:
    async def main() -> None:
        store, told = Store(), list[str]()
        source = refreshed(store, told)
        source.start()
        assert await source.get() == 0
        store.error = CredentialMissing("the store answered 503")
        await asyncio.sleep(HOUR - 60)
        assert await source.get() == 0
        held = source.look()
        assert (held.missing, held.note) == ("", "it cannot be had anew: the store answered 503")
        await asyncio.sleep(60)
        with pytest.raises(CredentialMissing, match="AUTH") as raised:
            await source.get()
        assert raised.value.why == "the store answered 503"
        assert source.look().missing == "the store answered 503"
        begun = len(store.begun)
        for _ in range(100):
            with pytest.raises(CredentialMissing):
                await source.get()
        assert len(store.begun) == begun, "who asks between two tries causes none"
        store.error = None
        await asyncio.sleep(LONGEST_PAUSE + 1)
        assert await source.get() == 1
        assert (source.look().missing, source.look().note) == ("", "")
        assert told == ["it cannot be had: the store answered 503", "it can be had again"]
        await source.aclose()

    run_virtual(main())


def test_tries_after_failures_come_further_and_further_apart() -> None:
    async def main() -> None:
        store = Store(takes=0.0, error=CredentialMissing("no"))
        source = refreshed(store)
        source.start()
        await asyncio.sleep(300)
        spans = [later - earlier for earlier, later in zip(store.begun, store.begun[1:], strict=False)]
        assert spans[:7] == pytest.approx([1, 2, 4, 8, 16, 32, 60])
        assert set(spans[7:]) == {LONGEST_PAUSE}
        await source.aclose()

    run_virtual(main())


def test_one_that_never_answers_is_given_up() -> None:
    async def main() -> None:
        source = refreshed(Store(takes=1e6))
        begin = now()
        with pytest.raises(CredentialMissing) as raised:
            await source.get()
        assert now() - begin == pytest.approx(FETCH_TIME)
        assert raised.value.why == "no answer within 15 s"

    run_virtual(main())


def test_the_text_of_a_strange_failure_is_not_shown() -> None:
    async def main() -> None:
        told: list[str] = []
        source = refreshed(Store(error=KeyError("sk-canary")), told)
        with pytest.raises(CredentialMissing) as raised:
            await source.get()
        assert raised.value.why == "fetching it failed with KeyError"
        assert "canary" not in f"{told}{source.look()}{raised.value!r}"

    run_virtual(main())


def test_one_that_has_expired_already_is_none() -> None:
    async def main() -> None:
        source = refreshed(Store(lifetime=-1))
        with pytest.raises(CredentialMissing, match="AUTH"):
            await source.get()
        assert source.look().missing == "what came has expired already"

    run_virtual(main())


@pytest.mark.parametrize(("lifetime", "fetches"), [(1e-6, 61), (1e300, 1)])
def test_what_a_token_says_of_its_life_makes_no_hurry_and_no_eternity(lifetime: float, fetches: int) -> None:
    async def main() -> None:
        store = Store(lifetime=lifetime, takes=0.0)
        source = refreshed(store)
        source.start()
        await asyncio.sleep(60.5)
        assert len(store.begun) == fetches
        await asyncio.sleep(LONGEST_LEASE)
        assert len(store.begun) > fetches
        await source.aclose()

    run_virtual(main())


def test_one_that_the_provider_refuses_is_fetched_anew_unless_it_is_young() -> None:
    async def main() -> None:
        store = Store()
        source = refreshed(store)
        source.start()
        await source.get()
        source.refused()
        await asyncio.sleep(YOUNG)
        assert len(store.begun) == 1
        before = source.look().version
        for _ in range(100):
            source.refused()
        await asyncio.sleep(2)
        assert len(store.begun) == 2
        assert source.look().version == before + 1, "nothing is known of the new one"
        await source.aclose()

    run_virtual(main())


@pytest.mark.parametrize("is_key", [True, False])
def test_the_next_token_is_the_same_credential_and_another_key_is_another(is_key: bool) -> None:
    async def main() -> None:
        source = refreshed(Store(), is_key=is_key)
        source.start()
        await source.get()
        before = source.look()
        assert before.hint == "token 0"
        await asyncio.sleep(HOUR)
        assert source.look().version == before.version + is_key
        await source.aclose()

    run_virtual(main())


STEPS = st.lists(
    st.tuples(st.floats(0, 2 * HOUR), st.sampled_from(["works", "fails", "hangs"]), st.integers(1, 5), st.booleans()),
    max_size=12,
)


@given(st.floats(1, 2 * HOUR), STEPS, st.booleans())
def test_whatever_happens_what_is_given_is_good_and_what_is_good_is_given(
    lifetime: float, steps: list[tuple[float, str, int, bool]], started: bool
) -> None:
    async def main() -> None:
        store = Store(lifetime=lifetime, takes=0.5)
        source = refreshed(store)
        if started:
            source.start()
        for pause, mood, callers, refuse in steps:
            store.error = CredentialMissing("no") if mood == "fails" else None
            store.takes = 1e6 if mood == "hangs" else 0.5
            await asyncio.sleep(pause)
            if refuse:
                source.refused()
            good = bool(store.ends) and store.ends[-1] > now() + 1e-6
            results = await asyncio.gather(*(source.get() for _ in range(callers)), return_exceptions=True)
            for result in results:
                assert isinstance(result, int | CredentialMissing)
                assert not isinstance(result, int) or store.ends[result] > now() - 1e-6
                assert not good or isinstance(result, int)
        await source.aclose()

    run_virtual(main())
