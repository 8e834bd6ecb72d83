from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects.metadata import MAX_BYTES, MAX_DEPTH, Metadata

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "1" + "]" * depth)


def test_a_later_value_replaces_an_earlier_one_and_nothing_says_nothing() -> None:
    metadata = Metadata()
    assert metadata.struct() is None
    values: list[Any] = ["a", "b", None, "", [], {}]
    for value in values:
        metadata.add("x", value)
    assert (metadata.struct(), metadata.left_out) == (struct(x="b"), {})


def struct(**members: Any) -> Struct:
    made = Struct()
    made.update(members)
    return made


@pytest.mark.parametrize("value", [nested(MAX_DEPTH), "x" * (MAX_BYTES - 2), 0, False, (1 << 63) - 1, 0.5])
def test_what_is_kept(value: Any) -> None:
    metadata = Metadata()
    metadata.add("x", value)
    assert metadata.struct() == struct(x=value)


@pytest.mark.parametrize(
    "value",
    [nested(MAX_DEPTH + 1), nested(90), "x" * (MAX_BYTES - 1), 10**400, [-(10**30)], float("inf"), float("nan")],
)
def test_what_is_left_out(value: Any) -> None:
    metadata = Metadata()
    for _ in range(2):
        metadata.add("x", value)
    assert (metadata.struct(), list(metadata.left_out)) == (None, ["x"])


@given(JSON)
def test_whatever_is_kept_can_be_sent_and_shown(value: Any) -> None:
    metadata = Metadata()
    metadata.add("x", value)
    if kept := metadata.struct():
        assert Struct.FromString(kept.SerializeToString()) == kept
        MessageToDict(kept)
