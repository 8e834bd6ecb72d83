"""Keys that the configuration names, and whether there are such keys: a mistyped one would limit nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.errors import KeysUnavailable
from trunkline_server.settings.budgets import EACH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.logs import Log
    from trunkline_server.settings import Settings
    from trunkline_server.state.identity.store import KeyStore


async def warn_of_unknown_keys(settings: Settings, store: KeyStore, log: Log) -> None:
    """Warn of each that was never made. One that is made later is found then; nothing is said if nobody can look."""
    certified = settings.server.tls.clients if settings.server.tls else {}
    try:
        for where, key in _named(settings):
            if key not in certified and await store.find(key) is None:
                log.warning(
                    "no_such_key", where=where, key=key, remedy="say an id of `trunkline keys list`, or make it"
                )
    except KeysUnavailable:
        return


def _named(settings: Settings) -> Iterator[tuple[str, str]]:
    """Where the configuration names a key, and which."""
    for name, budget in settings.budgets.items():
        if budget.key not in {"", EACH}:
            yield f"budgets.{name}.key", budget.key
    for key in settings.caller_limits.keys:
        yield f"caller_limits.keys.{key}", key
