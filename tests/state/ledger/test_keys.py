"""Keys and audit events on both databases."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from databases import Failing
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from trunkline.v1 import identity_pb2 as pb
from trunkline_server.errors import InvalidRequest, KeysUnavailable
from trunkline_server.state.audit import Actor, event_of, insertion, list_events
from trunkline_server.state.identity import store as module
from trunkline_server.state.identity.issuing import Issuer
from trunkline_server.state.identity.keyring import Keyring
from trunkline_server.state.identity.store import KeyStore
from trunkline_server.state.ledger.database import Statement, StoreFailed, script

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database

PEPPER = b"p" * 32
ADMIN = Actor(key="admin0000000", workspace="ops", peer="ipv4:10.0.0.1:5")
E = pb.AuditEvent


class World:
    """Keys on a database, and a clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 1_000_000.0
        self.store = KeyStore(database)
        self.issuer = Issuer(self.store, PEPPER, wall=lambda: self.now)

    async def who(self, token: str) -> str | None:
        """The workspace of a token, looked up anew."""
        found = await Keyring(self.store, PEPPER, wall=lambda: self.now).identify(token)
        return found.workspace if found else None

    async def events(self, **filters: object) -> list[pb.AuditEvent]:
        return await list_events(self.database, pb.ListAuditEventsRequest(**filters), "", 1000)  # type: ignore[arg-type]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_a_key_lives_and_dies(world: World) -> None:
    assert not await world.store.has_any()
    request = pb.CreateApiKeyRequest(
        name="ci", workspace="w", allowed_models=["a/*"], allowed_providers=["a"], allowed_strategies=["s"]
    )
    made = await world.issuer.create(request, ADMIN)
    key_id = made.api_key.id
    assert made.secret_key.startswith(f"tl_{key_id}_")
    assert await world.who(made.secret_key) == "w"
    found = await world.store.find(key_id)
    assert found is not None
    assert (found.models, found.providers, found.strategies, found.role) == (("a/*",), ("a",), ("s",), "caller")
    assert found.identity().strategies == ("s",)
    assert list(made.api_key.allowed_strategies) == ["s"]

    rotated = await world.issuer.rotate(pb.RotateApiKeyRequest(id=key_id, overlap=Duration(seconds=60)), ADMIN)
    assert [await world.who(key) for key in (made.secret_key, rotated.secret_key)] == ["w", "w"]
    world.now += 60
    assert [await world.who(key) for key in (made.secret_key, rotated.secret_key)] == [None, "w"]

    again = await world.issuer.rotate(pb.RotateApiKeyRequest(id=key_id, overlap=Duration()), ADMIN)
    assert [await world.who(key) for key in (rotated.secret_key, again.secret_key)] == [None, "w"]
    for _ in range(2):
        revoked = await world.issuer.revoke(pb.RevokeApiKeyRequest(id=key_id), ADMIN)
        assert revoked.api_key.HasField("revoke_time")
    assert await world.who(again.secret_key) is None
    with pytest.raises(InvalidRequest):
        await world.issuer.rotate(pb.RotateApiKeyRequest(id=key_id), ADMIN)
    assert await world.store.has_any(), "a revoked key was made all the same"

    events = await world.events()
    assert [event.kind for event in events] == [
        E.KIND_KEY_REVOKED,
        E.KIND_KEY_ROTATED,
        E.KIND_KEY_ROTATED,
        E.KIND_KEY_CREATED,
    ]
    assert {(e.api_key_id, e.workspace, e.peer, e.subject, e.outcome) for e in events} == {
        ("admin0000000", "ops", "ipv4:10.0.0.1:5", key_id, E.OUTCOME_DONE)
    }


async def test_only_two_secrets_are_taken(world: World) -> None:
    made = await world.issuer.create(pb.CreateApiKeyRequest(name="k"), ADMIN)
    secrets = [made.secret_key]
    for _ in range(2):
        rotated = await world.issuer.rotate(pb.RotateApiKeyRequest(id=made.api_key.id), ADMIN)
        secrets.append(rotated.secret_key)
    assert [await world.who(secret) for secret in secrets] == [None, "default", "default"]


async def test_nothing_that_is_kept_tells_a_secret(world: World) -> None:
    made = await world.issuer.create(pb.CreateApiKeyRequest(name="k"), ADMIN)
    secret = made.secret_key.split("_")[2]
    for table in ("api_keys", "audit_events"):
        rows = await world.database.fetch(f"SELECT * FROM {table}")
        assert rows
        assert secret not in repr(rows)


async def test_another_pepper_makes_every_key_invalid(world: World) -> None:
    made = await world.issuer.create(pb.CreateApiKeyRequest(name="k"), ADMIN)
    assert await Keyring(world.store, b"another" * 8).identify(made.secret_key) is None


NASTY = ["' OR 1=1 --", "x'; DROP TABLE api_keys; --", "\\", "%", "$1", "?", '"', "a\x00b"]


