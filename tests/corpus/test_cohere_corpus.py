"""Recorded traffic of Cohere's chat API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance.requests_cohere_chat import meaning, request_of
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects import cohere_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]

# What the errors mean: of answers with an error status, and inside of streams.
ERRORS = {
    "cohere-error-http400-d5072c": call_pb2.OUTCOME_CONTEXT_LENGTH,
    "cohere-error-http401-9d4f01": call_pb2.OUTCOME_AUTH,
}
EMBEDDED = {"cohere-stream-errorinstream-b0f7a8": (call_pb2.OUTCOME_SERVER_ERROR, "INVALID_TOOL_GENERATION")}
FINISH = {
    "COMPLETE": content_pb2.FINISH_REASON_STOP,
    "MAX_TOKENS": content_pb2.FINISH_REASON_MAX_TOKENS,
    "STOP_SEQUENCE": content_pb2.FINISH_REASON_STOP_SEQUENCE,
    "TOOL_CALL": content_pb2.FINISH_REASON_TOOL_CALLS,
}


def recordings(*kinds: str) -> list[Any]:
    """All of these kinds, in the index's words. At least the empty one, so that a skip is seen."""
    if not CORPUS.is_dir():
        return [pytest.param(Path(), id="none")]
    index = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    return [
        pytest.param(CORPUS / provider / f"{name}.json", id=name)
        for name, provider, api, kind, *_ in index
        if api == "cohere2" and kind in kinds
    ]


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def body_of(response: Any) -> bytes:
    body = response["body"]
    return (body if response["body_encoding"] == "text" else json.dumps(body)).encode()


def answer_of(response: Any) -> Any:
    """The whole answer; a stream's is put together as the documentation says."""
    if response["body_encoding"] == "json":
        return response["body"]
    answer: Any = {}
    message: Any = {"content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    for line in response["body"].splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            answer |= {"id": event["id"]} if event["type"] == "message-start" else {}
            answer |= event["delta"] if event["type"] == "message-end" else {}
            grow(message, event)
    return answer | {"message": message}


def grow(message: Any, event: Any) -> None:
    said = event.get("delta", {}).get("message", {})
    match event["type"]:
        case "content-start":
            message["content"].append(said["content"])
        case "content-delta":
            for name, piece in said["content"].items():
                message["content"][event["index"]][name] += piece
        case "tool-plan-delta":
            message["tool_plan"] += said["tool_plan"]
        case "tool-call-start":
            message["tool_calls"].append(said["tool_calls"])
        case "tool-call-delta":
            function = message["tool_calls"][event["index"]]["function"]
            function["arguments"] += said["tool_calls"]["function"]["arguments"]
        case "citation-start":
            message["citations"].append(said["citations"])


def check(response: Any, answer: pb.GenerateResponse) -> None:
    """The answer says what the recording does."""
    told = answer_of(response)
    parts = list(answer.message.parts)
    message = told["message"]
    if message.get("tool_plan"):
        plan = parts.pop(0)
        assert plan.reasoning.text == message["tool_plan"]
        assert (plan.provider_state.format, plan.provider_state.data) == ("cohere.tool_plan", message["tool_plan"])
    contents = [parts.pop(0) for _ in message.get("content", [])]
    for part, content in zip(contents, message.get("content", []), strict=True):
        assert (part.text, part.reasoning.text) == (content.get("text", ""), content.get("thinking", ""))
    check_citations(contents, message.get("citations", []))
    calls = [(part.tool_call.id, part.tool_call.name, part.tool_call.arguments_json) for part in parts]
    assert calls == [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])
    ]
    assert answer.provider_finish_reason == told["finish_reason"]
    assert answer.finish_reason == FINISH[told["finish_reason"]]
    assert answer.served.provider_response_id == told["id"]
    check_usage(told["usage"], answer.usage)
    assert not answer.warnings


def check_citations(contents: list[content_pb2.Part], told: list[Any]) -> None:
    expected: dict[int, list[tuple[Any, ...]]] = {}
    for citation in told:
        texts = [place for place, part in enumerate(contents) if part.HasField("text")]
        place = citation.get("content_index", texts[0] if texts else 0)
        # The indices count code points of the text that they stand at.
        assert contents[place].text[citation["start"] : citation["end"]] == citation["text"]
        for source in citation["sources"]:
            title = source.get("document", {}).get("title", "")
            expected.setdefault(place, []).append((citation["start"], citation["end"], source["id"], title))
    for place, part in enumerate(contents):
        found = [(each.start_index, each.end_index, each.source_id, each.title) for each in part.citations]
        assert found == expected.get(place, [])


