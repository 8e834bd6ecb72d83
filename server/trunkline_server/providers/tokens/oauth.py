"""Bearer tokens of Google and Microsoft: OAuth 2.0, and what their clouds' metadata servers give out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline_server.errors import CredentialMissing
from trunkline_server.providers.refreshed import lease
from trunkline_server.providers.tokens.asking import decode, form, get
from trunkline_server.providers.tokens.jwt import signed
from trunkline_server.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.providers.http import HttpRequest
    from trunkline_server.providers.refreshed import Lease
    from trunkline_server.providers.tokens.asking import Ask
    from trunkline_server.settings import ProviderSettings

    # Gives the text of a secret's file as it is now. Raises CredentialMissing.
    Read = Callable[[Secret], str]

GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_TOKENS: Final = "https://oauth2.googleapis.com/token"
GOOGLE_METADATA: Final = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
ENTRA_TOKENS: Final = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
ENTRA_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
AZURE_METADATA: Final = (
    "http://169.254.169.254/metadata/identity/oauth2/token"
    "?api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com"
)
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_NO_FILE: Final = "service_account must be a JSON file of type service_account or authorized_user"
# Seconds that an assertion is good: the longest that Google takes.
_ASSERTED_FOR: Final = 3600


class _Token(msgspec.Struct):
    access_token: str
    # Azure's metadata server writes it as text.
    expires_in: float


class _GoogleFile(msgspec.Struct):
    """A service account's key, or what gcloud leaves for its user."""

    type: str = ""
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    token_uri: str = GOOGLE_TOKENS
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""


async def google_token(provider: ProviderSettings, ask: Ask, read: Read) -> Lease[Secret]:
    """A token for Google Cloud, by the configured file or from the metadata server. Raises CredentialMissing."""
    if provider.service_account is None:
        return await _token(ask, get(provider.token_url or GOOGLE_METADATA, {"metadata-flavor": "Google"}))
    file = decode(read(provider.service_account).encode(), _GoogleFile, _NO_FILE)
    url = provider.token_url or file.token_uri
    if file.type == "service_account":
        return await _token(ask, form(url, {"grant_type": _JWT_BEARER, "assertion": _assertion(file, time.time())}))
    if file.type == "authorized_user":
        fields = {name: getattr(file, name) for name in ("client_id", "client_secret", "refresh_token")}
        return await _token(ask, form(url, {"grant_type": "refresh_token", **fields}))
    raise CredentialMissing(_NO_FILE)


def _assertion(file: _GoogleFile, now: float) -> str:
    claims = {
        "iss": file.client_email,
        "scope": GOOGLE_SCOPE,
        "aud": file.token_uri,
        "iat": int(now),
        "exp": int(now) + _ASSERTED_FOR,
    }
    return signed(claims, Secret(file.private_key), file.private_key_id)


async def entra_token(provider: ProviderSettings, ask: Ask, read: Read) -> Lease[Secret]:
    """A token for Azure OpenAI, of an application or of the machine's own identity. Raises CredentialMissing."""
    if provider.ambient:
        which = f"&client_id={provider.client_id}" if provider.client_id else ""
        return await _token(ask, get((provider.token_url or AZURE_METADATA) + which, {"metadata": "true"}))
    fields = {"grant_type": "client_credentials", "client_id": provider.client_id, "scope": ENTRA_SCOPE}
    if provider.client_secret is not None:
        fields["client_secret"] = provider.client_secret.reveal()
    elif provider.federated_token is not None:
        fields |= {"client_assertion_type": _ASSERTION, "client_assertion": read(provider.federated_token).strip()}
    url = provider.token_url or ENTRA_TOKENS.format(tenant=provider.tenant_id)
    return await _token(ask, form(url, fields))


async def _token(ask: Ask, request: HttpRequest) -> Lease[Secret]:
    token = decode(await ask(request), _Token)
    if not token.access_token.isascii() or not token.access_token.isprintable():
        raise CredentialMissing("what was answered cannot be sent as a token")
    return lease(Secret(token.access_token), token.expires_in)
