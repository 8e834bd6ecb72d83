"""cohere_chat against golden files: what a request becomes, and what answers mean, whole and streamed.

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
from grammar import check_grammar

from trunkline.v1.call_pb2 import OUTCOME_INTERRUPTED
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import cohere_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import InvalidRequest
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trunkline_server.dialects.dialect import Dialect, Encoded

CASES = sorted((Path(__file__).resolve().parents[1] / "golden" / "cohere_chat").iterdir())
RESPONSES = [case for case in CASES if (case / "response.json").exists()]
STREAMS = [case for case in CASES if (case / "stream.sse").exists()]

# The module is a Dialect: the type checker holds it.
dialect: Dialect = cohere_chat


def load(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def plain(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def encode(case: Path, *, stream: bool) -> Encoded:
    quirks = load(case / "quirks.json", {})
    if "unsupported" in quirks:
        quirks["unsupported"] = frozenset(quirks["unsupported"])
    request = ParseDict(load(case / "request.json"), GenerateRequest())
    return dialect.encode_request(request, "command-a-03-2025", stream=stream, quirks=Quirks(**quirks))


def ordered(value: Any) -> str:
    """JSON in one form, the order of its fields kept."""
    return json.dumps(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_in_the_providers_words(case: Path) -> None:
    encoded = encode(case, stream=False)
    assert ordered(json.loads(encoded.body)) == ordered(load(case / "encoded.json"))
    assert [plain(warning) for warning in encoded.warnings] == load(case / "warnings.json", [])
    assert encoded.path == "/v2/chat"
    assert not encoded.headers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_streamed_request_says_so(case: Path) -> None:
    streamed, whole = json.loads(encode(case, stream=True).body), json.loads(encode(case, stream=False).body)
    assert streamed == whole | {"stream": True}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_request_may_say_cannot_be_said_in_provider_options(case: Path) -> None:
    options = load(case / "request.json").get("provider_options", {}).get("cohere_chat", {})
    said = json.loads(encode(case, stream=True).body)
    for key in [*names(said, options)]:
        assert key in cohere_chat.WRITTEN
        outer, _, inner = key.partition(".")
        request = GenerateRequest()
        request.messages.add(role="ROLE_USER").parts.add(text="Hello.")
        request.provider_options["cohere_chat"].update({outer: {inner: 1} if inner else 1})
        with pytest.raises(InvalidRequest) as caught:
            dialect.encode_request(request, "command-a-03-2025", stream=False, quirks=Quirks())
        assert [violation.field for violation in caught.value.violations] == [f"provider_options.cohere_chat.{key}"]


def names(body: Any, options: Any) -> list[str]:
    """Keys of the body that are not the caller's own."""
    return [key for key in body if key not in options]


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_a_whole_answer(case: Path) -> None:
    events = dialect.decode_response((case / "response.json").read_bytes())
    check_grammar(events)
    assert plain(fold(events)) == load(case / "answer.json")


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_streamed_answer(case: Path) -> None:
    events, error = decoded(dialect.stream_decoder(), [(case / "stream.sse").read_bytes()])
    assert error is None
    check_grammar(events)
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
    # The end of what message-end says.
    told = stream.index(b"\n", stream.index(b"data: ", stream.rindex(b"event: message-end")))
    for end in range(len(stream)):
        events, error = decoded(dialect.stream_decoder(), [stream[:end]])
        if error is None:
            assert events == whole
        else:
            assert (error.outcome, events) == (OUTCOME_INTERRUPTED, whole[: len(events)])
            assert not any(event.HasField("completed") for event in events)
        assert (error is None) == (end >= told)
