"""Recorded traffic of Gemini, of Google AI Studio and Vertex AI, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded
from gemini_requests import NotExpressible, meaning_of, request_of

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import gemini_generate_content as dialect
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateResponse

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
APIS = {"gemini", "vertex"}

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
        if api in APIS and kind in kinds
    ]


# What the error bodies mean, and how long they ask us to wait.
ERRORS = {
    "gemini-error-http400-vision-3575f2": (call_pb2.OUTCOME_INVALID, "INVALID_ARGUMENT", None),
    "gemini-error-http404-7e4cdf": (call_pb2.OUTCOME_MODEL_NOT_FOUND, "NOT_FOUND", None),
    "gemini-error-http429-553b8e": (call_pb2.OUTCOME_RATE_LIMITED, "RESOURCE_EXHAUSTED", 48),
}
# Errors inside an answer of status 200.
EMBEDDED = {"gemini-stream-errorinstream-ece26e": (call_pb2.OUTCOME_SERVER_ERROR, "CANCELLED")}
# Requests that the contract cannot say, and why.
NOT_EXPRESSIBLE = {"gemini-chat-reasoning-multichoice-3d3a67": "candidateCount"}
FINISH = {
    "STOP": content_pb2.FINISH_REASON_STOP,
    "MAX_TOKENS": content_pb2.FINISH_REASON_MAX_TOKENS,
    "SAFETY": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "MODEL_ARMOR": content_pb2.FINISH_REASON_CONTENT_FILTER,
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def body_of(response: Any) -> bytes:
    body = response["body"]
    return (body if response["body_encoding"] == "text" else json.dumps(body)).encode()


def objects(response: Any) -> list[Any]:
    """The JSON objects of an answer, whatever they are framed in."""
    body = response["body"]
    if response["body_encoding"] == "json":
        return [body]
    if body.startswith("["):
        return list(json.loads(body))
    return [json.loads(line[5:]) for line in re.split(r"\r?\n", body) if line.startswith("data:")]


def parts_of(response: Any) -> list[Any]:
    first = [c for found in objects(response) for c in found.get("candidates", []) if not c.get("index")]
    return [part for candidate in first for part in candidate.get("content", {}).get("parts", [])]


def said(parts: list[Any], kind: str) -> list[Any]:
    return [part[kind] for part in parts if kind in part]


def text(parts: list[Any], *, thought: bool) -> str:
    return "".join(part["text"] for part in parts if "text" in part and part.get("thought", False) == thought)


def check(response: Any, answer: GenerateResponse) -> None:
    """The answer says what the recording does."""
    told, parts = parts_of(response), answer.message.parts
    assert "".join(part.text for part in parts) == text(told, thought=False)
    assert "".join(part.reasoning.text for part in parts) == text(told, thought=True)
    calls = [part.tool_call for part in parts if part.HasField("tool_call")]
    assert [(call.name, json.loads(call.arguments_json)) for call in calls] == [
        (call["name"], call.get("args", {})) for call in said(told, "functionCall")
    ]
    assert len({call.id for call in calls}) == len(calls)
    own = {"executableCode", "codeExecutionResult"}
    assert [json.loads(part.provider_part.json) for part in parts if part.HasField("provider_part")] == [
        part for part in told if part.keys() & own
    ]
    check_signatures(told, answer)
    check_usage(response, answer)
    check_logprobs(response, answer)
    check_end(response, answer)


def check_signatures(told: list[Any], answer: GenerateResponse) -> None:
    """Each signature is on its own part, and none was made up."""
    signed = [part for part in answer.message.parts if part.HasField("provider_state")]
    assert [part.provider_state.data for part in signed] == said(told, "thoughtSignature")
    for part, original in zip(signed, [part for part in told if "thoughtSignature" in part], strict=True):
        assert part.provider_state.format == "gemini.thought_signature"
        assert part.text == ("" if original.get("thought") else original.get("text", ""))
        assert part.tool_call.name == original.get("functionCall", {}).get("name", "")


def check_usage(response: Any, answer: GenerateResponse) -> None:
    told: Any = {}
    for found in objects(response):
        told |= found.get("usageMetadata", {})
    figures = {key for key in told if key.endswith("TokenCount")}
    assert answer.HasField("usage") == bool(figures)
    usage = answer.usage
    thoughts = told.get("thoughtsTokenCount", 0)
    assert usage.input_tokens == told.get("promptTokenCount", 0) + told.get("toolUsePromptTokenCount", 0)
    assert usage.output_tokens == told.get("candidatesTokenCount", 0) + thoughts
    assert usage.input_tokens + usage.output_tokens == told.get("totalTokenCount", 0)
    assert usage.reasoning_output_tokens == thoughts
    assert usage.HasField("reasoning_output_tokens") == ("thoughtsTokenCount" in told)
    assert usage.cache_read_input_tokens == told.get("cachedContentTokenCount", 0)
    assert usage.HasField("cache_read_input_tokens") == ("cachedContentTokenCount" in told)


def check_logprobs(response: Any, answer: GenerateResponse) -> None:
    told = [
        (token["token"], token["logProbability"])
        for found in objects(response)
        for candidate in found.get("candidates", [])
        for token in candidate.get("logprobsResult", {}).get("chosenCandidates", [])
    ]
    assert [(token.token, token.logprob) for token in answer.logprobs] == told


def check_end(response: Any, answer: GenerateResponse) -> None:
    found = objects(response)
    reasons = [c["finishReason"] for each in found for c in each.get("candidates", []) if "finishReason" in c]
    feedback = [each.get("promptFeedback", {}) for each in found]
    blocked = [each["blockReason"] for each in feedback if "blockReason" in each]
    last = (reasons or blocked)[-1]
    assert (answer.provider_finish_reason, answer.finish_reason) == (last, FINISH[last])
    assert answer.served.provider_response_id == found[0].get("responseId", "")


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path) -> None:
    response = load(path)["response"]
    check(response, fold(dialect.decode_response(body_of(response))))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer(path: Path) -> None:
    response = load(path)["response"]
    events, error = decoded(dialect.stream_decoder(), [body_of(response)])
    if path.stem in EMBEDDED:
        assert error is not None
        assert (error.outcome, error.code) == EMBEDDED[path.stem]
    else:
        assert error is None
        check(response, fold(events))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_however_it_is_cut(path: Path) -> None:
    response = load(path)["response"]
    body = body_of(response)
    whole = decoded(dialect.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        events, error = decoded(dialect.stream_decoder(), pieces)
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


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_stream_as_one_answer_says_the_same(path: Path) -> None:
    """All its events as the one answer that generateContent would have given."""
    response = load(path)["response"]
    if path.stem in EMBEDDED or not parts_of(response):
        pytest.skip("there is no answer in it")
    one: Any = {}
    for found in objects(response):
        one |= {key: value for key, value in found.items() if key not in ("candidates", "usageMetadata")}
        one["usageMetadata"] = one.get("usageMetadata", {}) | found.get("usageMetadata", {})
    last = [candidate for found in objects(response) for candidate in found.get("candidates", [])][-1]
    one["candidates"] = [last | {"content": {"parts": parts_of(response)}}]
    streamed, _ = decoded(dialect.stream_decoder(), [body_of(response)])
    assert fold(dialect.decode_response(json.dumps(one).encode())) == fold(streamed)


@pytest.mark.parametrize("path", recordings("error"))
def test_an_error(path: Path) -> None:
    response = load(path)["response"]
    error = dialect.decode_error(response["status"], response["headers"], body_of(response))
    assert (error.outcome, error.code, error.retry_after) == ERRORS[path.stem]
    assert error.status == response["status"]
    assert error.message


def test_every_error_of_the_index_is_in_the_table() -> None:
    assert {param.id for param in recordings("error")} == ERRORS.keys()


def sent(path: Path) -> tuple[Any, str, bool]:
    """What was sent, to which model, and whether a stream was asked for."""
    request = load(path)["request"]
    if request["body"] is None:
        pytest.skip("the recording has no request")
    model = re.search(r"/(?:models|tunedModels)/([^:?]+):", request["url"])
    assert model is not None
    return request["body"], model[1], ":streamGenerateContent" in request["url"]


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_means_the_same_when_it_is_sent_again(path: Path) -> None:
    body, model, stream = sent(path)
    if path.stem in NOT_EXPRESSIBLE:
        with pytest.raises(NotExpressible, match=NOT_EXPRESSIBLE[path.stem]):
            request_of(body)
        return
    encoded = dialect.encode_request(request_of(body), model, stream=stream, quirks=Quirks(max_stop_sequences=5))
    assert not encoded.warnings
    assert meaning_of(json.loads(encoded.body)) == meaning_of(body)
    path_sent = load(path)["request"]["url"].partition("/models/")[2]
    assert encoded.path.removeprefix("/models/").removesuffix("?alt=sse") == path_sent.removesuffix("?alt=sse")


@pytest.mark.parametrize("path", recordings("chat", "stream"))
def test_an_answer_goes_back_as_it_came(path: Path) -> None:
    """Its parts, with their signatures, as the provider wants them in the next request."""
    response = load(path)["response"]
    if path.stem in EMBEDDED or not parts_of(response):
        pytest.skip("there is no answer in it")
    if response["body_encoding"] == "json":
        answer = fold(dialect.decode_response(body_of(response)))
    else:
        answer = fold(decoded(dialect.stream_decoder(), [body_of(response)])[0])
    request = GenerateRequest(messages=[answer.message])
    body = json.loads(dialect.encode_request(request, "gemini-2.5-flash", stream=False, quirks=Quirks()).body)
    assert joined(meaning_of(body)["contents"][0]["parts"]) == joined(parts_of(response))


def joined(parts: list[Any]) -> list[Any]:
    """Texts without signatures that follow each other are one; empty ones are nothing."""
    whole: list[Any] = []
    for part in parts:
        plain = {key: value for key, value in part.items() if value is not False}
        if whole and is_text(plain) and is_text(whole[-1]) and plain.get("thought") == whole[-1].get("thought"):
            whole[-1]["text"] += plain["text"]
        elif not is_text(plain) or plain["text"]:
            whole.append(plain)
    return whole


def is_text(part: Any) -> bool:
    return "text" in part and "thoughtSignature" not in part
