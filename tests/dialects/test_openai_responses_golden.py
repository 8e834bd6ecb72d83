"""openai_responses against golden files: what a request becomes, and what answers mean, whole and streamed.

A case is a folder: request.json (and quirks.json, of the host, and model.txt) becomes encoded.json (and warnings.json);
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
from trunkline_server.dialects import openai_responses
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trunkline_server.dialects.dialect import Dialect, Encoded

CASES = sorted((Path(__file__).resolve().parents[1] / "golden" / "openai_responses").iterdir())
RESPONSES = [case for case in CASES if (case / "response.json").exists()]
STREAMS = [case for case in CASES if (case / "stream.sse").exists()]
DEFAULT_MODEL = "gpt-5.1"

# The module is a Dialect: the type checker holds it.
dialect: Dialect = openai_responses


def load(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def plain(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def encode(case: Path, *, stream: bool) -> Encoded:
    quirks = load(case / "quirks.json", {})
    if "unsupported" in quirks:
        quirks["unsupported"] = frozenset(quirks["unsupported"])
    named = case / "model.txt"
    model = named.read_text().strip() if named.exists() else DEFAULT_MODEL
    request = ParseDict(load(case / "request.json"), GenerateRequest())
    before = request.SerializeToString(deterministic=True)
    encoded = dialect.encode_request(request, model, stream=stream, quirks=Quirks(**quirks))
    assert request.SerializeToString(deterministic=True) == before
    return encoded


def ordered(value: Any) -> str:
    """JSON in one form, the order of its fields kept."""
    return json.dumps(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_in_the_providers_words(case: Path) -> None:
    encoded = encode(case, stream=False)
    assert ordered(json.loads(encoded.body)) == ordered(load(case / "encoded.json"))
    assert [plain(warning) for warning in encoded.warnings] == load(case / "warnings.json", [])
    assert encoded.path == "/responses"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_streamed_request_says_so(case: Path) -> None:
    streamed, whole = json.loads(encode(case, stream=True).body), json.loads(encode(case, stream=False).body)
    assert streamed == whole | {"stream": True}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_dialect_writes_callers_may_not(case: Path) -> None:
    given = load(case / "request.json").get("provider_options", {}).get("openai_responses", {})
    body = json.loads(encode(case, stream=True).body)
    written = {
        f"{key}.{inner}" if key in {"reasoning", "text"} else key
        for key, value in body.items()
        for inner in (value if isinstance(value, dict) else [""])
        if key not in given or (isinstance(given[key], dict) and inner not in given[key])
    }
    assert written <= openai_responses.WRITTEN | {"store", "include"}


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
    decoder, events = dialect.stream_decoder(), []
    for end in range(len(stream)):
        events += decoder.feed(stream[end : end + 1])
        assert events == whole[: len(events)]
        # Each cut is a stream to be read from its beginning: not all of them are tried.
        if end % 16 == 0 or end > len(stream) - 40:
            check_cut(stream[:end], whole)


def check_cut(stream: bytes, whole: list[Any]) -> None:
    events, error = decoded(dialect.stream_decoder(), [stream])
    if error is None:
        assert events == whole
        # Nothing is missing but the blank line.
        assert stream.rstrip(b"\n").endswith(b"}")
    else:
        assert (error.outcome, events) == (OUTCOME_INTERRUPTED, whole[: len(events)])
        assert not any(event.HasField("completed") for event in events)


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_an_answer_goes_back_as_it_came(case: Path) -> None:
    """The answer as the next request's history: its items stand in the input again."""
    answer = fold(dialect.decode_response((case / "response.json").read_bytes()))
    question = {"role": "ROLE_USER", "parts": [{"text": "Go on."}]}
    request = ParseDict({"messages": [question]}, GenerateRequest())
    request.messages.insert(0, answer.message)
    encoded = dialect.encode_request(request, DEFAULT_MODEL, stream=False, quirks=Quirks())
    sent = [meaning(item) for item in json.loads(encoded.body)["input"][:-1]]
    # Reasoning that led to nothing is refused.
    given = [] if case.name == "incomplete" else load(case / "response.json")["output"]
    assert [said for item in sent for said in item] == [said for item in given for said in meaning(item)]


def meaning(item: Any) -> list[Any]:
    """What an item says, one by one; ids and states of messages and calls mean nothing."""
    if item.get("type") == "function_call":
        return [{key: value for key, value in item.items() if key not in {"id", "status"}}]
    if item.get("type", "message") != "message":
        return [item]
    content = item["content"]
    pieces = [{"type": "output_text", "text": content}] if isinstance(content, str) else content
    more = {"phase": item.get("phase")}
    nothing: Any = {"annotations": [], "logprobs": []}
    return [{**nothing, **piece, "logprobs": []} | more if "text" in piece else piece for piece in pieces]