def check_usage(told: Any, usage: call_pb2.Usage) -> None:
    tokens = told["tokens"]
    assert (usage.input_tokens, usage.output_tokens) == (tokens["input_tokens"], tokens["output_tokens"])
    assert usage.cache_read_input_tokens == told["cached_tokens"] <= usage.input_tokens
    thoughts = tokens.get("reasoning_tokens")
    assert (usage.reasoning_output_tokens if usage.HasField("reasoning_output_tokens") else None) == thoughts
    assert usage.reasoning_output_tokens <= usage.output_tokens
    assert not usage.HasField("cache_write_input_tokens")
    assert dict(usage.other_units) == {f"billed_{name}": units for name, units in told["billed_units"].items()}


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path) -> None:
    response = load(path)["response"]
    check(response, fold(cohere_chat.decode_response(body_of(response))))


@pytest.mark.parametrize("path", [param for param in recordings("stream") if param.id not in EMBEDDED])
def test_a_streamed_answer(path: Path) -> None:
    response = load(path)["response"]
    events, error = decoded(cohere_chat.stream_decoder(), [body_of(response)])
    assert error is None
    check(response, fold(events))
    assert fold(events) == fold(cohere_chat.decode_response(json.dumps(answer_of(response)).encode()))


@pytest.mark.parametrize("path", [param for param in recordings("stream") if param.id in EMBEDDED])
def test_an_error_inside_an_answer(path: Path, request: pytest.FixtureRequest) -> None:
    response = load(path)["response"]
    events, error = decoded(cohere_chat.stream_decoder(), [body_of(response)])
    assert error is not None
    assert (error.outcome, error.code) == EMBEDDED[request.node.callspec.id]
    assert "invalid tool generation" in error.message
    assert "".join(event.part_delta.reasoning_text for event in events).endswith("relevant tables.")
    with pytest.raises(UpstreamError) as caught:
        cohere_chat.decode_response(json.dumps(answer_of(response)).encode())
    assert (caught.value.outcome, caught.value.code) == (error.outcome, error.code)


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_however_it_is_cut(path: Path) -> None:
    response = load(path)["response"]
    body = body_of(response)
    events, error = decoded(cohere_chat.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        again, failure = decoded(cohere_chat.stream_decoder(), pieces)
        assert again == events
        assert (failure and failure.code) == (error and error.code)


def cuts(body: bytes, read_lengths: list[int]) -> Iterator[list[bytes]]:
    """The body as the recorder read it, byte by byte, and in random pieces."""
    yield from ([pieces] if (pieces := lengths_of(body, read_lengths)) else [])
    yield bytes_of(body)
    dice = random.Random(len(body))
    yield lengths_of(body, [dice.randint(1, 400) for _ in body])


def lengths_of(body: bytes, lengths: list[int]) -> list[bytes]:
    pieces = []
    for length in lengths:
        pieces.append(body[:length])
        body = body[length:]
    assert not body or not lengths
    return [piece for piece in pieces if piece]


@pytest.mark.parametrize("path", recordings("error"))
def test_an_error(path: Path, request: pytest.FixtureRequest) -> None:
    response = load(path)["response"]
    error = cohere_chat.decode_error(response["status"], response["headers"], body_of(response))
    assert error.outcome == ERRORS[request.node.callspec.id]
    assert (error.status, error.code) == (response["status"], response["body"].get("error_type", ""))
    assert error.message
    assert error.retry_after is None


def test_every_error_of_the_index_is_in_the_table() -> None:
    assert {param.id for param in recordings("error")} == ERRORS.keys()


# --- what was asked, said in the contract and back --------------------------------------------------------------------


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_said_in_the_contract_and_back(path: Path) -> None:
    asked = load(path)["request"]["body"]
    if asked is None:
        pytest.skip("the recording has no request")
    encoded = cohere_chat.encode_request(
        request_of(asked), asked["model"], stream=bool(asked.get("stream")), quirks=Quirks()
    )
    assert meaning(json.loads(encoded.body)) == meaning(asked)
    assert not encoded.warnings
    assert encoded.path == "/v2/chat"
