"""Recorded traffic of every host that speaks the Responses API, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
import random
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded
from google.protobuf.json_format import ParseDict

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
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


def request_of(body: Any) -> GenerateRequest:
    """The contract's request that means what `body` does."""
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    request: dict[str, Any] = {"messages": [*messages_of(items)], "config": config_of(body)}
    request["system_instruction"] = body.get("instructions") or ""
    request["tools"] = [tool_of(tool) for tool in body.get("tools") or ()]
    request["tool_choice"] = choice_of(body)
    request["response_format"] = format_of((body.get("text") or {}).get("format") or {})
    # The API stores and includes otherwise than we do where it is told nothing.
    options = {"store": True, "include": []} | {k: v for k, v in body.items() if k not in SAID and v is not None}
    request["provider_options"] = {DIALECT: options}
    return ParseDict(request, GenerateRequest())


def messages_of(items: list[Any]) -> Iterator[Any]:
    """One message for each run of items of the model or of tools, and for each other item."""
    run: Any = None
    for item in items:
        role, parts = message_of(item)
        if run and run["role"] == role and role in {"ROLE_ASSISTANT", "ROLE_TOOL"}:
            run["parts"] += parts
            continue
        if run:
            yield run
        run = {"role": role, "parts": parts}
    yield run


def message_of(item: Any) -> tuple[str, list[Any]]:
    kind = item.get("type", "message")
    match kind:
        case "message":
            return ROLES[item["role"]], parts_of(item["content"])
        case "reasoning":
            return "ROLE_ASSISTANT", [{"reasoning": {}} | state_of("openai.reasoning", item)]
        case "function_call":
            call = {"id": item["call_id"], "name": item["name"], "arguments_json": item["arguments"]}
            more = {key: value for key, value in item.items() if key not in {"type", "call_id", "name", "arguments"}}
            return "ROLE_ASSISTANT", [{"tool_call": call} | (state_of("openai.item", more) if more else {})]
        case "function_call_output":
            result = {"tool_call_id": item["call_id"], "parts": parts_of(item["output"])}
            return "ROLE_TOOL", [{"tool_result": result}]
    part = {"dialect": DIALECT, "type": kind, "json": json.dumps(item)}
    role = "ROLE_USER" if kind.endswith(("_output", "_response")) else "ROLE_ASSISTANT"
    return role, [{"provider_part": part}]


def state_of(form: str, members: Any) -> Any:
    return {"provider_state": {"format": form, "data": json.dumps(members)}}


def parts_of(content: Any) -> list[Any]:
    pieces = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return [part_of(piece) for piece in pieces]


def part_of(piece: Any) -> Any:
    match piece["type"]:
        case "input_text" | "output_text":
            return {"text": piece["text"]}
        case "refusal":
            return {"refusal": piece["refusal"]}
        case "input_image":
            detail = {"low": "DETAIL_LOW", "high": "DETAIL_HIGH"}.get(piece.get("detail", ""), "DETAIL_UNSPECIFIED")
            return {"media": media_of(piece["image_url"]) | {"detail": detail}}
    assert piece["type"] == "input_file"
    return {"media": media_of(piece["file_data"]) | {"name": piece["filename"]}}


def media_of(url: str) -> Any:
    if not url.startswith("data:"):
        return {"uri": url}
    mime, _, data = url.removeprefix("data:").partition(";base64,")
    b64decode(data, validate=True)
    return {"mime_type": mime, "data": data}


def config_of(body: Any) -> Any:
    names = ("max_output_tokens", "temperature", "top_p", "top_logprobs")
    config = {name: body[name] for name in names if body.get(name) is not None}
    effort = (body.get("reasoning") or {}).get("effort")
    return config | ({"thinking": {"effort": f"EFFORT_{effort.upper()}"}} if effort else {})


def tool_of(tool: Any) -> Any:
    if tool["type"] != "function":
        settings = {key: value for key, value in tool.items() if key != "type"}
        return {"provider_tool": {"dialect": DIALECT, "type": tool["type"], "config_json": json.dumps(settings)}}
    function = {key: tool[key] for key in ("name", "description", "strict") if key in tool}
    return {"function": function | {"parameters_json_schema": json.dumps(tool["parameters"])}}


def choice_of(body: Any) -> Any:
    choice, parallel = body.get("tool_choice", "auto"), body.get("parallel_tool_calls")
    chosen = {} if parallel is None else {"parallel": parallel}
    if isinstance(choice, str):
        return chosen | {"mode": f"MODE_{choice.upper()}"}
    return chosen | {"mode": "MODE_REQUIRED", "allowed_tools": [choice["name"]]}


def format_of(form: Any) -> Any:
    match form.get("type", "text"):
        case "text":
            return {}
        case "json_object":
            return {"kind": "KIND_JSON"}
    more = {"strict": form["strict"]} if "strict" in form else {}
    return {"kind": "KIND_JSON_SCHEMA", "name": form["name"], "json_schema": json.dumps(form["schema"])} | more


def meaning(body: Any) -> Any:
    """The body without what says nothing: nulls and defaults, and with each thing said in one way."""
    defaults = {"stream": False, "store": True, "include": [], "tool_choice": "auto"}
    plain = {key: value for key, value in body.items() if value is not None and value != defaults.get(key)}
    items = body["input"]
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    return plain | {"input": [item_meaning(item) for item in items]}


def item_meaning(item: Any) -> Any:
    if item.get("type", "message") != "message":
        return item
    content = item["content"]
    pieces = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    role = "system" if item["role"] == "developer" else item["role"]
    return {"role": role, "content": [piece_meaning(piece) for piece in pieces]}


def piece_meaning(piece: Any) -> Any:
    if piece["type"] in {"input_text", "output_text"}:
        return {"text": piece["text"]}
    return {"detail": "auto"} | piece if piece["type"] == "input_image" else piece


@pytest.mark.parametrize("path", recordings("chat", "stream", "error"))
def test_a_request_said_again_means_the_same(path: Path) -> None:
    body = load(path)["request"]["body"]
    if body is None:
        pytest.skip("the recording has no request")
    stream = bool(body.get("stream"))
    encoded = openai_responses.encode_request(request_of(body), body["model"], stream=stream, quirks=Quirks())
    assert meaning(json.loads(encoded.body)) == meaning(body)
    assert not encoded.warnings
