"""Recorded traffic of Ollama's own chat API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance.requests_ollama_chat import meaning, request_of
from decoding import bytes_of, decoded

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects import ollama_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]

FINISH = {"stop": content_pb2.FINISH_REASON_STOP, "length": content_pb2.FINISH_REASON_MAX_TOKENS}
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def recordings(*kinds: str) -> list[Any]:
    """All of these kinds, in the index's words. At least the empty one, so that a skip is seen."""
    if not CORPUS.is_dir():
        return [pytest.param(Path(), id="none")]
    index = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    return [
        pytest.param(CORPUS / provider / f"{name}.json", id=name)
        for name, provider, api, kind, *_ in index
        if api == "ollama" and kind in kinds
    ]


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def body_of(response: Any) -> bytes:
    body = response["body"]
    return (body if response["body_encoding"] == "text" else json.dumps(body)).encode()


def answer_of(response: Any) -> Any:
    """The whole answer; a stream's lines put together."""
    if response["body_encoding"] == "json":
        return response["body"]
    lines = [json.loads(line) for line in response["body"].splitlines()]
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    content = "".join(line["message"]["content"] for line in lines)
    return lines[-1] | {"message": {"role": "assistant", "content": content, "tool_calls": calls}}


def check(response: Any, answer: pb.GenerateResponse) -> None:
    """The answer says what the recording does."""
    told = answer_of(response)
    text, *calls = answer.message.parts
    assert text.text == told["message"]["content"]
    found = [(part.tool_call.id, part.tool_call.name, json.loads(part.tool_call.arguments_json)) for part in calls]
    assert found == [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in told["message"].get("tool_calls", [])
    ]
    assert answer.provider_finish_reason == told["done_reason"]
    assert answer.finish_reason == FINISH[told["done_reason"]]
    assert answer.usage.input_tokens == told["prompt_eval_count"]
    assert answer.usage.output_tokens == told["eval_count"]
    assert not answer.usage.HasField("cache_read_input_tokens")
    for name in (*DURATIONS, "model", "created_at"):
        assert answer.provider_metadata[name] == told[name]
    assert not answer.warnings


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path) -> None:
    response = load(path)["response"]
    check(response, fold(ollama_chat.decode_response(body_of(response))))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer(path: Path) -> None:
    response = load(path)["response"]
    events, error = decoded(ollama_chat.stream_decoder(), [body_of(response)])
    assert error is None
    check(response, fold(events))
    assert fold(events) == fold(ollama_chat.decode_response(json.dumps(answer_of(response)).encode()))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_however_it_is_cut(path: Path) -> None:
    response = load(path)["response"]
    body = body_of(response)
    whole = decoded(ollama_chat.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        assert decoded(ollama_chat.stream_decoder(), pieces) == whole


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


# --- what was asked, said in the contract and back --------------------------------------------------------------------


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_said_in_the_contract_and_back(path: Path) -> None:
    asked = load(path)["request"]["body"]
    encoded = ollama_chat.encode_request(
        request_of(asked), asked["model"], stream=asked.get("stream", True), quirks=Quirks()
    )
    assert meaning(json.loads(encoded.body)) == meaning(asked)
    assert not encoded.warnings
    assert encoded.path == "/api/chat"
