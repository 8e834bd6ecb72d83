"""The servers of others, each started once and only where a test asks it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from others.servers import missing, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Addresses = Callable[[str], str]


@pytest.fixture(scope="session")
def address_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """The address of a server by its name."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def address(name: str) -> str:
            if why := missing(name):
                pytest.skip(why)
            if name not in started:
                started[name] = stack.enter_context(running(name, tmp_path_factory.mktemp(name)))
            return started[name]

        yield address
