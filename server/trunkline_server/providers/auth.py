"""The headers that a provider knows us by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings


def headers_of(row: Row, provider: ProviderSettings) -> Mapping[str, str]:
    """Credentials and the operator's own headers, which stand above the row's."""
    headers: dict[str, str] = {}
    if row.auth == "bearer" and provider.api_key is not None:
        headers["authorization"] = f"Bearer {provider.api_key.reveal()}"
    if provider.organization:
        headers["openai-organization"] = provider.organization
    return headers | {name: header.reveal() for name, header in provider.headers.items()}
