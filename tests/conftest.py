"""What every test shares."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

# Shared machines are slow now and then: time is what `make bench` measures.
settings.register_profile("quick", deadline=None, max_examples=50)
# For `make properties`.
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile("quick")


@pytest.fixture(scope="session", autouse=True)
def _data_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gateways that tests start as commands keep their ledger away from the user's."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the gateway itself runs on."""
    return {"uvloop": uvloop.new_event_loop}
