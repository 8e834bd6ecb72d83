"""AWS: sessions of STS, what the machine's metadata service gives out, and secrets of the Secrets Manager."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline_server.errors import CredentialMissing
from trunkline_server.providers.http import HttpRequest
from trunkline_server.providers.refreshed import Lease, lease
from trunkline_server.providers.sigv4 import Credentials, Scope, Unsigned, sign
from trunkline_server.providers.tokens.asking import decode, form, get
from trunkline_server.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trunkline_server.providers.tokens.asking import Ask
    from trunkline_server.providers.tokens.oauth import Read
    from trunkline_server.settings import AwsSecrets, TokenSettings

METADATA: Final = "http://169.254.169.254/latest"
_STS: Final = "https://sts.{region}.amazonaws.com/"
_SECRETS: Final = "https://secretsmanager.{region}.amazonaws.com/"
_SESSION: Final = "trunkline"
# Seconds that the metadata service is to let us ask it.
_ASKING: Final = "300"
_VISIBLE: Final = re.compile(r"[!-~]+")


class _Issued(msgspec.Struct, rename="pascal"):
    access_key_id: str
    secret_access_key: str
    token: str
    expiration: datetime


class _SecretValue(msgspec.Struct, rename="pascal"):
    secret_string: str


def is_short_lived(settings: TokenSettings) -> bool:
    """Whether these settings lead to a session that expires, and not to an access key that stays."""
    return settings.ambient or bool(settings.role_arn)


async def aws_session(settings: TokenSettings, ask: Ask, read: Read) -> Lease[Credentials]:
    """Credentials by the settings: a web identity's, a role's, or the machine's own. Raises CredentialMissing."""
    if settings.web_identity_token is not None:
        token = read(settings.web_identity_token).strip()
        return await _assumed(settings, ask, "AssumeRoleWithWebIdentity", {"WebIdentityToken": token})
    if settings.ambient:
        own = await _ambient(settings, ask)
        return await _assumed(_for_sts(settings), signing(ask, settings, own.value)) if settings.role_arn else own
    return await _assumed(settings, signing(ask, settings, access_key(settings)))


def _for_sts(settings: TokenSettings) -> TokenSettings:
    """The settings for STS, where `token_url` is the metadata service's."""
    return msgspec.structs.replace(settings, token_url="") if settings.ambient else settings


def access_key(settings: TokenSettings) -> Credentials:
    """The access key that is configured. Raises CredentialMissing."""
    if settings.access_key_id is None or settings.secret_access_key is None:
        raise CredentialMissing("access_key_id and secret_access_key belong together")
    return Credentials(settings.access_key_id.reveal(), settings.secret_access_key, settings.session_token)


def signing(ask: Ask, settings: TokenSettings, credentials: Credentials, service: str = "sts") -> Ask:
    """`ask`, with each request signed."""

    async def signed(request: HttpRequest) -> bytes:
        return await ask(put(Scope(settings.region, service), request, credentials))

    return signed


def put(scope: Scope, request: HttpRequest, credentials: Credentials) -> HttpRequest:
    """The request, signed now."""
    unsigned = Unsigned(request.method, request.url, request.headers, request.body)
    return replace(request, headers={**request.headers, **sign(unsigned, credentials, scope, datetime.now(UTC))})


# --- STS --------------------------------------------------------------------------------------------------------------


async def _assumed(
    settings: TokenSettings, ask: Ask, action: str = "AssumeRole", more: Mapping[str, str] = {}
) -> Lease[Credentials]:
    url = settings.token_url or _STS.format(region=settings.region)
    role = {"RoleArn": settings.role_arn, "RoleSessionName": _SESSION}
    answer = await ask(form(url, {"Action": action, "Version": "2011-06-15", **role, **more}))
    # XML of four plain elements; none of their values has anything that XML would escape.
    found = dict(re.findall(rb"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration)>([^<]+)</", answer))
    fields = {name.decode(): value.decode("ascii", "replace") for name, value in found.items()}
    return _leased(decode(msgspec.json.encode({**fields, "Token": fields.get("SessionToken")}), _Issued))


def _leased(issued: _Issued) -> Lease[Credentials]:
    if not all(map(_VISIBLE.fullmatch, (issued.access_key_id, issued.secret_access_key, issued.token))):
        raise CredentialMissing("what was answered cannot be sent as credentials")
    credentials = Credentials(issued.access_key_id, Secret(issued.secret_access_key), Secret(issued.token))
    return lease(credentials, issued.expiration.timestamp() - time.time())


# --- the machine's own ------------------------------------------------------------------------------------------------


async def _ambient(settings: TokenSettings, ask: Ask) -> Lease[Credentials]:
    """Of a container where `token_url` says so, else of the instance (IMDSv2)."""
    if settings.token_url and not settings.token_url.endswith("/latest"):
        return _leased(decode(await ask(get(settings.token_url)), _Issued))
    base = settings.token_url or METADATA
    wanted = HttpRequest("PUT", f"{base}/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": _ASKING})
    headers = {"x-aws-ec2-metadata-token": _line(await ask(wanted))}
    role = _line(await ask(get(f"{base}/meta-data/iam/security-credentials/", headers)))
    return _leased(decode(await ask(get(f"{base}/meta-data/iam/security-credentials/{role}", headers)), _Issued))


def _line(body: bytes) -> str:
    line = body.decode("ascii", "replace").strip()
    if not _VISIBLE.fullmatch(line):
        raise CredentialMissing("the metadata service names no role of this machine")
    return line


# --- the Secrets Manager ----------------------------------------------------------------------------------------------


def secrets_manager(
    settings: AwsSecrets, ask: Ask, credentials: Callable[[], Awaitable[Credentials]]
) -> Callable[[str], Awaitable[str]]:
    """What resolves aws-sm:NAME and aws-sm:NAME#KEY: the text of a secret, or of a key in it if it is JSON."""
    url = settings.url or _SECRETS.format(region=settings.region)

    async def resolve(name: str) -> str:
        secret, _, key = name.partition("#")
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue"}
        request = HttpRequest("POST", url, headers, msgspec.json.encode({"SecretId": secret}))
        answer = await signing(ask, settings, await credentials(), "secretsmanager")(request)
        text = decode(answer, _SecretValue).secret_string
        return _field(text, key) if key else text

    return resolve


def _field(text: str, key: str) -> str:
    value = decode(text.encode(), dict[str, object], "the secret is no JSON object").get(key)
    if not isinstance(value, str):
        raise CredentialMissing("the secret has no such text in it")
    return value
