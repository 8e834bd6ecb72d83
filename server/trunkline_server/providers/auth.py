"""What a provider knows us by: headers, and signatures over the whole request."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trunkline_server.providers.sigv4 import Credentials, Scope, Unsigned, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline_server.providers.http import HttpRequest
    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings


def headers_of(row: Row, provider: ProviderSettings) -> Mapping[str, str]:
    """Credentials and the operator's own headers, which stand above the row's."""
    headers: dict[str, str] = {}
    if row.auth == "bearer" and provider.api_key is not None:
        headers["authorization"] = f"Bearer {provider.api_key.reveal()}"
    elif row.auth != "none" and provider.api_key is not None:
        headers[row.auth] = provider.api_key.reveal()
    if provider.organization:
        headers["openai-organization"] = provider.organization
    return headers | {name: header.reveal() for name, header in provider.headers.items()}


def signer_of(row: Row, provider: ProviderSettings) -> Callable[[HttpRequest], HttpRequest] | None:
    """What signs this provider's requests. None: a key in a header is enough."""
    if row.signing != "sigv4" or provider.access_key_id is None or provider.secret_access_key is None:
        return None
    credentials = Credentials(provider.access_key_id.reveal(), provider.secret_access_key, provider.session_token)
    scope = Scope(provider.region, "bedrock")

    def signed(request: HttpRequest) -> HttpRequest:
        unsigned = Unsigned(request.method, request.url, request.headers, request.body)
        return replace(request, headers={**request.headers, **sign(unsigned, credentials, scope, datetime.now(UTC))})

    return signed
