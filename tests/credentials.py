"""What tests need of credentials: means to build them, a place that gives tokens, files that change when told to."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from upstreams import answer, upstream

from trunkline_server.config.secrets import SecretFiles
from trunkline_server.providers.auth import Means, build_credentials, headers_of
from trunkline_server.providers.http import HttpClient, HttpRequest
from trunkline_server.providers.tokens.asking import build_ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from upstreams import Script, Upstream

    from trunkline_server.providers.credential import Credential
    from trunkline_server.providers.refreshed import Refreshed
    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings, Secret


HOUR = 3600
ROLE = "arn:aws:iam::123456789012:role/llm"


async def nothing(request: HttpRequest) -> bytes:
    raise AssertionError("nothing is to be asked for")


def fixed(row: Row, provider: ProviderSettings) -> Credential:
    """The only credential of a provider whose credential does not change."""
    (credential,) = build_credentials(row, provider, Means(SecretFiles(), nothing, lambda _: None))
    return credential


def sent_by(row: Row, provider: ProviderSettings) -> Mapping[str, str]:
    """The headers that such a provider's requests have."""
    return headers_of(provider, fixed(row, provider))


@dataclass
class Given:
    """A place that gives tokens, and the means to ask it."""

    server: Upstream
    means: Means
    # What became of which credential.
    told: list[tuple[str, str]] = field(default_factory=list)


@asynccontextmanager
async def giving(*scripts: Script) -> AsyncIterator[Given]:
    """A real server that answers requests for tokens."""
    client = HttpClient(max_connections=8, connect_timeout=5)
    started: list[Refreshed[Any]] = []

    def start(source: Refreshed[Any]) -> None:
        started.append(source)
        source.start()

    async with upstream(*scripts) as server:
        given = Given(server, Means(SecretFiles(), build_ask(client), start))
        object.__setattr__(given.means, "tell", lambda hint, what: given.told.append((hint, what)))
        try:
            yield given
        finally:
            await asyncio.gather(*(source.aclose() for source in started))
            await client.aclose()


def json_answer(document: Any, status: int = 200) -> bytes:
    return answer(json.dumps(document).encode(), status, content_type="application/json")


def expiration(lifetime: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")


def sts(token: str, lifetime: float) -> list[Script]:
    xml = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
        <AssumedRoleUser><Arn>{ROLE}</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIA{token}</AccessKeyId>
        <SecretAccessKey>a/b+c=</SecretAccessKey><SessionToken>{token}</SessionToken>
        <Expiration>{expiration(lifetime)}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
    return [[answer(xml.encode(), content_type="text/xml")]]


@dataclass
class Files:
    """Files that change when told to."""

    content: Secret
    # What reading raises. None: nothing.
    error: Exception | None = None
    stamped: int = 0
    looks: int = 0

    def become(self, content: Secret | Exception) -> None:
        self.stamped += 1
        if isinstance(content, Exception):
            self.error = content
        else:
            self.content, self.error = content, None

    def stamp(self, secret: Secret) -> object:
        self.looks += 1
        return self.stamped

    def read(self, secret: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.content
