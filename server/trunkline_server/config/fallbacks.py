"""What is wrong with the configured fallbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from trunkline_server.config.check import Problem, is_name, join
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.names import LONGEST, is_known, remedy
from trunkline_server.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings

A_NAME = f"a name that callers say, of 1 to {LONGEST} printable characters"


def fallback_problems(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """Everything that is wrong with them. They may mean what is switched off for now."""
    everybody = {name: structs.replace(provider, enabled=True) for name, provider in settings.providers.items()}
    configured = structs.replace(settings, providers=everybody)
    snapshot = Snapshot("", configured, build_offers(configured, rows, {}))
    for section, fallbacks in (("fallbacks", settings.fallbacks), ("context_fallbacks", settings.context_fallbacks)):
        for name, others in fallbacks.items():
            path = join(section, name)
            if not is_name(name):
                yield Problem(path, A_NAME)
            for index, other in enumerate(others):
                if not is_known(snapshot, other):
                    yield Problem(f"{path}[{index}]", f"the name of a model; {remedy(snapshot, other)}")
