"""Which environment variables name credentials, and where they are good. Pure; a part of config.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.row import Row

    # A setting, the variable that says it, and what would stand in the file.
    Said = tuple[str, str, str | list[str]]

# A setting, its variable, and how that is written in the file: by its name, by its value, or as the path of a file.
_ACCESS_KEY = (
    ("access_key_id", "AWS_ACCESS_KEY_ID", "env:{name}"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY", "env:{name}"),
    ("session_token", "AWS_SESSION_TOKEN", "env:{name}"),
)
_WEB_IDENTITY = (
    ("role_arn", "AWS_ROLE_ARN", "{value}"),
    ("web_identity_token", "AWS_WEB_IDENTITY_TOKEN_FILE", "file:{value}"),
)
_REGION = (("region", "AWS_REGION", "{value}"), ("region", "AWS_DEFAULT_REGION", "{value}"))
_CONTAINER = (
    ("token_url", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "{value}"),
    ("token_url", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "http://169.254.170.2{value}"),
)
_GOOGLE = (("service_account", "GOOGLE_APPLICATION_CREDENTIALS", "file:{value}"),)
_ENTRA = (
    ("tenant_id", "AZURE_TENANT_ID", "{value}"),
    ("client_id", "AZURE_CLIENT_ID", "{value}"),
    ("client_secret", "AZURE_CLIENT_SECRET", "env:{name}"),
    ("federated_token", "AZURE_FEDERATED_TOKEN_FILE", "file:{value}"),
)


def names_credential(row: Row, environ: Mapping[str, str]) -> bool:
    """Whether the environment has what such a provider wants to see."""
    if any(_key_variables(row, environ)):
        return True
    if row.tokens == "entra":
        by = "AZURE_CLIENT_SECRET" in environ or "AZURE_FEDERATED_TOKEN_FILE" in environ
        return by and "AZURE_TENANT_ID" in environ and "AZURE_CLIENT_ID" in environ
    return row.tokens == "google" and "GOOGLE_APPLICATION_CREDENTIALS" in environ


def has_aws(row: Row, environ: Mapping[str, str]) -> bool:
    """Whether the environment has a credential that AWS takes, and a region."""
    web_identity = {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} <= environ.keys()
    by = "AWS_ACCESS_KEY_ID" in environ or web_identity or names_credential(row, environ)
    return by and any(name in environ for _, name, _ in _REGION)


def address_in(row: Row, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that says where such a provider is asked, and the address. Empty = none does."""
    if row.base_url_env in environ:
        return row.base_url_env, environ[row.base_url_env]
    project, location = environ.get("GOOGLE_CLOUD_PROJECT", ""), environ.get("GOOGLE_CLOUD_LOCATION", "")
    if row.tokens != "google" or not project or not location:
        return "", ""
    host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"
    path = f"projects/{quote(project, safe=':')}/locations/{location}/publishers/google"
    return "GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION", f"https://{host}/v1/{path}"


def api_version_in(row: Row, environ: Mapping[str, str]) -> tuple[str, str]:
    """The same of the version of Azure's API."""
    names = ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION") if row.tokens == "entra" else ()
    return next(((name, environ[name]) for name in names if name in environ), ("", ""))


def credentials_in(row: Row, section: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Said]:
    """What the environment says of the credentials of a provider. What its section says already stands."""
    names = list(_key_variables(row, environ))
    if section.get("api_key") is None and section.get("api_keys") is None:
        if names and names[0] == _only_key(row, environ):
            yield "api_key", names[0], f"env:{names.pop(0)}"
        if names:
            yield "api_keys", names[0], [f"env:{name}" for name in names]
    if row.signing == "sigv4":
        yield from aws_in(section, environ)
    yield from _said(_GOOGLE if row.tokens == "google" else _ENTRA if row.tokens == "entra" else (), environ)


def aws_in(section: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Said]:
    """The same of AWS. An access key stands above a web identity, as it does for AWS's own tools."""
    yield from _said(_REGION, environ)
    if section.get("ambient"):
        yield from _said(_CONTAINER, environ)
    elif section.get("web_identity_token") is None:
        has_key = "AWS_ACCESS_KEY_ID" in environ or section.get("access_key_id") is not None
        yield from _said(_ACCESS_KEY if has_key else _WEB_IDENTITY, environ)


def _said(variables: tuple[tuple[str, str, str], ...], environ: Mapping[str, str]) -> Iterator[Said]:
    for setting, name, form in variables:
        if name in environ:
            yield setting, name, form.format(name=name, value=environ[name])


def _only_key(row: Row, environ: Mapping[str, str]) -> str:
    """The variable without a number."""
    return row.key_env_too if row.key_env not in environ and row.key_env_too in environ else row.key_env


def _key_variables(row: Row, environ: Mapping[str, str]) -> Iterator[str]:
    """Those that are set: OPENAI_API_KEY first, then OPENAI_API_KEY_1, OPENAI_API_KEY_2, ... in this order."""
    if not row.key_env:
        return
    if (key := _only_key(row, environ)) in environ:
        yield key
    numbered = {name: re.fullmatch(rf"{row.key_env}_([0-9]{{1,3}})", name) for name in environ}
    yield from sorted((name for name, match in numbered.items() if match), key=lambda name: int(name.rsplit("_", 1)[1]))
