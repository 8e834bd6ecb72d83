"""Recorded traffic of Bedrock's Converse API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
import struct
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from zlib import crc32

import pytest
from conformance.requests_bedrock_converse import meaning, request_of
from decoding import bytes_of, decoded
from google.protobuf.json_format import MessageToDict

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects import bedrock_converse
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]


def recordings(*kinds: str, apis: tuple[str, ...] = ("converse",)) -> list[Any]:
    """All of these kinds, as the index has them. At least the empty one, so that a skip is seen."""
    if not CORPUS.is_dir():
        return [pytest.param(Path(), id="none")]
    index = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    return [
        pytest.param(CORPUS / provider / f"{name}.json", id=name)
        for name, provider, api, kind, *_ in index
        if provider == "bedrock" and api in apis and kind in kinds
    ]


# What the error bodies mean, and their machine codes.
ERRORS = {
    # The recorder left x-amzn-errortype out.
    "bedrock-error-http400-vision-a726f5": (call_pb2.OUTCOME_INVALID, ""),
    "bedrock-error-http503-fa98af": (call_pb2.OUTCOME_OVERLOADED, "ServiceUnavailableException"),
}
FINISH = {
    "end_turn": content_pb2.FINISH_REASON_STOP,
    "max_tokens": content_pb2.FINISH_REASON_MAX_TOKENS,
    "stop_sequence": content_pb2.FINISH_REASON_STOP_SEQUENCE,
    "tool_use": content_pb2.FINISH_REASON_TOOL_CALLS,
    "guardrail_intervened": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "content_filtered": content_pb2.FINISH_REASON_CONTENT_FILTER,
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def body_of(response: Any) -> bytes:
    body = response["body"]
    return b64decode(body) if response["body_encoding"] == "base64" else json.dumps(body).encode()


def events_of(body: bytes) -> Iterator[tuple[str, Any]]:
    """The events of a stream, read as AWS's documentation says."""
    while body:
        total, headers, _ = struct.unpack(">III", body[:12])
        assert crc32(body[: total - 4]) == struct.unpack(">I", body[total - 4 : total])[0]
        named, rest = {}, body[12 : 12 + headers]
        while rest:
            name, rest = rest[1 : 1 + rest[0]].decode(), rest[1 + rest[0] :]
            size = struct.unpack(">H", rest[1:3])[0]
            named[name], rest = rest[3 : 3 + size].decode(), rest[3 + size :]
        yield named[":event-type"], json.loads(body[12 + headers : total - 4])
        body = body[total:]


def whole_of(response: Any) -> Any:
    """The body of an answer; a stream's is put together as the documentation says."""
    if response["body_encoding"] == "json":
        return response["body"]
    whole: Any = {}
    blocks: dict[int, Any] = {}
    for kind, event in events_of(body_of(response)):
        event.pop("p", None)
        match kind:
            case "contentBlockStart":
                blocks[event["contentBlockIndex"]] = event["start"]
            case "contentBlockDelta":
                grow(blocks.setdefault(event["contentBlockIndex"], {}), event["delta"])
            case "messageStop" | "metadata":
                whole |= event
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"].get("input") or "{}")
    return whole | {
        "output": {"message": {"role": "assistant", "content": [cited(block) for block in blocks.values()]}}
    }


def grow(block: Any, delta: Any) -> None:
    for kind, piece in delta.items():
        match kind:
            case "text":
                block["text"] = block.get("text", "") + piece
            case "toolUse":
                block["toolUse"]["input"] = block["toolUse"].get("input", "") + piece["input"]
            case "toolResult":
                block["toolResult"].setdefault("content", []).extend(piece)
            case "citation":
                block.setdefault("citations", []).append(piece)
            case "reasoningContent":
                said = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
                for name, words in piece.items():
                    said[name] = said.get(name, "") + words


def cited(block: Any) -> Any:
    if "citations" not in block:
        return block
    return {"citationsContent": {"content": [{"text": block["text"]}], "citations": block["citations"]}}


def check(response: Any, answer: pb.GenerateResponse) -> None:
    """The answer says what the recording does."""
    body = whole_of(response)
    content = body["output"]["message"]["content"]
    assert len(answer.message.parts) == len(content)
    for part, block in zip(answer.message.parts, content, strict=True):
        check_part(part, block)
    assert answer.provider_finish_reason == body["stopReason"]
    assert answer.finish_reason == FINISH[body["stopReason"]]
    assert MessageToDict(answer.provider_metadata)["metrics"] == body["metrics"]
    assert ("trace" in answer.provider_metadata) == ("trace" in body)
    check_usage(body["usage"], answer.usage)
    assert not answer.warnings


