"""Candidates for tests of decisions: what is not said is not known."""

from __future__ import annotations

from typing import Any

from trunkline.v1.call_pb2 import Target
from trunkline_server.routing.candidates import Candidate


def row(id_: str, **known: Any) -> Candidate:
    """A model that can be called."""
    provider, _, model = id_.partition("/")
    nothing: dict[str, Any] = dict.fromkeys(
        ("open_weights", "window", "max_output", "quality", "coding", "reasoning", "speed", "tariff", "effective_price")
    )
    return Candidate(
        id=id_,
        target=Target(provider=provider, model=model),
        provider=provider,
        model=model,
        **{
            "kind": provider,
            "family": "",
            "hindrance": "",
            "local": False,
            "capabilities": frozenset(),
            **nothing,
            **known,
        },
    )
