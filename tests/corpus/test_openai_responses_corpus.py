"""Recorded traffic of every host that speaks the Responses API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance.requests_openai_responses import meaning, request_of
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import openai_responses
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateResponse

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
DIALECT = "openai_responses"

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
        if api == "responses" and kind in kinds
    ]


# What the error bodies mean.
ERRORS = {"openairesponses-error-http400-4f990e": (call_pb2.OUTCOME_MODEL_NOT_FOUND, "model_not_found")}
# Errors inside an answer of status 200.
EMBEDDED = {"openairesponses-stream-errorinstream-e77acf": (call_pb2.OUTCOME_QUOTA, "insufficient_quota")}
INCOMPLETE = {
    "max_output_tokens": content_pb2.FINISH_REASON_MAX_TOKENS,
    "content_filter": content_pb2.FINISH_REASON_CONTENT_FILTER,
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def body_of(response: Any) -> bytes:
    body = response["body"]
    return (body if response["body_encoding"] == "text" else json.dumps(body)).encode()


def whole(response: Any) -> Any:
    """The answer as a unary call would have had it: a stream repeats it at its end."""
    if response["body_encoding"] == "json":
        return response["body"]
    lines = response["body"].replace("\r\n", "\n").split("\n")
    events = [json.loads(line[5:]) for line in lines if line.startswith("data:")]
    return [event["response"] for event in events if "response" in event][-1]


# --- answers ----------------------------------------------------------------------------------------------------------


def said(item: Any) -> Iterator[Any]:
    """What an output item says, one by one, in the order of the parts."""
    if item["type"] == "message":
        for content in item["content"]:
            yield "text" if content["type"] == "output_text" else "refusal", content.get("text") or content["refusal"]
    elif item["type"] == "function_call":
        yield "tool_call", (item["call_id"], item["name"], item["arguments"] or "{}")
    elif item["type"] == "reasoning":
        yield "reasoning", "\n\n".join(piece["text"] for piece in [*item["summary"], *item.get("content", [])])
    else:
        yield "provider_part", item


def heard(part: content_pb2.Part) -> Any:
    """The same, of a part."""
    kind = part.WhichOneof("data")
    match kind:
        case "tool_call":
            return kind, (part.tool_call.id, part.tool_call.name, part.tool_call.arguments_json)
        case "reasoning":
            return kind, part.reasoning.text
        case "provider_part":
            assert part.provider_part.dialect == DIALECT
            assert part.provider_part.type == json.loads(part.provider_part.json)["type"]
            return kind, json.loads(part.provider_part.json)
    return kind, part.text or part.refusal


def check(body: Any, answer: GenerateResponse) -> None:
    """The answer says what the recording does."""
    parts = answer.message.parts
    assert [heard(part) for part in parts] == [each for item in body["output"] for each in said(item)]
    check_reasoning(body, answer)
    check_citations(body, answer)
    check_logprobs(body, answer)
    check_usage(body, answer)
    check_finish(body, answer)
    assert answer.served.provider_response_id == body["id"]
    assert answer.provider_metadata["model"] == body["model"]


def check_reasoning(body: Any, answer: GenerateResponse) -> None:
    items = [item for item in body["output"] if item["type"] == "reasoning"]
    states = [part.provider_state for part in answer.message.parts if part.HasField("reasoning")]
    assert {state.format for state in states} <= {"openai.reasoning"}
    for item, state in zip(items, states, strict=True):
        given = json.loads(state.data)
        # A stream's end encrypts it anew.
        assert bool(given.pop("encrypted_content", None)) == bool(item.get("encrypted_content"))
        assert given == {key: value for key, value in item.items() if key != "encrypted_content"}


def check_citations(body: Any, answer: GenerateResponse) -> None:
    annotations = [
        (note["start_index"], note["end_index"], note["title"], note["url"])
        for item in body["output"]
        if item["type"] == "message"
        for content in item["content"]
        for note in content.get("annotations", [])
    ]
    citations = [(part, citation) for part in answer.message.parts for citation in part.citations]
    assert [(c.start_index, c.end_index, c.title, c.uri) for _, c in citations] == annotations
    for part, citation in citations:
        # Only code points fit: the mark in the text has the address in it.
        assert citation.uri in part.text[citation.start_index : citation.end_index]


def check_logprobs(body: Any, answer: GenerateResponse) -> None:
    told = [
        (token["token"], token["logprob"], bytes(token["bytes"]), [top["token"] for top in token["top_logprobs"]])
        for item in body["output"]
        if item["type"] == "message"
        for content in item["content"]
        for token in content.get("logprobs", [])
    ]
    tokens = [(t.token, t.logprob, t.raw_bytes, [top.token for top in t.top]) for t in answer.logprobs]
    assert tokens == told


def check_usage(body: Any, answer: GenerateResponse) -> None:
    told, usage = body["usage"], answer.usage
    put_in, put_out = told["input_tokens_details"], told["output_tokens_details"]
    assert (usage.input_tokens, usage.output_tokens) == (told["input_tokens"], told["output_tokens"])
    assert usage.input_tokens + usage.output_tokens == told["total_tokens"]
    assert usage.cache_read_input_tokens == put_in["cached_tokens"]
    assert usage.reasoning_output_tokens == put_out["reasoning_tokens"]
    written = usage.cache_write_input_tokens if usage.HasField("cache_write_input_tokens") else None
    assert written == put_in.get("cache_write_tokens")
    assert usage.cache_read_input_tokens + (written or 0) <= usage.input_tokens
    assert usage.reasoning_output_tokens <= usage.output_tokens
    assert sum(usage.other_units.values()) == told.get("num_server_side_tools_used", 0)


def check_finish(body: Any, answer: GenerateResponse) -> None:
    kinds = {part.WhichOneof("data") for part in answer.message.parts}
    if body["status"] == "incomplete":
        reason = body["incomplete_details"]["reason"]
        assert (answer.finish_reason, answer.provider_finish_reason) == (INCOMPLETE[reason], reason)
        return
    called, refused = "tool_call" in kinds, "refusal" in kinds
    expected = content_pb2.FINISH_REASON_REFUSAL if refused else content_pb2.FINISH_REASON_STOP
    assert answer.finish_reason == (content_pb2.FINISH_REASON_TOOL_CALLS if called else expected)
    assert answer.provider_finish_reason == "completed"


@pytest.mark.parametrize("path", recordings("chat"))
def test_a_whole_answer(path: Path) -> None:
    response = load(path)["response"]
    check(whole(response), fold(openai_responses.decode_response(body_of(response))))


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer(path: Path, request: pytest.FixtureRequest) -> None:
    response, name = load(path)["response"], request.node.callspec.id
    events, error = decoded(openai_responses.stream_decoder(), [body_of(response)])
    if name in EMBEDDED:
        assert error is not None
        assert (error.outcome, error.code) == EMBEDDED[name]
        with pytest.raises(UpstreamError) as caught:
            openai_responses.decode_response(json.dumps(whole(response)).encode())
        assert (caught.value.outcome, caught.value.code) == EMBEDDED[name]
        return
    assert error is None
    check(whole(response), fold(events))
    at_once = fold(openai_responses.decode_response(json.dumps(whole(response)).encode()))
    assert without_secrets(fold(events)) == without_secrets(at_once)


def without_secrets(answer: GenerateResponse) -> GenerateResponse:
    for part in answer.message.parts:
        if part.HasField("reasoning"):
            part.ClearField("provider_state")
    return answer


@pytest.mark.parametrize("path", recordings("stream"))
def test_a_streamed_answer_however_it_is_cut(path: Path) -> None:
    response = load(path)["response"]
    body = body_of(response)
    events, error = decoded(openai_responses.stream_decoder(), [body])
    for pieces in cuts(body, response.get("read_lengths") or []):
        others, other = decoded(openai_responses.stream_decoder(), pieces)
        assert others == events
        assert (other and other.outcome) == (error and error.outcome)


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
def test_a_streamed_answer_that_breaks_off_is_interrupted(path: Path, request: pytest.FixtureRequest) -> None:
    body = body_of(load(path)["response"])
    last = body.rindex(b"data:")
    for end in (last, last + 40):
        events, error = decoded(openai_responses.stream_decoder(), [body[:end]])
        assert not any(event.HasField("completed") for event in events)
        assert error is not None
        embedded = request.node.callspec.id in EMBEDDED
        assert error.outcome == (call_pb2.OUTCOME_QUOTA if embedded else call_pb2.OUTCOME_INTERRUPTED)


@pytest.mark.parametrize("path", recordings("chat", "stream"))
def test_an_answer_that_was_damaged_is_whole_or_an_error(path: Path) -> None:
    response = load(path)["response"]
    body, is_stream = body_of(response), response["body_encoding"] == "text"
    dice = random.Random(len(body))
    for _ in range(20):
        place, length = dice.randrange(len(body)), dice.randint(0, 60)
        damaged = body[:place] + dice.randbytes(dice.randint(0, 6)) + body[place + length :]
        events, error = decoded(openai_responses.stream_decoder(), [damaged]) if is_stream else at_once(damaged)
        assert sum(event.HasField("completed") for event in events) + (error is not None) == 1


def at_once(body: bytes) -> tuple[list[Any], UpstreamError | None]:
    try:
        return [*openai_responses.decode_response(body)], None
    except UpstreamError as error:
        return [], error


@pytest.mark.parametrize("path", recordings("error"))
def test_an_error(path: Path, request: pytest.FixtureRequest) -> None:
    response = load(path)["response"]
    error = openai_responses.decode_error(response["status"], response["headers"], body_of(response))
    assert (error.outcome, error.code) == ERRORS[request.node.callspec.id]
    assert error.status == response["status"]
    assert error.message


def test_every_error_of_the_index_is_in_the_table() -> None:
    assert {param.id for param in recordings("error")} == ERRORS.keys()


# --- requests ---------------------------------------------------------------------------------------------------------

ROLES = {"user": "ROLE_USER", "assistant": "ROLE_ASSISTANT", "system": "ROLE_SYSTEM", "developer": "ROLE_SYSTEM"}
# What the contract has fields for; all else travels in provider_options.
SAID = {"model", "instructions", "input", "max_output_tokens", "temperature", "top_p", "top_logprobs", "reasoning"}
SAID |= {"tools", "tool_choice", "parallel_tool_calls", "text", "stream"}


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_said_again_means_the_same(path: Path) -> None:
    body = load(path)["request"]["body"]
    if body is None:
        pytest.skip("the recording has no request")
    stream = bool(body.get("stream"))
    encoded = openai_responses.encode_request(request_of(body), body["model"], stream=stream, quirks=Quirks())
    assert meaning(json.loads(encoded.body)) == meaning(body)
    assert not encoded.warnings
