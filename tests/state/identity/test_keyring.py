"""The keyring: what it remembers, for how long, and that a revocation is obeyed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from virtual_time import run_virtual

from trunkline_server.core import Identity
from trunkline_server.errors import KeysUnavailable
from trunkline_server.state.identity import keyring as module
from trunkline_server.state.identity.keyring import REMEMBERED, Keyring
from trunkline_server.state.identity.keys import ApiKey, HeldSecret, digest_of, new_key_id, new_secret, write_key

PEPPER = b"p" * 32


@dataclass
class Keys:
    """Keys in memory, and how often they were looked up."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    reads: int = 0
    fails: bool = False
    slow: asyncio.Event | None = None

    def make(self, **more: object) -> str:
        key_id, secret = new_key_id(), new_secret()
        fields = {"workspace": "w", "role": "caller", "created": 0, **more}
        digest = HeldSecret(digest_of(PEPPER, secret))
        self.keys[key_id] = ApiKey(id=key_id, name="k", secret=digest, **fields)  # type: ignore[arg-type]
        return write_key(key_id, secret)

    async def find(self, key_id: str) -> ApiKey | None:
        self.reads += 1
        if self.fails:
            raise KeysUnavailable("locked")
        found = self.keys.get(key_id)
        if self.slow is not None:
            await self.slow.wait()
        return found

    async def has_any(self) -> bool:
        self.reads += 1
        return bool(self.keys)


def test_a_key_costs_a_read_in_five_seconds() -> None:
    async def main() -> None:
        keys = Keys()
        token, ring = keys.make(), Keyring(keys, PEPPER)
        assert ring.recall(token) is None
        for _ in range(100):
            found = await ring.identify(token)
            assert found == Identity(workspace="w", key=token.split("_")[1], role="caller")
            assert ring.recall(token) == found
        assert keys.reads == 1
        await asyncio.sleep(REMEMBERED)
        assert ring.recall(token) is None
        await ring.identify(token)
        assert keys.reads == 2

    run_virtual(main())


def test_a_revocation_elsewhere_is_obeyed_within_five_seconds_and_one_here_at_once() -> None:
    async def main() -> None:
        keys = Keys()
        token, other = keys.make(), keys.make()
        ring = Keyring(keys, PEPPER)
        await ring.identify(token)
        await ring.identify(other)
        keys.keys.clear()
        assert ring.recall(token), "nobody told this process"
        ring.forget(token.split("_")[1])
        assert ring.recall(token) is None
        assert ring.recall(other)
        assert await ring.identify(token) is None
        await asyncio.sleep(REMEMBERED)
        assert await ring.identify(other) is None

    run_virtual(main())


def test_what_was_read_before_a_revocation_is_not_remembered_after_it() -> None:
    async def main() -> None:
        keys = Keys(slow=asyncio.Event())
        token, ring = keys.make(), Keyring(keys, PEPPER)
        reading = asyncio.create_task(ring.identify(token))
        await asyncio.sleep(0)
        keys.keys.clear()
        ring.forget(token.split("_")[1])
        assert keys.slow is not None
        keys.slow.set()
        assert await reading is not None, "it was right when it was read"
        assert ring.recall(token) is None

    run_virtual(main())


@pytest.mark.parametrize("wrong_secret", [True, False])
def test_what_is_wrong_is_never_remembered(wrong_secret: bool) -> None:
    async def main() -> None:
        keys = Keys()
        token = keys.make()
        wrong = token[:-1] + ("a" if token[-1] != "a" else "b") if wrong_secret else write_key("0" * 12, "x" * 43)
        ring = Keyring(keys, PEPPER)
        for _ in range(3):
            assert await ring.identify(wrong) is None
        assert keys.reads == 3
        assert await ring.identify("nonsense") is None
        assert keys.reads == 3, "what is not written like a key is not looked up"

    run_virtual(main())


def test_an_expiry_is_obeyed_to_the_second_though_the_key_is_remembered() -> None:
    async def main() -> None:
        keys, wall = Keys(), [100.0]
        ring = Keyring(keys, PEPPER, wall=lambda: wall[0])
        token = keys.make(expires=101_000_000)
        assert await ring.identify(token)
        wall[0] = 101.0
        assert ring.recall(token) is None
        assert await ring.identify(token) is None

    run_virtual(main())


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)

    async def main() -> None:
        keys = Keys()
        ring = Keyring(keys, PEPPER)
        tokens = [keys.make() for _ in range(25)]
        for token in tokens:
            await ring.identify(token)
        assert [bool(ring.recall(token)) for token in tokens] == [False] * 15 + [True] * 10

    run_virtual(main())


def test_a_database_that_fails_is_told_and_lets_nobody_in() -> None:
    async def main() -> None:
        keys = Keys()
        token, ring = keys.make(), Keyring(keys, PEPPER)
        await ring.identify(token)
        keys.fails = True
        assert await ring.identify(token), "remembered"
        await asyncio.sleep(REMEMBERED)
        with pytest.raises(KeysUnavailable):
            await ring.identify(token)
        assert ring.last_known(token), "for what is told even then"
        assert ring.last_known(keys.make()) is None
        assert ring.last_known(None) is None, "nobody asked whether there are keys"

    run_virtual(main())


def test_once_there_was_a_key_there_always_was_one() -> None:
    async def main() -> None:
        keys = Keys()
        ring = Keyring(keys, PEPPER)
        assert not await ring.has_any()
        keys.make()
        assert not await ring.has_any(), "as it was within the last seconds"
        await asyncio.sleep(REMEMBERED)
        assert await ring.has_any()
        keys.keys.clear()
        await asyncio.sleep(REMEMBERED)
        reads = keys.reads
        assert await ring.has_any()
        assert keys.reads == reads

    run_virtual(main())