@pytest.mark.parametrize("nasty", NASTY)
async def test_no_text_is_sql(world: World, nasty: str) -> None:
    made = await world.issuer.create(pb.CreateApiKeyRequest(name="k"), ADMIN)
    if "\x00" not in nasty:
        assert await world.store.find(nasty) is None
        with pytest.raises(InvalidRequest):
            await world.issuer.page(pb.ListApiKeysRequest(workspace=nasty))
        assert await world.store.page(nasty, inactive=True, now=0, after="", limit=9) == []
        assert await world.events(workspace=nasty, api_key_id=nasty) == []
        named = await world.issuer.create(pb.CreateApiKeyRequest(name=nasty, allowed_models=[nasty]), ADMIN)
        assert (named.api_key.name, list(named.api_key.allowed_models)) == (nasty, [nasty])
    for request in (pb.RotateApiKeyRequest(id=nasty), pb.RevokeApiKeyRequest(id=nasty)):
        with pytest.raises(InvalidRequest):
            if isinstance(request, pb.RotateApiKeyRequest):
                await world.issuer.rotate(request, ADMIN)
            else:
                await world.issuer.revoke(request, ADMIN)
    assert await world.who(made.secret_key) == "default"


async def test_keys_are_listed_by_pages_without_repeating_or_skipping_one(world: World) -> None:
    ids = set()
    for number in range(7):
        workspace = "a" if number % 2 else "b"
        expires = Timestamp(seconds=int(world.now) + 10) if number == 6 else None
        request = pb.CreateApiKeyRequest(name="k", workspace=workspace, expire_time=expires)
        ids.add((await world.issuer.create(request, ADMIN)).api_key.id)
    pages = pb.ListApiKeysRequest(page_size=3)
    found: list[str] = []
    while True:
        page = await world.issuer.page(pages)
        found += [key.id for key in page.api_keys]
        if not page.next_page_token:
            break
        pages.page_token = page.next_page_token
    assert (found, set(found)) == (sorted(found), ids)
    with pytest.raises(InvalidRequest, match="page_token"):
        await world.issuer.page(pb.ListApiKeysRequest(page_token=pages.page_token, workspace="a"))
    assert len((await world.issuer.page(pb.ListApiKeysRequest(workspace="b"))).api_keys) == 4
    world.now += 10
    assert len((await world.issuer.page(pb.ListApiKeysRequest(workspace="b"))).api_keys) == 3
    assert len((await world.issuer.page(pb.ListApiKeysRequest(workspace="b", include_inactive=True))).api_keys) == 4


async def test_every_bad_field_is_named(world: World) -> None:
    request = pb.CreateApiKeyRequest(
        name=" ",
        workspace="No!",
        role=9,  # type: ignore[arg-type]
        allowed_models=["ok", ""],
        allowed_providers=["\n"],
        allowed_strategies=["x" * 257],
        expire_time=Timestamp(seconds=1),
    )
    with pytest.raises(InvalidRequest) as raised:
        await world.issuer.create(request, ADMIN)
    assert [violation.field for violation in raised.value.violations] == [
        "name",
        "workspace",
        "role",
        "allowed_models[1]",
        "allowed_providers[0]",
        "allowed_strategies[0]",
        "expire_time",
    ]


@pytest.mark.parametrize("change", ["UPDATE audit_events SET detail = 'nothing'", "DELETE FROM audit_events"])
async def test_the_database_itself_keeps_audit_events_as_they_are(world: World, change: str) -> None:
    await world.database.transact(script(insertion(event_of(E.KIND_DATA_EXPORTED, ADMIN, "calls"))))
    with pytest.raises(StoreFailed):
        await world.database.transact(script(Statement(change)))
    assert [event.kind for event in await world.events()] == [E.KIND_DATA_EXPORTED]


async def test_a_key_whose_event_cannot_be_written_is_not_made(world: World) -> None:
    made = await world.issuer.create(pb.CreateApiKeyRequest(name="k"), ADMIN)
    key = await world.store.find(made.api_key.id)
    (event,) = await world.events()
    assert key is not None
    with pytest.raises(Exception, match="refused"):
        # The event's id stands already.
        await world.store.revoke(key.id, 1, event)
    assert await world.who(made.secret_key) == "default"


async def test_events_are_found_by_what_they_say(world: World) -> None:
    for number in range(5):
        event = event_of(E.KIND_CALL_REFUSED if number % 2 else E.KIND_KEY_CREATED, ADMIN, str(number))
        event.time.FromSeconds(number)
        await world.database.transact(script(insertion(event)))
    assert [e.subject for e in await world.events()] == ["4", "3", "2", "1", "0"]
    assert [e.subject for e in await world.events(kinds=[E.KIND_CALL_REFUSED])] == ["3", "1"]
    between = {"start_time": Timestamp(seconds=1), "end_time": Timestamp(seconds=3)}
    assert [e.subject for e in await world.events(**between)] == ["2", "1"]
    assert len(await world.events(workspace="ops", api_key_id="admin0000000")) == 5
    assert await world.events(workspace="other") == []


async def test_a_database_that_hangs_is_not_waited_for_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor by those who come after, as long as one reads in vain."""
    failing = Failing(database)
    store = KeyStore(failing)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    failing.reads.clear()
    with pytest.raises(KeysUnavailable, match="does not keep up"):
        await store.find("k")
    monkeypatch.setattr(module, "PATIENCE", 1e6)
    with pytest.raises(KeysUnavailable, match="does not keep up"):
        await store.has_any()
    failing.reads.set()
    async with asyncio.timeout(10):
        while store._late is None or not store._late.done():
            await asyncio.sleep(0)
    assert not await store.has_any()
