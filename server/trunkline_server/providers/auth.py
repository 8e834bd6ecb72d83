"""The credentials of a provider, by its row and its settings: keys, access keys, and tokens that renew themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from trunkline_server.errors import CredentialMissing, Unreadable
from trunkline_server.providers.credential import Changing, Fixed
from trunkline_server.providers.key_file import KeyFile
from trunkline_server.providers.refreshed import Refreshed
from trunkline_server.providers.sigv4 import Scope
from trunkline_server.providers.stores import fetch
from trunkline_server.providers.table import doubt_of, has_credential
from trunkline_server.providers.tokens.aws import access_key, aws_session, is_short_lived, put, secrets_manager
from trunkline_server.providers.tokens.oauth import entra_token, google_token
from trunkline_server.settings import Reference, Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trunkline_server.providers.credential import Credential
    from trunkline_server.providers.http import HttpRequest
    from trunkline_server.providers.key_file import Files
    from trunkline_server.providers.refreshed import Lease
    from trunkline_server.providers.sigv4 import Credentials
    from trunkline_server.providers.stores import Resolve
    from trunkline_server.providers.table import Row
    from trunkline_server.providers.tokens.asking import Ask
    from trunkline_server.settings import AwsSecrets, ProviderSettings

T = TypeVar("T")

# Headers in which an operator may send a credential without api_key.
_CREDENTIAL_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")


def _nobody(_: str, __: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Means:
    """What credentials need that change while the gateway runs."""

    files: Files
    ask: Ask
    # Starts what refreshes itself, and stops it when the gateway ends.
    start: Callable[[Refreshed[Any]], None]
    # Hears, by the credential's hint, what becomes of it.
    tell: Callable[[str, str], None] = _nobody
    # By scheme.
    stores: Mapping[str, Resolve] = field(default_factory=dict)

    def read(self, secret: Secret) -> str:
        """The text of the secret's file as it is now. Raises CredentialMissing."""
        try:
            return self.files.read(secret).reveal()
        except Unreadable as unreadable:
            raise CredentialMissing(f"expected {unreadable}") from None

    def refreshed(
        self, get: Callable[[], Awaitable[Lease[T]]], hint: Callable[[T | None], str], *, is_key: bool = False
    ) -> Refreshed[T]:
        """A source that has begun to fetch."""
        source = Refreshed(get, hint, partial(self.tell, hint(None)), is_key=is_key)
        self.start(source)
        return source


def headers_of(provider: ProviderSettings, credential: Credential) -> Mapping[str, str]:
    """What every request has: of the credential what does not change, and the operator's own, which stand above it."""
    headers = dict(credential.headers)
    if provider.organization:
        headers["openai-organization"] = provider.organization
    return headers | {name: header.reveal() for name, header in provider.headers.items()}


def build_credentials(row: Row, provider: ProviderSettings, means: Means) -> Sequence[Credential]:
    """At least one; of a provider that goes without, or lacks it, the one that sends nothing. Waits for nothing."""
    if row.auth != "none" and provider.all_keys:
        return [_of_key(row, key, means) for key in provider.all_keys]
    build = _IN_PLACE_OF_KEYS.get(row.signing or row.tokens)
    if build is not None and has_credential(row, provider):
        return [build(provider, means)]
    return [Fixed(next((f"header {name}" for name in provider.headers if name.lower() in _CREDENTIAL_HEADERS), ""))]


def build_aws_secrets(settings: AwsSecrets, means: Means) -> Resolve:
    """What resolves aws-sm:NAME."""
    if is_short_lived(settings):
        session = means.refreshed(lambda: aws_session(settings, means.ask, means.read), lambda _: "aws_secrets")
        return secrets_manager(settings, means.ask, session.get)

    async def credentials() -> Credentials:
        return access_key(settings)

    return secrets_manager(settings, means.ask, credentials)


def _of_key(row: Row, key: Secret, means: Means) -> Credential:
    header, before = ("authorization", "Bearer ") if row.auth == "bearer" else (row.auth, "")
    add = partial(_add, header, before)
    if isinstance(key, Reference):
        get = partial(fetch, key, means.stores)
        return Changing(means.refreshed(get, lambda value: (value or key).hint(), is_key=True), add)
    if key.origin.startswith("file:"):
        return Changing(KeyFile(key, means.files, partial(means.tell, key.origin)), add)
    return Fixed(key.hint(), {header: before + key.reveal()}, note=doubt_of(key, row))


def _add(header: str, before: str, request: HttpRequest, secret: Secret) -> HttpRequest:
    """The request with the secret in a header, unless the operator's own headers have it."""
    return replace(request, headers={header: before + secret.reveal(), **request.headers})


def _of_aws(provider: ProviderSettings, means: Means) -> Credential:
    if is_short_lived(provider):
        hint = provider.role_arn or "the machine's role"
        session = means.refreshed(lambda: aws_session(provider, means.ask, means.read), lambda _: hint)
        return Changing(session, partial(_put_aws, provider.region))
    credentials = access_key(provider)

    async def sign(request: HttpRequest) -> HttpRequest:
        return _put_aws(provider.region, request, credentials)

    return Fixed(provider.access_key_id.hint() if provider.access_key_id is not None else "", sign=sign)


def _put_aws(region: str, request: HttpRequest, credentials: Credentials) -> HttpRequest:
    """The request, signed for whom it goes to: calls to Bedrock, the probe to STS."""
    service = "sts" if request.url.startswith("https://sts.") else "bedrock"
    return put(Scope(region, service), request, credentials)


def _of_google(provider: ProviderSettings, means: Means) -> Credential:
    hint = provider.service_account.hint() if provider.service_account is not None else "the machine's account"
    token = means.refreshed(lambda: google_token(provider, means.ask, means.read), lambda _: hint)
    return Changing(token, partial(_add, "authorization", "Bearer "))


def _of_entra(provider: ProviderSettings, means: Means) -> Credential:
    hint = f"client {provider.client_id}" if provider.client_id else "the machine's identity"
    token = means.refreshed(lambda: entra_token(provider, means.ask, means.read), lambda _: hint)
    return Changing(token, partial(_add, "authorization", "Bearer "))


# By what the row says of signing or tokens.
_IN_PLACE_OF_KEYS: Mapping[str, Callable[[ProviderSettings, Means], Credential]] = {
    "sigv4": _of_aws,
    "google": _of_google,
    "entra": _of_entra,
}
