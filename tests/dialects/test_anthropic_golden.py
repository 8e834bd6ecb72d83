"""anthropic_messages against golden files: what a request becomes, and what answers mean, whole and streamed.

A case is a folder: request.json (and model.json, quirks.json) becomes encoded.json (and warnings.json, headers.json);
response.json and stream.sse both mean answer.json, and stream.sse gives events.json on the way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded
from google.protobuf.json_format import MessageToDict, ParseDict

from trunkline.v1.call_pb2 import OUTCOME_INTERRUPTED
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import anthropic_messages
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trunkline_server.dialects.dialect import Dialect, Encoded

CASES = sorted((Path(__file__).resolve().parents[1] / "golden" / "anthropic_messages").iterdir())
RESPONSES = [case for case in CASES if (case / "response.json").exists()]
STREAMS = [case for case in CASES if (case / "stream.sse").exists()]

# The module is a Dialect: the type checker holds it.
dialect: Dialect = anthropic_messages


def load(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def plain(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def encode(case: Path, *, stream: bool) -> Encoded:
    quirks = load(case / "quirks.json", {})
    if "unsupported" in quirks:
        quirks["unsupported"] = frozenset(quirks["unsupported"])
    request = ParseDict(load(case / "request.json"), GenerateRequest())
    model = load(case / "model.json", "claude-sonnet-4-5")
    return dialect.encode_request(request, model, stream=stream, quirks=Quirks(**quirks))


def ordered(value: Any) -> str:
    """JSON in one form, the order of its fields kept."""
    return json.dumps(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_in_the_providers_words(case: Path) -> None:
    encoded = encode(case, stream=False)
    assert ordered(json.loads(encoded.body)) == ordered(load(case / "encoded.json"))
    assert [plain(warning) for warning in encoded.warnings] == load(case / "warnings.json", [])
    assert encoded.path == "/v1/messages"
    assert encoded.headers == load(case / "headers.json", {"anthropic-version": "2023-06-01"})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_streamed_request_says_so(case: Path) -> None:
    streamed, whole = json.loads(encode(case, stream=True).body), json.loads(encode(case, stream=False).body)
    assert streamed == whole | {"stream": True}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_written_cannot_be_said_by_provider_options(case: Path) -> None:
    options = load(case / "request.json").get("provider_options", {}).get("anthropic_messages", {})
    for name, value in json.loads(encode(case, stream=True).body).items():
        inner = {f"{name}.{key}" for key in value} if isinstance(value, dict) else set()
        assert name in options or name in anthropic_messages.WRITTEN or inner <= anthropic_messages.WRITTEN


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_a_whole_answer(case: Path) -> None:
    assert plain(fold(dialect.decode_response((case / "response.json").read_bytes()))) == load(case / "answer.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_streamed_answer(case: Path) -> None:
    events, error = decoded(dialect.stream_decoder(), [(case / "stream.sse").read_bytes()])
    assert error is None
    assert [plain(event) for event in events] == load(case / "events.json")
    assert plain(fold(events)) == load(case / "answer.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_streamed_answer_byte_by_byte(case: Path) -> None:
    events, error = decoded(dialect.stream_decoder(), bytes_of((case / "stream.sse").read_bytes()))
    assert error is None
    assert [plain(event) for event in events] == load(case / "events.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_stream_cut_at_any_byte_is_interrupted(case: Path) -> None:
    stream = (case / "stream.sse").read_bytes()
    whole, _ = decoded(dialect.stream_decoder(), [stream])
    for end in range(len(stream) - len(b"\n\n")):
        events, error = decoded(dialect.stream_decoder(), [stream[:end]])
        assert error is not None
        assert (error.outcome, events) == (OUTCOME_INTERRUPTED, whole[: len(events)])
        assert not any(event.HasField("completed") for event in events)
    assert decoded(dialect.stream_decoder(), [stream[:-2]]) == (whole, None)


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_an_answer_goes_back_as_it_came(case: Path) -> None:
    """What the model said, put into the next request, is the provider's own content again."""
    content = load(case / "response.json")["content"]
    answer = fold(dialect.decode_response((case / "response.json").read_bytes()))
    request = GenerateRequest(messages=[answer.message])
    request.messages.add(role="ROLE_USER").parts.add(text="Go on")
    encoded = dialect.encode_request(request, "claude-sonnet-4-5", stream=False, quirks=Quirks())
    said = [turn for turn in json.loads(encoded.body)["messages"] if turn["role"] == "assistant"]
    kept = [block for block in content if block.get("text") != ""]
    assert [block for turn in said for block in turn["content"]] == [without_defaults(block) for block in kept]
    assert not encoded.warnings


def without_defaults(block: Any) -> Any:
    default = {"citations": None, "caller": {"type": "direct"}}
    return {name: value for name, value in block.items() if name not in default or value != default[name]}
