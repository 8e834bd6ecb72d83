"""Recorded traffic of every host that speaks the chat completions API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2
from trunkline_server.dialects import openai_chat
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateResponse

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
APIS = {"chat", "openai_compat"}

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]


def recordings(kind: str) -> list[Any]:
    """All of a kind: chat, stream or error, as the index has it. At least the empty one, so that a skip is seen."""
    if not CORPUS.is_dir():
        return [pytest.param(Path(), id="none")]
    index = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    return [
        pytest.param(CORPUS / provider / f"{name}.json", id=name)
        for name, provider, api, its_kind, *_ in index
        if api in APIS and its_kind == kind
    ]


# What the error bodies mean.
ERRORS = {
    "azureopenai-error-http400-vision-1b463d": call_pb2.OUTCOME_INVALID,
    "azureopenai-error-http422-a751cc": call_pb2.OUTCOME_INVALID,
    "azureopenai-error-http429-e510f8": call_pb2.OUTCOME_RATE_LIMITED,
    "deepseek-error-http400-vision-f2d333": call_pb2.OUTCOME_INVALID,
    "deepseek-error-http401-13792c": call_pb2.OUTCOME_AUTH,
    "githubmodels-error-http429-vision-3cb4a8": call_pb2.OUTCOME_RATE_LIMITED,
    "groq-error-http400-7299b8": call_pb2.OUTCOME_SERVER_ERROR,  # tool_use_failed: the model's doing, not the request's
    "groq-error-http401-360a9c": call_pb2.OUTCOME_AUTH,
    "llamacpp-error-http400-vision-92bde6": call_pb2.OUTCOME_INVALID,
    "llamacpp-error-http401-6a34f9": call_pb2.OUTCOME_AUTH,
    "mistral-error-http400-e45316": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "ollama-error-http400-vision-0c2102": call_pb2.OUTCOME_INVALID,
    "openai-error-http400-vision-9e0700": call_pb2.OUTCOME_INVALID,
    "openai-error-http404-c722a9": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "openai-error-http429-66435e": call_pb2.OUTCOME_QUOTA,
    "openai-error-http503-5a8c34": call_pb2.OUTCOME_OVERLOADED,
    "openrouter-error-http400-21845f": call_pb2.OUTCOME_INVALID,
    "openrouter-error-http401-811503": call_pb2.OUTCOME_AUTH,
    "openrouter-error-http403-8d5274": call_pb2.OUTCOME_CONTENT_FILTER,
    "openrouter-error-http429-fba1b9": call_pb2.OUTCOME_RATE_LIMITED,
    "vllm-error-http400-vision-0f32e1": call_pb2.OUTCOME_INVALID,
    "xai-error-http404-303666": call_pb2.OUTCOME_MODEL_NOT_FOUND,
}
# Errors inside an answer of status 200.
EMBEDDED = {
    "groq-stream-errorinstream-reasoning-baa954": (call_pb2.OUTCOME_SERVER_ERROR, "tool_use_failed"),
    "openrouter-stream-errorinstream-b3b31d": (call_pb2.OUTCOME_SERVER_ERROR, "502"),
    "openrouter-chat-toolresult-multiturn-887d69": (call_pb2.OUTCOME_SERVER_ERROR, "502"),
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())["response"]


def body_of(response: Any) -> bytes:
    body = response["body"]
    return (body if response["body_encoding"] == "text" else json.dumps(body)).encode()


def objects(response: Any) -> list[Any]:
    """The JSON objects of an answer."""
    if response["body_encoding"] == "json":
        return [response["body"]]
    lines = response["body"].replace("\r\n", "\n").split("\n")
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and "[DONE]" not in line]


def messages(response: Any) -> Iterator[Any]:
    for found in objects(response):
        for choice in found.get("choices", []):
            if choice["index"] == 0:
                yield choice.get("message") or choice.get("delta") or {}


def text_of(response: Any) -> str:
    text = ""
    for message in messages(response):
        content = message.get("content") or ""
        text += content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return text


def thoughts_of(response: Any) -> str:
    thoughts = ""
    for message in messages(response):
        thoughts += message.get("reasoning_content") or message.get("reasoning") or ""
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            thoughts += "".join(piece["text"] for piece in part.get("thinking", ()))
    return thoughts


def check_details(response: Any, answer: GenerateResponse) -> None:
    """OpenRouter's reasoning_details are put together again, and nothing of them is lost."""
    told = [detail for message in messages(response) for detail in message.get("reasoning_details") or ()]
    states = [part.provider_state for part in answer.message.parts if part.HasField("provider_state")]
    assert len(states) == bool(told)
    kept = json.loads(states[0].data) if states else []
    for key in ("text", "summary", "data", "signature"):
        assert "".join(each.get(key) or "" for each in kept) == "".join(each.get(key) or "" for each in told)


def calls_of(response: Any) -> list[tuple[str, str]]:
    """Name and arguments of each tool call."""
    calls: dict[int, list[str]] = {}
    for message in messages(response):
        for place, piece in enumerate(message.get("tool_calls") or ()):
            call = calls.setdefault(piece.get("index", place), ["", ""])
            call[0] = call[0] or piece["function"].get("name") or ""
            call[1] += piece["function"].get("arguments") or ""
    return [(name, arguments or "{}") for name, arguments in calls.values()]


