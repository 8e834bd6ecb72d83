from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import pytest
import yaml

from trunkline.v1.gateway_service_pb2 import GenerationConfig
from trunkline_server import config
from trunkline_server.providers.table import ROWS, SCRIPTS, Row
from trunkline_server.routing.catalogue import build_offers

if TYPE_CHECKING:
    from pathlib import Path

EACH = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())


@EACH
def test_a_row_is_consistent(row: Row) -> None:
    assert ROWS[row.name] is row
    assert re.fullmatch(r"[a-z0-9_]+", row.name), "what a user may write as kind and as a provider's name"
    assert not row.models or row.default_model in row.models
    assert len(set(row.models)) == len(row.models)
    assert row.dialect or (not row.base_url and row.auth == "none"), "what is not asked over HTTP needs no address"
    assert row.open or row.models, "a closed provider without models has nothing to offer"
    assert row.auth != "none" or not (row.key_required or row.key_env)
    assert not row.base_url or re.fullmatch(r"https://[^/]+(/.+)?(?<!/)", row.base_url)
    assert row.quirks.unsupported <= set(GenerationConfig.DESCRIPTOR.fields_by_name)


@EACH
def test_a_key_that_is_missed_can_come_from_the_environment(row: Row) -> None:
    assert not row.key_required or row.key_env


@EACH
def test_a_row_cannot_be_changed(row: Row) -> None:
    with pytest.raises(FrozenInstanceError):
        row.name = "other"  # type: ignore[misc]


def test_environment_variables_are_named_like_those_and_belong_to_one_row() -> None:
    names = [
        name
        for row in ROWS.values()
        for name in (row.key_env, row.base_url_env, row.model_env, row.organization_env)
        if name
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in names)


def test_openai_and_servers_like_it() -> None:
    openai, compatible = ROWS["openai"], ROWS["openai_compatible"]
    assert (openai.base_url, openai.auth, openai.key_required) == ("https://api.openai.com/v1", "bearer", True)
    assert openai.quirks.unsupported == {"top_k"}
    assert openai.quirks.max_tokens_field == "max_completion_tokens"
    assert (compatible.base_url, compatible.auth, compatible.key_required) == ("", "bearer", False)
    assert compatible.quirks.unsupported == set()
    assert compatible.quirks.max_tokens_field == "max_tokens"


def test_the_built_in_providers_come_last_in_the_order_of_preference() -> None:
    built_in = [row.built_in for row in ROWS.values()]
    assert [name for name in built_in if name] == built_in[-2:] == ["embedded", "mock"]


def test_the_mock_has_a_script_for_each_of_its_models() -> None:
    assert ROWS["scripted"].models == tuple(SCRIPTS)


@EACH
def test_every_row_can_be_configured_under_a_name_of_its_own(row: Row, tmp_path: Path) -> None:
    needed = {"kind": row.name}
    if row.dialect and not row.base_url:
        needed["base_url"] = "https://example.test/v1"
    if not row.default_model:
        needed["default_model"] = "m"
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump({"providers": {"mine": needed}, "default_model": "mine"}))
    settings = config.load(path, {row.key_env: "k"} if row.key_env else {})
    offer = build_offers(settings, ROWS, {})["mine"]
    assert offer.unavailable_reason == ""
    assert offer.default_model == (row.default_model or "m")


@EACH
def test_a_row_with_a_key_needs_no_file(row: Row) -> None:
    settings = config.load(None, {row.key_env: "k"} if row.key_env else {})
    assert (row.name in settings.providers) == bool(row.key_env or row.built_in == row.name)
