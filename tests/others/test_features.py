"""Every cell of the conformance table that a server of others is said to prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conformance.expectations import expectations
from conformance.live import cells_of, disprove
from others.proofs import PATHS, prove
from others.servers import NAMES

from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from others.conftest import Addresses

CELLS = [(server, provider, feature) for server in NAMES for provider, feature in cells_of(server)]


@pytest.mark.parametrize(("server", "provider", "feature"), CELLS)
async def test_a_server_of_others_proves_it(
    tmp_path: Path, address_of: Addresses, server: str, provider: str, feature: str
) -> None:
    await prove(server, provider, feature, address_of(server), tmp_path)


def test_every_dialect_talks_to_a_server_of_others() -> None:
    asked = {ROWS[provider].dialect for provider in expectations().fakes}
    assert asked == {row.dialect for row in ROWS.values() if row.dialect}


def test_every_api_of_theirs_is_used() -> None:
    assert {(server, kind) for server, kinds in PATHS.items() for kind in kinds} == {cell[:2] for cell in CELLS}


async def test_what_a_server_does_not_prove_is_told(tmp_path: Path, address_of: Addresses) -> None:
    cells = [("openai", "plain"), ("openai", "parallel tools")]
    assert await disprove("llmock", cells, address_of("llmock"), tmp_path) == [
        "openai, parallel tools: llmock does not prove it: AssertionError"
    ]
