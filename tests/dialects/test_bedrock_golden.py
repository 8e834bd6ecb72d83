"""bedrock_converse against golden files: what a request becomes, and what answers mean, whole and streamed.

A case is a folder: request.json (and model.json, quirks.json) becomes encoded.json (and warnings.json); response.json
and stream.jsonl both mean answer.json, and stream.jsonl, each line of it framed, gives events.json on the way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded
from event_streams import stream
from google.protobuf.json_format import MessageToDict, ParseDict

from trunkline.v1.call_pb2 import OUTCOME_INTERRUPTED
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import bedrock_converse
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trunkline_server.dialects.dialect import Dialect, Encoded

CASES = sorted((Path(__file__).resolve().parents[1] / "golden" / "bedrock_converse").iterdir())
RESPONSES = [case for case in CASES if (case / "response.json").exists()]
STREAMS = [case for case in CASES if (case / "stream.jsonl").exists()]
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
WRITTEN = bedrock_converse.WRITTEN | bedrock_converse.WRITTEN_FOR_CLAUDE

# The module is a Dialect: the type checker holds it.
dialect: Dialect = bedrock_converse


def load(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def plain(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def encode(case: Path, *, stream: bool) -> Encoded:
    quirks = load(case / "quirks.json", {})
    if "unsupported" in quirks:
        quirks["unsupported"] = frozenset(quirks["unsupported"])
    request = ParseDict(load(case / "request.json"), GenerateRequest())
    return dialect.encode_request(request, load(case / "model.json", MODEL), stream=stream, quirks=Quirks(**quirks))


def framed(case: Path) -> bytes:
    return stream(map(json.loads, (case / "stream.jsonl").read_text().splitlines()))


def ordered(value: Any) -> str:
    """JSON in one form, the order of its fields kept."""
    return json.dumps(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_in_the_providers_words(case: Path) -> None:
    encoded = encode(case, stream=False)
    assert ordered(json.loads(encoded.body)) == ordered(load(case / "encoded.json"))
    assert [plain(warning) for warning in encoded.warnings] == load(case / "warnings.json", [])
    assert encoded.path.endswith("/converse")
    assert encoded.headers == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_streamed_request_goes_elsewhere_and_says_the_same(case: Path) -> None:
    streamed, whole = encode(case, stream=True), encode(case, stream=False)
    assert (streamed.body, streamed.warnings) == (whole.body, whole.warnings)
    assert streamed.path == whole.path + "-stream"
    assert streamed.headers == {"accept": "application/vnd.amazon.eventstream"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_written_cannot_be_said_by_provider_options(case: Path) -> None:
    options = load(case / "request.json").get("provider_options", {}).get("bedrock_converse", {})
    for name, value in json.loads(encode(case, stream=True).body).items():
        inner = {f"{name}.{key}" for key in value} if isinstance(value, dict) else set()
        assert name in options or name in WRITTEN or inner <= WRITTEN


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_a_whole_answer(case: Path) -> None:
    assert plain(fold(dialect.decode_response((case / "response.json").read_bytes()))) == load(case / "answer.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_streamed_answer(case: Path) -> None:
    events, error = decoded(dialect.stream_decoder(), [framed(case)])
    assert error is None
    assert [plain(event) for event in events] == load(case / "events.json")
    assert plain(fold(events)) == load(case / "answer.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_streamed_answer_byte_by_byte(case: Path) -> None:
    events, error = decoded(dialect.stream_decoder(), bytes_of(framed(case)))
    assert error is None
    assert [plain(event) for event in events] == load(case / "events.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_stream_cut_at_any_byte_is_interrupted(case: Path) -> None:
    body = framed(case)
    whole, _ = decoded(dialect.stream_decoder(), [body])
    for end in range(len(body)):
        events, error = decoded(dialect.stream_decoder(), [body[:end]])
        assert error is not None
        assert (error.outcome, events) == (OUTCOME_INTERRUPTED, whole[: len(events)])
        assert not any(event.HasField("completed") for event in events)


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_an_answer_goes_back_as_it_came(case: Path) -> None:
    """What the model said, put into the next request, is the provider's own content again."""
    content = load(case / "response.json")["output"]["message"]["content"]
    if case.name == "an_image":
        pytest.skip("the provider takes media from users only")
    answer = fold(dialect.decode_response((case / "response.json").read_bytes()))
    request = GenerateRequest(messages=[answer.message])
    request.messages.add(role="ROLE_USER").parts.add(text="Go on")
    encoded = dialect.encode_request(request, load(case / "model.json", MODEL), stream=False, quirks=Quirks())
    said = [turn for turn in json.loads(encoded.body)["messages"] if turn["role"] == "assistant"]
    assert [block for turn in said for block in turn["content"]] == [in_one_form(block) for block in content]
    assert {warning.field for warning in encoded.warnings} <= {"tools"}


def in_one_form(block: Any) -> Any:
    """What may be said in two ways, said in one."""
    if block.get("toolUse", {}).get("type") == "tool_use":
        return {"toolUse": {name: value for name, value in block["toolUse"].items() if name != "type"}}
    if "citationsContent" in block:
        cited = block["citationsContent"]
        text = "".join(piece["text"] for piece in cited["content"])
        return {"citationsContent": {"content": [{"text": text}], "citations": cited["citations"]}}
    return block
