"""Recorded traffic of Anthropic's Messages API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance.requests_anthropic_messages import meaning, request_of
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects import anthropic_messages
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


def recordings(*kinds: str) -> list[Any]:
    """All of these kinds, as the index has them. At least the empty one, so that a skip is seen."""
    if not CORPUS.is_dir():
        return [pytest.param(Path(), id="none")]
    index = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    return [
        pytest.param(CORPUS / provider / f"{name}.json", id=name)
        for name, provider, api, kind, *_ in index
        if api == "messages" and kind in kinds
    ]


# What the error bodies mean.
ERRORS = {
    "anthropic-error-http400-a0b4a4": call_pb2.OUTCOME_INVALID,
    "anthropic-error-http401-vision-b58fd5": call_pb2.OUTCOME_AUTH,
    "anthropic-error-http404-fb6817": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    # Larger than the limit of a minute, and "x-should-retry: false": no wait will help.
    "anthropic-error-http429-d34f03": call_pb2.OUTCOME_QUOTA,
}
FINISH = {
    "end_turn": content_pb2.FINISH_REASON_STOP,
    "max_tokens": content_pb2.FINISH_REASON_MAX_TOKENS,
    "stop_sequence": content_pb2.FINISH_REASON_STOP_SEQUENCE,
    "tool_use": content_pb2.FINISH_REASON_TOOL_CALLS,
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def body_of(response: Any) -> bytes:
    body = response["body"]
    return (body if response["body_encoding"] == "text" else json.dumps(body)).encode()


def message_of(response: Any) -> Any:
    """The message of an answer; a stream's is put together as the documentation says."""
    if response["body_encoding"] == "json":
        return response["body"]
    message: Any = {}
    blocks: dict[int, Any] = {}
    for line in response["body"].splitlines():
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                blocks[event["index"]] = event["content_block"] | {"json": ""}
            case "content_block_delta":
                grow(blocks[event["index"]], event["delta"])
            case "message_delta":
                more = event["delta"] | {"context_management": event.get("context_management")}
                message |= {name: value for name, value in more.items() if value is not None}
                message["usage"] |= {name: value for name, value in event["usage"].items() if value is not None}
    for block in blocks.values():
        pieces = block.pop("json")
        if pieces:
            block["input"] = json.loads(pieces)
    return message | {"content": list(blocks.values())}


def grow(block: Any, delta: Any) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block["json"] += delta["partial_json"]
        case "citations_delta":
            block["citations"].append(delta["citation"])


def check(response: Any, answer: pb.GenerateResponse) -> None:
    """The answer says what the recording does."""
    message = message_of(response)
    assert len(answer.message.parts) == len(message["content"])
    for part, block in zip(answer.message.parts, message["content"], strict=True):
        check_part(part, block)
    assert answer.provider_finish_reason == message["stop_reason"]
    assert answer.finish_reason == FINISH[message["stop_reason"]]
    assert answer.stop_sequence == (message["stop_sequence"] or "")
    assert answer.served.provider_response_id == message["id"]
    assert answer.provider_metadata["model"] == message["model"]
    check_usage(message["usage"], answer.usage)
    assert not answer.warnings


def check_part(part: content_pb2.Part, block: Any) -> None:
    match block["type"]:
        case "text":
            assert part.text == block["text"]
            said = [json.loads(citation.provider_state.data) for citation in part.citations]
            assert said == (block.get("citations") or [])
            assert [citation.cited_text for citation in part.citations] == [each["cited_text"] for each in said]
            assert [citation.uri for citation in part.citations] == [each["url"] for each in said]
        case "thinking":
            assert part.reasoning.text == block["thinking"]
            assert (part.provider_state.format, part.provider_state.data) == (
                "anthropic.signature",
                block["signature"],
            )
        case "redacted_thinking":
            assert part.reasoning.redacted
            assert (part.provider_state.format, part.provider_state.data) == (
                "anthropic.redacted_thinking",
                block["data"],
            )
        case "tool_use":
            assert (part.tool_call.id, part.tool_call.name) == (block["id"], block["name"])
            assert json.loads(part.tool_call.arguments_json) == block["input"]
        case kind:
            assert (part.provider_part.dialect, part.provider_part.type) == ("anthropic_messages", kind)
            assert json.loads(part.provider_part.json) == block


def check_usage(told: Any, usage: call_pb2.Usage) -> None:
    read, written = told["cache_read_input_tokens"], told["cache_creation_input_tokens"]
    assert usage.input_tokens == told["input_tokens"] + read + written
    assert usage.output_tokens == told["output_tokens"]
    assert (usage.cache_read_input_tokens, usage.cache_write_input_tokens) == (read, written)
    thoughts = told.get("output_tokens_details", {}).get("thinking_tokens")
    assert (usage.reasoning_output_tokens if usage.HasField("reasoning_output_tokens") else None) == thoughts
    assert dict(usage.other_units) == told.get("server_tool_use", {}) | told.get("cache_creation", {})


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path) -> None:
    response = load(path)["response"]
    check(response, fold(anthropic_messages.decode_response(body_of(response))))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer(path: Path) -> None:
    response = load(path)["response"]
    events, error = decoded(anthropic_messages.stream_decoder(), [body_of(response)])
    assert error is None
    check(response, fold(events))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_and_the_same_answer_whole(path: Path) -> None:
    response = load(path)["response"]
    events, _ = decoded(anthropic_messages.stream_decoder(), [body_of(response)])
    whole = fold(anthropic_messages.decode_response(json.dumps(message_of(response)).encode()))
    assert as_objects(fold(events)) == as_objects(whole)


