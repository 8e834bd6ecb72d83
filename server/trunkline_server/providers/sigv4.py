"""AWS Signature Version 4: what proves that a request comes from the holder of an AWS key. Pure: the caller says when.

Source: "Create a signed AWS API request" in the AWS IAM User Guide. The path is signed as it is sent but encoded once
more: every service but S3 wants it so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from posixpath import normpath
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from trunkline_server.settings import Secret

ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Proxies may change the others on their way.
_SIGNED = frozenset({"content-type", "host"})
_SIGNED_PREFIX = "x-amz-"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AWS key. Temporary ones have a session token."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for."""

    region: str
    # As AWS names it in signatures: bedrock, for bedrock-runtime too.
    service: str


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request as it will be sent: path and query percent-encoded, header names in any case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def sign(request: Unsigned, credentials: Credentials, scope: Scope, now: datetime) -> dict[str, str]:
    """The headers to add to `request`, their names in lower case: authorization, x-amz-date, x-amz-security-token.

    host, content-type and all x-amz-* headers are signed and must be sent as they stand. `now` has a time zone; AWS
    refuses a signature that is more than five minutes off. Raises ValueError where `url` is none.
    """
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": time}
    if credentials.session_token is not None:
        added["x-amz-security-token"] = credentials.session_token.reveal()
    url = urlsplit(request.url)
    headers = _canonical_headers(url, {**request.headers, **added})
    terms = f"{time[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = "\n".join((ALGORITHM, time, terms, _sha256(_canonical_request(request, url, headers).encode())))
    signature = digest(_key(credentials, terms), to_sign.encode(), "sha256").hex()
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{terms}, "
        f"SignedHeaders={';'.join(headers)}, Signature={signature}"
    )
    return added


def _canonical_request(request: Unsigned, url: SplitResult, headers: Mapping[str, str]) -> str:
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    path, query = _canonical_path(url.path), _canonical_query(url.query)
    return "\n".join((request.method, path, query, lines, ";".join(headers), _sha256(request.body)))


def _canonical_headers(url: SplitResult, headers: Mapping[str, str]) -> dict[str, str]:
    """Those that are signed, in the order of their names, runs of spaces made one."""
    lower = {"host": _host(url)} | {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    return {name: lower[name] for name in sorted(lower) if name in _SIGNED or name.startswith(_SIGNED_PREFIX)}


def _host(url: SplitResult) -> str:
    name = (url.hostname or "").lower()
    host = f"[{name}]" if ":" in name else name
    return host if url.port in {None, _DEFAULT_PORTS.get(url.scheme)} else f"{host}:{url.port}"


def _canonical_path(path: str) -> str:
    """Without dot segments and empty ones, and encoded once more."""
    plain = normpath("/" + path.lstrip("/"))
    return quote(plain + "/" if path.endswith("/") and plain != "/" else plain, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = sorted(pair.partition("=") for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, _, value in pairs) if query else ""


def _key(credentials: Credentials, terms: str) -> bytes:
    key = b"AWS4" + credentials.secret_access_key.reveal().encode()
    for term in terms.split("/"):
        key = digest(key, term.encode(), "sha256")
    return key


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()