def check_part(part: content_pb2.Part, block: Any) -> None:
    ((kind, said),) = block.items()
    if kind == "text":
        assert part.text == said
        assert not part.citations
    elif kind == "citationsContent":
        assert part.text == "".join(piece["text"] for piece in said["content"])
        assert [json.loads(citation.provider_state.data) for citation in part.citations] == said["citations"]
        assert [citation.title for citation in part.citations] == [each["title"] for each in said["citations"]]
    elif kind == "reasoningContent":
        assert part.reasoning.text == said["reasoningText"]["text"]
        state = ("bedrock.reasoning_signature", said["reasoningText"].get("signature", ""))
        assert (part.provider_state.format, part.provider_state.data) == (state if state[1] else ("", ""))
    elif kind == "toolUse" and said.get("type") != "server_tool_use":
        assert (part.tool_call.id, part.tool_call.name) == (said["toolUseId"], said["name"])
        assert json.loads(part.tool_call.arguments_json) == said["input"]
    else:
        assert (part.provider_part.dialect, part.provider_part.type) == ("bedrock_converse", said["type"])
        assert json.loads(part.provider_part.json) == block


def check_usage(told: Any, usage: call_pb2.Usage) -> None:
    read, written = told.get("cacheReadInputTokens"), told.get("cacheWriteInputTokens")
    assert usage.input_tokens == told["inputTokens"] + (read or 0) + (written or 0)
    assert usage.output_tokens == told["outputTokens"]
    assert usage.input_tokens + usage.output_tokens == told["totalTokens"]
    assert (usage.cache_read_input_tokens if usage.HasField("cache_read_input_tokens") else None) == read
    assert (usage.cache_write_input_tokens if usage.HasField("cache_write_input_tokens") else None) == written
    details = {f"ephemeral_{each['ttl']}_input_tokens": each["inputTokens"] for each in told.get("cacheDetails", [])}
    assert dict(usage.other_units) == details | told.get("serverToolUsage", {})


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path) -> None:
    response = load(path)["response"]
    check(response, fold(bedrock_converse.decode_response(body_of(response))))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer(path: Path) -> None:
    response = load(path)["response"]
    events, error = decoded(bedrock_converse.stream_decoder(), [body_of(response)])
    assert error is None
    check(response, fold(events))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_and_the_same_answer_whole(path: Path) -> None:
    response = load(path)["response"]
    events, _ = decoded(bedrock_converse.stream_decoder(), [body_of(response)])
    whole = fold(bedrock_converse.decode_response(json.dumps(whole_of(response)).encode()))
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
    whole = decoded(bedrock_converse.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        assert decoded(bedrock_converse.stream_decoder(), pieces) == whole


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


@pytest.mark.parametrize("path", recordings("error", apis=("converse", "invoke")))
def test_an_error(path: Path, request: pytest.FixtureRequest) -> None:
    response = load(path)["response"]
    error = bedrock_converse.decode_error(response["status"], response["headers"], body_of(response))
    assert (error.outcome, error.code) == ERRORS[request.node.callspec.id]
    assert (error.status, error.message) == (response["status"], response["body"]["message"])
    assert error.request_id == response["headers"].get("x-amzn-requestid", "")
    assert error.retry_after is None


def test_every_error_of_the_index_is_in_the_table() -> None:
    assert {param.id for param in recordings("error", apis=("converse", "invoke"))} == ERRORS.keys()


# --- what was asked, said in the contract and back --------------------------------------------------------------------


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_said_in_the_contract_and_back(path: Path) -> None:
    asked = load(path)["request"]
    _, model, call = asked["url"].split(".amazonaws.com")[1].rsplit("/", 2)
    encoded = bedrock_converse.encode_request(
        request_of(asked["body"]), unquote(model), stream=call == "converse-stream", quirks=Quirks()
    )
    assert meaning(json.loads(encoded.body)) == meaning(asked["body"])
    assert not encoded.warnings
    # Some recorders leave the colons of a model's id as they are.
    assert unquote(encoded.path) == unquote(f"/model/{model}/{call}")
