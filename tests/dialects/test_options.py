"""provider_options: what callers may add to the body, and what they may not."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects.options import merge_options
from trunkline_server.errors import InvalidRequest

WRITTEN = frozenset({"model", "config.seed"})


def merged(options: Any, body: dict[str, Any]) -> dict[str, Any]:
    request = ParseDict({"provider_options": options}, GenerateRequest())
    merge_options(body, request, "mine", WRITTEN)
    return body


def test_the_dialects_own_options_are_merged_and_no_others() -> None:
    assert merged({"mine": {"user": "u", "n": None}, "other": {"x": 1}}, {"model": "m"}) == {
        "model": "m",
        "user": "u",
        "n": None,
    }
    assert merged({}, {"model": "m"}) == {"model": "m"}


def test_whole_numbers_are_sent_as_integers_at_any_depth() -> None:
    body = merged({"mine": {"a": 3.0, "b": [1, 0.5, {"c": -2.0}], "d": True}}, {})
    assert repr(body) == repr({"a": 3, "b": [1, 0.5, {"c": -2}], "d": True})


def test_an_object_that_the_dialect_writes_into_is_merged_key_by_key() -> None:
    assert merged({"mine": {"config": {"speed": 2}}}, {"config": {"seed": 1}}) == {"config": {"seed": 1, "speed": 2}}
    assert merged({"mine": {"config": {"speed": 2}}}, {}) == {"config": {"speed": 2}}


def test_what_the_dialect_writes_is_refused_all_at_once() -> None:
    body: dict[str, Any] = {"model": "m"}
    with pytest.raises(InvalidRequest) as caught:
        merged({"mine": {"model": "x", "config": {"seed": 1, "speed": 2}, "user": "u"}}, body)
    assert [violation.field for violation in caught.value.violations] == [
        "provider_options.mine.config.seed",
        "provider_options.mine.model",
    ]
    assert body == {"model": "m"}


def test_an_object_cannot_be_replaced_by_something_else() -> None:
    with pytest.raises(InvalidRequest, match=r"provider_options\.mine\.config"):
        merged({"mine": {"config": "none"}}, {"config": {"seed": 1}})
