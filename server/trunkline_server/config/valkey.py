"""What is wrong with the settings of what gateways share."""

from __future__ import annotations

from trunkline_server.state.limits.where import where


def is_valkey_url(text: str) -> bool:
    """Whether it is the URL of a Valkey or a Redis."""
    try:
        where(text)
    except ValueError:
        return False
    return True