def as_objects(answer: pb.GenerateResponse) -> pb.GenerateResponse:
    """JSON texts in one form: a stream has the model's own white space in them, a whole answer has not."""
    for part in answer.message.parts:
        if part.HasField("tool_call"):
            part.tool_call.arguments_json = in_one_form(part.tool_call.arguments_json)
        elif part.HasField("provider_part"):
            part.provider_part.json = in_one_form(part.provider_part.json)
        for citation in part.citations:
            citation.provider_state.data = in_one_form(citation.provider_state.data)
    return answer


def in_one_form(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_however_it_is_cut(path: Path) -> None:
    response = load(path)["response"]
    body = body_of(response)
    whole = decoded(anthropic_messages.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        assert decoded(anthropic_messages.stream_decoder(), pieces) == whole


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


@pytest.mark.parametrize("path", recordings("chat", "stream"))
def test_an_answer_goes_back_as_it_came(path: Path) -> None:
    """What the model said is, in the next request, the provider's own content again: signatures, citations and all."""
    message = message_of(load(path)["response"])
    answer = fold(anthropic_messages.decode_response(json.dumps(message).encode()))
    request = pb.GenerateRequest(messages=[answer.message])
    request.messages.add(role=content_pb2.ROLE_USER).parts.add(text="Go on")
    encoded = anthropic_messages.encode_request(request, message["model"], stream=False, quirks=Quirks())
    turns = [turn["content"] for turn in json.loads(encoded.body)["messages"] if turn["role"] == "assistant"]
    assert turns == ([[without_default_caller(block) for block in message["content"]]] if message["content"] else [])
    assert not encoded.warnings


def without_default_caller(block: Any) -> Any:
    return {name: value for name, value in block.items() if value != {"type": "direct"}}


@pytest.mark.parametrize("path", recordings("chat", "stream"))
def test_a_mutated_answer_is_whole_or_a_typed_error(path: Path) -> None:
    response = load(path)["response"]
    body, dice = body_of(response), random.Random(path.name)
    for _ in range(40):
        try:
            if response["body_encoding"] == "json":
                fold(anthropic_messages.decode_response(mutated(body, dice)))
            else:
                decoder = anthropic_messages.stream_decoder()
                fold([*decoder.feed(mutated(body, dice)), *decoder.finish()])
        except UpstreamError as error:
            assert error.outcome  # noqa: PT017 - either is right


def mutated(body: bytes, dice: random.Random) -> bytes:
    """The body with a few of its bytes replaced, left out or doubled."""
    changed = bytearray(body)
    for _ in range(dice.randint(1, 5)):
        place, length = dice.randrange(len(changed)), dice.randrange(12)
        piece = bytes(changed[place : place + length])
        changed[place : place + length] = dice.choice(
            [b"", piece * 2, b"\xff", b'"', b"{", b"}", b"null", b"-1", b"\n\n"]
        )
    return bytes(changed)


@pytest.mark.parametrize("path", recordings("error"))
def test_an_error(path: Path, request: pytest.FixtureRequest) -> None:
    response = load(path)["response"]
    error = anthropic_messages.decode_error(response["status"], response["headers"], body_of(response))
    assert error.outcome == ERRORS[request.node.callspec.id]
    assert (error.status, error.code) == (response["status"], response["body"]["error"]["type"])
    assert error.message
    assert error.request_id == response["headers"]["request-id"]
    assert error.retry_after is None


def test_every_error_of_the_index_is_in_the_table() -> None:
    assert {param.id for param in recordings("error")} == ERRORS.keys()


# --- what was asked, said in the contract and back --------------------------------------------------------------------


# Asks Claude 3.5 for a JSON schema, which came with 4.5, and is refused.
TOO_OLD = "anthropic-error-http400-a0b4a4"


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_said_in_the_contract_and_back(path: Path, request: pytest.FixtureRequest) -> None:
    asked = load(path)["request"]["body"]
    encoded = anthropic_messages.encode_request(
        request_of(asked), asked["model"], stream=bool(asked.get("stream")), quirks=Quirks()
    )
    if request.node.callspec.id == TOO_OLD:
        assert [warning.field for warning in encoded.warnings] == ["response_format.kind"]
        return
    assert meaning(json.loads(encoded.body)) == meaning(asked)
    assert not encoded.warnings
    assert encoded.path == "/v1/messages"
    assert encoded.headers["anthropic-version"] == "2023-06-01"
