"""What makes credentials right, beyond each setting by itself. Shows no value. A part of config.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trunkline_server.config.check import Problem
from trunkline_server.providers.addresses import may_have_secrets
from trunkline_server.providers.table import configured, doubt_of
from trunkline_server.settings import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings, Secret, Settings, TokenSettings

# Secrets that are needed to get others, or before anything could be fetched.
_AWS_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_LOCAL_ONLY = ("access_key_id", "secret_access_key", "session_token", "client_secret")


def credential_problems(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """What is wrong with the credentials of settings whose fields are right one by one."""
    for name, provider in settings.providers.items():
        path = f"providers.{name}"
        yield from _local(path, provider)
        yield from _url(f"{path}.token_url", provider.token_url)
        if row := rows.get(provider.kind):
            yield from _keys(path, provider, row, rows)
            yield from _aws(path, provider) if row.signing == "sigv4" and not provider.all_keys else ()
            yield from _entra(path, provider) if row.tokens == "entra" and not provider.all_keys else ()
    yield from _aws_secrets(settings)


def key_warnings(settings: Settings, rows: Mapping[str, Row]) -> Iterator[str]:
    """Keys that do not look like the vendor's: vendors change what keys look like, so they are used all the same."""
    for name, provider in settings.providers.items():
        if (known := rows.get(provider.kind)) is None:
            continue
        row = configured(known, provider)
        for at, key in _named(provider):
            if doubt := doubt_of(key, row):
                yield f"providers.{name}.{at}: {doubt}"


def _named(provider: ProviderSettings) -> Iterator[tuple[str, Secret]]:
    """All keys, and where they stand."""
    if provider.api_key is not None:
        yield "api_key", provider.api_key
    yield from ((f"api_keys[{index}]", key) for index, key in enumerate(provider.api_keys))


def _local(path: str, settings: TokenSettings) -> Iterator[Problem]:
    for name in _LOCAL_ONLY:
        if isinstance(getattr(settings, name, None), Reference):
            yield Problem(f"{path}.{name}", "env:NAME or file:/path: only keys come from a store")


def _url(path: str, url: str) -> Iterator[Problem]:
    if url and not may_have_secrets(url):
        yield Problem(path, "an https URL, or an http URL of this machine or of its metadata service")


def _keys(path: str, provider: ProviderSettings, row: Row, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """Keys that are certainly another vendor's. With an address of the operator's own nothing is certain."""
    if not row.base_url or provider.base_url not in ("", row.base_url):
        return
    for name, key in _named(provider):
        if owner := _owner(key, row, rows):
            yield Problem(f"{path}.{name}", f"a key of {row.name}: this one is a key of {owner}")


def _owner(key: Secret, row: Row, rows: Mapping[str, Row]) -> str:
    """The other vendor whose key it is beyond doubt. Empty = that cannot be told."""
    if isinstance(key, Reference):
        return ""
    if row.key_pattern and re.fullmatch(row.key_pattern, key.reveal()):
        return ""
    known = (other for other in rows.values() if other.key_pattern)
    return next((other.name for other in known if re.fullmatch(other.key_pattern, key.reveal())), "")


def _aws(path: str, settings: TokenSettings) -> Iterator[Problem]:
    if (settings.access_key_id is None) != (settings.secret_access_key is None):
        missing = "secret_access_key" if settings.secret_access_key is None else "access_key_id"
        yield Problem(f"{path}.{missing}", "the other half of the access key")
    if settings.web_identity_token is not None and not settings.role_arn:
        yield Problem(f"{path}.role_arn", "the role that web_identity_token is for")
    elif settings.role_arn and not (settings.web_identity_token or settings.ambient or settings.access_key_id):
        yield Problem(
            f"{path}.role_arn", "access_key_id, web_identity_token or ambient beside it: a role is taken on by someone"
        )
    signs = settings.region or settings.role_arn or settings.ambient or settings.access_key_id
    if signs and not _AWS_REGION.fullmatch(settings.region):
        yield Problem(f"{path}.region", "a region, such as us-east-1: signatures are good for one")


def _entra(path: str, provider: ProviderSettings) -> Iterator[Problem]:
    if provider.ambient or not (provider.tenant_id or provider.client_id or provider.client_secret):
        return
    for name in ("tenant_id", "client_id"):
        if not re.fullmatch(r"[A-Za-z0-9.-]+", getattr(provider, name)):
            yield Problem(f"{path}.{name}", "the id of Entra's tenant and of the application, both")
    if provider.client_secret is None and provider.federated_token is None:
        yield Problem(f"{path}.client_secret", "a secret of the application, or federated_token")


def _aws_secrets(settings: Settings) -> Iterator[Problem]:
    aws, path = settings.aws_secrets, "aws_secrets"
    yield from _local(path, aws)
    yield from _url(f"{path}.token_url", aws.token_url)
    yield from _url(f"{path}.url", aws.url)
    yield from _aws(path, aws)
    keys = [key for provider in settings.providers.values() for key in provider.all_keys]
    uses = any(isinstance(key, Reference) and key.origin.startswith("aws-sm:") for key in keys)
    if uses and not (aws.access_key_id or aws.web_identity_token or aws.ambient):
        yield Problem(f"{path}.access_key_id", "access_key_id, web_identity_token or ambient: a key stands in aws-sm")
