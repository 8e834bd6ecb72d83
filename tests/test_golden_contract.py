"""The golden messages that all clients share: what was written once can be read for ever, and is written alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2
from matrix.cases import GOLDEN, types

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse

if TYPE_CHECKING:
    from google.protobuf.message import Message

# So that their types are known.
DETAILS = (error_details_pb2.ErrorInfo, status_pb2.Status, call_pb2.CallFailure)


def message_of(name: str) -> Message:
    pool = descriptor_pool.Default()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(types()[name]))()


def test_every_file_is_listed_and_has_both_forms() -> None:
    known = {path.stem for path in GOLDEN.glob("*.json")} - {"types"}
    assert known == types().keys()
    assert {path.stem for path in GOLDEN.glob("*.bin")} == known | {"unknown", "unknown_event"}


@pytest.mark.parametrize("name", types())
def test_both_forms_are_the_same_message(name: str) -> None:
    binary, text = (GOLDEN / f"{name}.bin").read_bytes(), (GOLDEN / f"{name}.json").read_text()
    message, same = message_of(name), message_of(name)
    message.ParseFromString(binary)
    json_format.Parse(text, same)
    assert same == message
    assert same.SerializeToString(deterministic=True) == binary
    assert json.loads(json_format.MessageToJson(message)) == json.loads(text)


def test_every_kind_of_event_is_there() -> None:
    events = StreamGenerateResponse.DESCRIPTOR.oneofs_by_name["event"].fields
    found = {name.removeprefix("event_") for name in types()}
    assert {event.name for event in events} <= found


def test_what_a_newer_gateway_adds_is_kept() -> None:
    binary = (GOLDEN / "unknown.bin").read_bytes()
    response = GenerateResponse.FromString(binary)
    assert response.id == "from-a-newer-gateway"
    assert response.finish_reason == 99
    assert response.message.parts[0].text == "known"
    assert response.SerializeToString() == binary


def test_an_event_of_a_newer_gateway_is_none_that_we_know() -> None:
    event = StreamGenerateResponse.FromString((GOLDEN / "unknown_event.bin").read_bytes())
    assert event.WhichOneof("event") is None
