"""openai_chat against golden files: what a request becomes, and what answers mean, whole and streamed.

A case is a folder: request.json (and quirks.json, of the host) becomes encoded.json (and warnings.json); response.json
and stream.sse both mean answer.json, and stream.sse gives events.json on the way.
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
from trunkline_server.dialects import openai_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trunkline_server.dialects.dialect import Dialect, Encoded

CASES = sorted((Path(__file__).resolve().parents[1] / "golden" / "openai_chat").iterdir())
RESPONSES = [case for case in CASES if (case / "response.json").exists()]
STREAMS = [case for case in CASES if (case / "stream.sse").exists()]

# The module is a Dialect: the type checker holds it.
dialect: Dialect = openai_chat


def load(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def plain(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def encode(case: Path, *, stream: bool) -> Encoded:
    quirks = load(case / "quirks.json", {})
    quirks = {key: frozenset(value) if isinstance(value, list) else value for key, value in quirks.items()}
    quirks |= {"efforts": tuple(load(case / "quirks.json")["efforts"])} if "efforts" in quirks else {}
    request = ParseDict(load(case / "request.json"), GenerateRequest())
    return dialect.encode_request(request, "gpt-4.1-mini", stream=stream, quirks=Quirks(**quirks))


def ordered(value: Any) -> str:
    """JSON in one form, the order of its fields kept."""
    return json.dumps(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_in_the_providers_words(case: Path) -> None:
    encoded = encode(case, stream=False)
    assert ordered(json.loads(encoded.body)) == ordered(load(case / "encoded.json"))
    assert [plain(warning) for warning in encoded.warnings] == load(case / "warnings.json", [])
    assert encoded.path == "/chat/completions"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_streamed_request_asks_for_its_usage(case: Path) -> None:
    streamed, whole = json.loads(encode(case, stream=True).body), json.loads(encode(case, stream=False).body)
    assert streamed == whole | {"stream": True, "stream_options": {"include_usage": True}}


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
def test_a_stream_cut_at_any_byte_is_whole_or_interrupted_and_never_both(case: Path) -> None:
    stream = (case / "stream.sse").read_bytes()
    whole, _ = decoded(dialect.stream_decoder(), [stream])
    # From the finish reason on nothing is missing but the usage.
    finished = stream.rindex(b'"finish_reason":"')
    for end in range(len(stream)):
        events, error = decoded(dialect.stream_decoder(), [stream[:end]])
        if error is not None:
            assert (error.outcome, events) == (OUTCOME_INTERRUPTED, whole[: len(events)])
            assert not any(event.HasField("completed") for event in events)
            assert end < stream.index(b"\n", finished)
        else:
            assert end > finished
            assert events[:-1] == whole[:-1]
            assert events[-1].HasField("completed")
