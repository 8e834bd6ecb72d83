"""Making, replacing and revoking keys: what AdminService and `trunkline keys` both do."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, cast

from trunkline.v1 import identity_pb2 as pb
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.spans import seconds
from trunkline_server.state.audit import event_of
from trunkline_server.state.identity.keys import (
    ApiKey,
    HeldSecret,
    digest_of,
    is_key_id,
    new_key_id,
    new_secret,
    write_key,
)
from trunkline_server.state.pages import next_token, page_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trunkline_server.core import Role
    from trunkline_server.state.audit import Actor
    from trunkline_server.state.identity.store import KeyStore

# Seconds.
DEFAULT_OVERLAP = 86_400.0
MAX_OVERLAP = 90 * DEFAULT_OVERLAP
MAX_PATTERNS = 100
_A_WORKSPACE = "must be lower-case letters, digits, - and _, at most 63"
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ROLES = pb.ApiKey.KeyRole


class Issuer:
    """What is done to keys. Raises InvalidRequest and KeysUnavailable."""

    def __init__(
        self,
        store: KeyStore,
        pepper: bytes,
        forget: Callable[[str], None] = lambda _: None,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`forget` is told of each key that changed."""
        self._store = store
        self._pepper = pepper
        self._forget = forget
        self._wall = wall

    async def create(self, request: pb.CreateApiKeyRequest, actor: Actor) -> pb.CreateApiKeyResponse:
        """Make a key."""
        now = self._now()
        if bad := [*_violations(request, now)]:
            raise InvalidRequest(bad)
        key_id, secret = new_key_id(), new_secret()
        key = ApiKey(
            id=key_id,
            name=request.name,
            workspace=request.workspace or "default",
            role=_role(request.role or _ROLES.KEY_ROLE_CALLER),
            models=tuple(request.allowed_models),
            providers=tuple(request.allowed_providers),
            strategies=tuple(request.allowed_strategies),
            created=now,
            expires=request.expire_time.ToMicroseconds() if request.HasField("expire_time") else None,
            secret=HeldSecret(digest_of(self._pepper, secret)),
        )
        detail = f"{key.role} of {key.workspace}"
        await self._store.add(key, event_of(pb.AuditEvent.KIND_KEY_CREATED, actor, key_id, detail=detail))
        self._forget("")
        return pb.CreateApiKeyResponse(api_key=message_of(key), secret_key=write_key(key_id, secret))

    async def page(self, request: pb.ListApiKeysRequest) -> pb.ListApiKeysResponse:
        """A page of keys."""
        if request.workspace and not _WORKSPACE.fullmatch(request.workspace):
            raise InvalidRequest([Violation("workspace", _A_WORKSPACE)])
        size, after = page_of(request)
        found = await self._store.page(
            request.workspace, inactive=request.include_inactive, now=self._now(), after=after, limit=size + 1
        )
        token = next_token(request, found[size - 1].id) if len(found) > size else ""
        return pb.ListApiKeysResponse(api_keys=map(message_of, found[:size]), next_page_token=token)

    async def rotate(self, request: pb.RotateApiKeyRequest, actor: Actor) -> pb.RotateApiKeyResponse:
        """Give a key another secret."""
        _check_id(request.id)
        overlap = seconds(request.overlap) if request.HasField("overlap") else DEFAULT_OVERLAP
        if not 0 <= overlap <= MAX_OVERLAP:
            raise InvalidRequest([Violation("overlap", "must be from 0 s to 90 days")])
        now, secret = self._now(), new_secret()
        detail = f"the secret of before is taken for {overlap:g} s"
        event = event_of(pb.AuditEvent.KIND_KEY_ROTATED, actor, request.id, detail=detail)
        digest, ends = digest_of(self._pepper, secret), now + int(overlap * 1e6)
        key = await self._store.rotate(request.id, digest, ends, now, event)
        if key is None:
            raise _no_such_key()
        self._forget(key.id)
        return pb.RotateApiKeyResponse(api_key=message_of(key), secret_key=write_key(key.id, secret))

    async def revoke(self, request: pb.RevokeApiKeyRequest, actor: Actor) -> pb.RevokeApiKeyResponse:
        """Refuse a key from now on. A key that is revoked already stays as it is."""
        _check_id(request.id)
        event = event_of(pb.AuditEvent.KIND_KEY_REVOKED, actor, request.id)
        key = await self._store.revoke(request.id, self._now(), event) or await self._store.find(request.id)
        if key is None:
            raise _no_such_key()
        self._forget(key.id)
        return pb.RevokeApiKeyResponse(api_key=message_of(key))

    def _now(self) -> int:
        return int(self._wall() * 1e6)


def message_of(key: ApiKey) -> pb.ApiKey:
    """A key as it is shown."""
    message = pb.ApiKey(
        id=key.id,
        name=key.name,
        workspace=key.workspace,
        role=_ROLES.Value(f"KEY_ROLE_{key.role.upper()}"),
        allowed_models=key.models,
        allowed_providers=key.providers,
        allowed_strategies=key.strategies,
    )
    message.create_time.FromMicroseconds(key.created)
    if key.expires is not None:
        message.expire_time.FromMicroseconds(key.expires)
    if key.revoked is not None:
        message.revoke_time.FromMicroseconds(key.revoked)
    if key.previous is not None:
        message.previous_secret_expire_time.FromMicroseconds(key.previous.ends or 0)
    return message


def _role(role: pb.ApiKey.KeyRole.ValueType) -> Role:
    return cast("Role", _ROLES.Name(role).removeprefix("KEY_ROLE_").lower())


def _check_id(key_id: str) -> None:
    if not is_key_id(key_id):
        raise _no_such_key()


def _no_such_key() -> InvalidRequest:
    return InvalidRequest([Violation("id", "names no key that is neither revoked nor expired")])


def _violations(request: pb.CreateApiKeyRequest, now: int) -> Iterator[Violation]:
    if not _is_text(request.name):
        yield Violation("name", "must be 1 to 100 printable characters without a blank at either end")
    if request.workspace and not _WORKSPACE.fullmatch(request.workspace):
        yield Violation("workspace", _A_WORKSPACE)
    if request.role not in _ROLES.values():
        yield Violation("role", "is not known: use CALLER, OPERATOR or ADMIN")
    yield from _patterns("allowed_models", request.allowed_models)
    yield from _patterns("allowed_providers", request.allowed_providers)
    yield from _patterns("allowed_strategies", request.allowed_strategies)
    if request.HasField("expire_time") and request.expire_time.ToMicroseconds() <= now:
        yield Violation("expire_time", "must be in the future")


def _patterns(field: str, patterns: Sequence[str]) -> Iterator[Violation]:
    if len(patterns) > MAX_PATTERNS:
        yield Violation(field, f"has {len(patterns)}: at most {MAX_PATTERNS}")
    for index, pattern in enumerate(patterns[:MAX_PATTERNS]):
        if not _is_text(pattern, 256):
            yield Violation(f"{field}[{index}]", "must be 1 to 256 printable characters without a blank at either end")


def _is_text(text: str, longest: int = 100) -> bool:
    return 1 <= len(text) <= longest and text.isprintable() and text == text.strip()
