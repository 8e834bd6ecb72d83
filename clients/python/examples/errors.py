"""See why a call failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_client import TrunklineError

if TYPE_CHECKING:
    from trunkline_client import Client


def fail(client: Client, model: str, **settings: float) -> TrunklineError:
    """The error of a call that fails: its code, reason, retry_delay and field_violations."""
    try:
        client.generate("Say hello", model=model, timeout=10, **settings)  # type: ignore[arg-type]
    except TrunklineError as error:
        return error
    raise AssertionError("the call went well")