def check(response: Any, answer: GenerateResponse) -> None:
    """The answer says what the recording does."""
    parts = answer.message.parts
    calls = [(part.tool_call.name, part.tool_call.arguments_json) for part in parts if part.HasField("tool_call")]
    assert "".join(part.text for part in parts) == text_of(response)
    assert "".join(part.reasoning.text for part in parts) == thoughts_of(response)
    check_details(response, answer)
    assert "".join(part.refusal for part in parts) == "".join(m.get("refusal") or "" for m in messages(response))
    assert calls == calls_of(response)
    assert len({part.tool_call.id for part in parts if part.HasField("tool_call")}) == len(calls)
    check_usage(response, answer)
    check_logprobs(response, answer)
    reasons = [c.get("finish_reason") for o in objects(response) for c in o["choices"] if c["index"] == 0]
    assert answer.provider_finish_reason == [reason for reason in reasons if reason][-1]
    assert answer.served.provider_response_id in {found["id"] for found in objects(response)}


def check_usage(response: Any, answer: GenerateResponse) -> None:
    told = [found["usage"] for found in objects(response) if found.get("usage")]
    assert answer.HasField("usage") == bool(told)
    if not told:
        return
    usage, body = answer.usage, told[-1]
    asked, made = body.get("prompt_tokens_details") or {}, body.get("completion_tokens_details") or {}
    cached = asked.get("cached_tokens", body.get("cached_tokens"))
    assert (usage.cache_read_input_tokens if usage.HasField("cache_read_input_tokens") else None) == cached
    written = asked.get("cache_write_tokens")
    assert (usage.cache_write_input_tokens if usage.HasField("cache_write_input_tokens") else None) == written
    reasoning = usage.reasoning_output_tokens if usage.HasField("reasoning_output_tokens") else None
    assert reasoning == made.get("reasoning_tokens")
    check_arithmetic(body, usage)


def check_arithmetic(body: Any, usage: call_pb2.Usage) -> None:
    """Input with what was cached, output with what was thought: together the total, but for what was left out of it."""
    uncounted = body["prompt_tokens"] < usage.cache_read_input_tokens
    assert usage.input_tokens == body["prompt_tokens"] + (usage.cache_read_input_tokens if uncounted else 0)
    assert usage.input_tokens >= usage.cache_read_input_tokens + usage.cache_write_input_tokens
    assert usage.output_tokens >= max(body["completion_tokens"], usage.reasoning_output_tokens)
    beside = usage.cache_read_input_tokens if uncounted else 0
    assert usage.input_tokens + usage.output_tokens == body["total_tokens"] + beside


def check_logprobs(response: Any, answer: GenerateResponse) -> None:
    told = [
        (token["token"], token["logprob"], bytes(token["bytes"]))
        for found in objects(response)
        for choice in found["choices"]
        if choice["index"] == 0 and isinstance(choice.get("logprobs"), dict)
        for token in choice["logprobs"]["content"] or ()
    ]
    assert [(token.token, token.logprob, token.raw_bytes) for token in answer.logprobs] == told


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path, request: pytest.FixtureRequest) -> None:
    response, name = load(path), request.node.callspec.id
    if name in EMBEDDED:
        with pytest.raises(UpstreamError) as caught:
            openai_chat.decode_response(body_of(response))
        assert (caught.value.outcome, caught.value.code) == EMBEDDED[name]
    else:
        check(response, fold(openai_chat.decode_response(body_of(response))))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer(path: Path, request: pytest.FixtureRequest) -> None:
    response, name = load(path), request.node.callspec.id
    events, error = decoded(openai_chat.stream_decoder(), [body_of(response)])
    if name in EMBEDDED:
        assert error is not None
        assert (error.outcome, error.code) == EMBEDDED[name]
    else:
        assert error is None
        check(response, fold(events))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_however_it_is_cut(path: Path) -> None:
    response = load(path)
    body = body_of(response)
    whole = decoded(openai_chat.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        events, error = decoded(openai_chat.stream_decoder(), pieces)
        assert events == whole[0]
        assert (error and error.outcome) == (whole[1] and whole[1].outcome)


def cuts(body: bytes, read_lengths: list[int]) -> Iterator[list[bytes]]:
    """The body as the recorder read it, byte by byte, and in random pieces."""
    yield from ([pieces] if (pieces := _lengths(body, read_lengths)) else [])
    yield bytes_of(body)
    dice = random.Random(len(body))
    yield _lengths(body, [dice.randint(1, 400) for _ in body])


def _lengths(body: bytes, lengths: list[int]) -> list[bytes]:
    pieces = []
    for length in lengths:
        pieces.append(body[:length])
        body = body[length:]
    assert not body or not lengths
    return [piece for piece in pieces if piece]


@pytest.mark.parametrize("path", recordings("error"))
def test_an_error(path: Path, request: pytest.FixtureRequest) -> None:
    response = load(path)
    error = openai_chat.decode_error(response["status"], response["headers"], body_of(response))
    assert error.outcome == ERRORS[request.node.callspec.id]
    assert error.status == response["status"]
    assert error.message
    ids = {"x-request-id", "apim-request-id", "x-ds-trace-id", "mistral-correlation-id"} & response["headers"].keys()
    assert error.request_id in ({response["headers"][name] for name in ids} or {""})


def test_every_error_of_the_index_is_in_the_table() -> None:
    assert {param.id for param in recordings("error")} == ERRORS.keys()


def test_the_wait_that_a_provider_asks_for() -> None:
    waits = {}
    for param in recordings("error"):
        response = load(param.values[0])
        error = openai_chat.decode_error(response["status"], response["headers"], body_of(response))
        if error.retry_after is not None:
            waits[param.id] = error.retry_after
    # Azure's retry-after-ms is 0 and does not count.
    assert waits == {
        "azureopenai-error-http429-e510f8": 1,
        "githubmodels-error-http429-vision-3cb4a8": 73189,
    }
