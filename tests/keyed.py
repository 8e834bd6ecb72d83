"""A gateway whose callers need keys, and short ways to make these."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway import gateway, settings_of

from trunkline.v1 import identity_pb2 as pb
from trunkline_server.state.audit import Actor, list_events
from trunkline_server.state.identity.issuing import Issuer
from trunkline_server.state.identity.store import KeyStore
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from gateway import Gateway

    from trunkline_server.settings import Settings
    from trunkline_server.state.ledger.database import Database

PEPPER = b"p" * 64
ACTOR = Actor(key="tester000000", workspace="tests", peer="here")
ROLES = pb.ApiKey.KeyRole


@dataclass
class Keyed:
    """A gateway that runs, and its database as another process sees it, which makes keys."""

    running: Gateway
    database: Database

    async def key(self, role: str = "caller", workspace: str = "default", **more: Any) -> str:
        """A new key."""
        return await make_key(self.database, role, workspace=workspace, **more)

    async def revoke(self, key: str) -> None:
        """Revoke a key."""
        await Issuer(KeyStore(self.database), PEPPER).revoke(pb.RevokeApiKeyRequest(id=id_of(key)), ACTOR)

    async def wait_events(self, kind: pb.AuditEvent.Kind.ValueType, count: int) -> list[pb.AuditEvent]:
        """The audit events of this kind, once there are so many."""
        while len(events := await self.events(kind)) < count:
            await asyncio.sleep(0)
        return events

    async def events(self, *kinds: pb.AuditEvent.Kind.ValueType) -> list[pb.AuditEvent]:
        """The audit events of these kinds, newest first."""
        return await list_events(self.database, pb.ListAuditEventsRequest(kinds=kinds), "", 1000)


async def make_key(
    database: Database, role: str = "caller", *, wall: Callable[[], float] = time.time, **more: Any
) -> str:
    """A new key, made as another process would."""
    request = pb.CreateApiKeyRequest(name="k", role=ROLES.Value(f"KEY_ROLE_{role.upper()}"), **more)
    return (await Issuer(KeyStore(database), PEPPER, wall=wall).create(request, ACTOR)).secret_key


def bearing(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with this key."""
    return (("authorization", f"Bearer {key}"),)


def id_of(key: str) -> str:
    return key.split("_")[1]


async def new_database(tmp_path: Path) -> Database:
    database = open_database(f"sqlite:///{tmp_path}/ledger.sqlite3")
    await migrate(database)
    return database


def keyed_settings(tmp_path: Path, server: Mapping[str, Any], document: Mapping[str, Any] | None = None) -> Settings:
    """Settings with the database of `new_database` and the pepper of these keys."""
    return settings_of(
        tmp_path,
        {
            "default_model": "mock",
            "ledger": {"url": f"sqlite:///{tmp_path}/ledger.sqlite3"},
            "tasks": {"task_of_theirs": {}},
            **(document or {}),
            "server": {"pepper": "env:PEPPER", **server},
        },
        {"PEPPER": PEPPER.decode()},
    )


@asynccontextmanager
async def keyed(tmp_path: Path, document: Mapping[str, Any] | None = None) -> AsyncIterator[Keyed]:
    """A gateway with a database of its own, that needs keys unless the document says otherwise."""
    document = document or {}
    settings = keyed_settings(tmp_path, {"auth": "keys", **document.get("server", {})}, document)
    database = await new_database(tmp_path)
    async with gateway(settings) as running:
        yield Keyed(running, database)
    await database.aclose()
