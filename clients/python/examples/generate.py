"""Ask, and wait for the whole answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline_client import Answer, Client


def generate(client: Client, model: str) -> Answer:
    """The answer, and what it used."""
    return client.generate("Say hello", model=model, max_output_tokens=100, timeout=10)
