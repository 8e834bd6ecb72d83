"""Beginnings of prompts: told apart by a hash, remembered for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.routing.prefix import MOST as HASHED
from trunkline_server.routing.prefix import prefix_key
from trunkline_server.state.signals.affinity import MOST, TTL, Affinity, Warm

TARGET = call_pb2.Target(provider="p", model="m")
USER, ASSISTANT = content_pb2.ROLE_USER, content_pb2.ROLE_ASSISTANT


def said(role: content_pb2.Role.ValueType, text: str) -> content_pb2.Message:
    return content_pb2.Message(role=role, parts=[content_pb2.Part(text=text)])


def asked(**changes: object) -> pb.GenerateRequest:
    tool = content_pb2.Tool(function=content_pb2.FunctionTool(name="look"))
    values = {"model": "m", "system_instruction": "be brief", "tools": [tool], "messages": [said(USER, "hi")]}
    return pb.GenerateRequest(**values | changes)  # type: ignore[arg-type]


def test_a_conversation_that_goes_on_begins_alike() -> None:
    longer = asked(messages=[said(USER, "hi"), said(ASSISTANT, "hello"), said(USER, "and now?")])
    assert prefix_key("w", asked()) == prefix_key("w", longer)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "n"},
        {"system_instruction": "be long"},
        {"tools": []},
        {"messages": [said(USER, "ho")]},
        {"prompt": "x"},
    ],
)
def test_whatever_is_read_first_tells_calls_apart(changes: dict[str, object]) -> None:
    assert prefix_key("w", asked(**changes)) != prefix_key("w", asked())
    assert prefix_key("v", asked()) != prefix_key("w", asked())


@given(st.lists(st.text(max_size=4), min_size=2, max_size=2), st.lists(st.text(max_size=4), min_size=2, max_size=2))
def test_pieces_do_not_run_together(one: list[str], other: list[str]) -> None:
    keys = [prefix_key("w", pb.GenerateRequest(model=a, system_instruction=b)) for a, b in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_of_long_pieces_only_the_beginning_and_the_length_are_looked_at() -> None:
    keys = [prefix_key("w", pb.GenerateRequest(prompt="x" * HASHED + rest)) for rest in ("a", "b", "ab")]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.affinity = Affinity(lambda: self.now)

    def find(self, key: bytes = b"k", *blocked: str) -> Warm | None:
        return self.affinity.find(key, lambda provider: provider in blocked)


def test_it_is_remembered_from_the_last_time_on() -> None:
    world = World()
    assert world.find() is None
    world.affinity.read_by(b"k", TARGET, 700)
    world.now += TTL - 1
    assert world.find() == Warm("p", "m", 700)
    world.affinity.read_by(b"k", TARGET, 900)
    world.now += TTL - 1
    assert world.find() == Warm("p", "m", 900)
    world.now += 1
    assert world.find() is None
    assert not world.affinity._known


def test_a_blocked_provider_is_forgotten_for_good() -> None:
    world = World()
    world.affinity.read_by(b"k", TARGET, 700)
    assert world.find(b"k", "q") is not None
    assert world.find(b"k", "p") is None
    assert world.find() is None


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    world = World()
    for number in range(MOST + 100):
        world.affinity.read_by(str(number).encode(), TARGET, 1)
        world.affinity.read_by(b"0", TARGET, 1)
    assert len(world.affinity._known) == MOST
    assert world.find(b"0") is not None
    assert world.find(b"1") is None
