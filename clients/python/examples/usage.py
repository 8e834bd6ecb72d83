"""See what was used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import UsageTotals
    from trunkline_client import Client


def usage(client: Client, model: str) -> UsageTotals:
    """Calls, tokens and cost of a model in the last day."""
    return client.usage(filters={"requested_model": model}, timeout=10).totals
