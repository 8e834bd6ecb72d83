"""Decoding streamed answers of the chat completions API: what hosts really send, and what they should not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.content_pb2 import Media, Part, ProviderState, Reasoning
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import openai_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold
from trunkline_server.wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse

DONE = b"data: [DONE]\n\n"


def event(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "c1", "choices": choices} | more).encode() + b"\n\n"


def text(words: str, finish: str | None = None) -> bytes:
    return event({"content": words}, finish)


def call(index: int | None, name: str | None, arguments: str | None, call_id: str | None = None) -> Any:
    return {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}


def calls(*pieces: Any) -> bytes:
    return event({"tool_calls": pieces})


def read(*pieces: bytes) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    """The events in one piece; they are the same byte by byte."""
    events, error = decoded(openai_chat.stream_decoder(), [b"".join(pieces)])
    others, other = decoded(openai_chat.stream_decoder(), bytes_of(b"".join(pieces)))
    assert events == others
    assert (error and (error.outcome, error.code)) == (other and (other.outcome, other.code))
    return events, error


def answer(*pieces: bytes) -> GenerateResponse:
    events, error = read(*pieces)
    assert error is None
    return fold(events)


def failure(*pieces: bytes) -> tuple[call_pb2.Outcome.ValueType, str]:
    events, error = read(*pieces)
    assert error is not None
    assert not any(event.HasField("completed") for event in events)
    return error.outcome, error.code


def tool_calls(response: GenerateResponse) -> list[tuple[str, str, str]]:
    found = [part.tool_call for part in response.message.parts if part.HasField("tool_call")]
    return [(call.id, call.name, call.arguments_json) for call in found]


def kinds(events: list[StreamGenerateResponse]) -> list[tuple[str, int]]:
    """What each event is, and of which part."""
    found = []
    for each in events:
        kind = each.WhichOneof("event") or ""
        found.append((kind.removeprefix("part_"), getattr(getattr(each, kind), "part_index", -1)))
    return found


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_finish_reason_and_the_end_of_the_bytes_make_a_whole_answer() -> None:
    assert answer(text("Hi", "stop")).message.parts[0].text == "Hi"
    assert answer(text("Hi", "stop"), DONE[:-2]).message.parts[0].text == "Hi"


@pytest.mark.parametrize("end", [b"", b"data: [DONE", text("!")[:30], b": keep-alive\n\n", b"event: x\n\n"])
def test_the_end_of_the_bytes_without_a_finish_reason_is_an_interruption(end: bytes) -> None:
    assert failure(text("Hi"), end) == (call_pb2.OUTCOME_INTERRUPTED, "no_finish_reason")
    assert failure(end) == (call_pb2.OUTCOME_INTERRUPTED, "no_finish_reason")


def test_done_without_a_finish_reason_breaks_the_protocol() -> None:
    assert failure(text("Hi"), DONE) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "no_finish_reason")


def test_nothing_counts_after_done() -> None:
    decoder = openai_chat.stream_decoder()
    events = decoder.feed(text("Hi", "stop") + DONE + text("!") + b"data: {nonsense\n\n" + DONE)
    assert kinds(events) == [("started", 0), ("completed", 0), ("completed", -1)]
    assert decoder.feed(text("more") + DONE) == []
    assert decoder.finish() == []
    assert decoder.finish() == []


def test_an_error_is_raised_again_and_after_the_events_before_it() -> None:
    decoder = openai_chat.stream_decoder()
    assert kinds(decoder.feed(text("a") + text("b") + b"data: {nonsense\n\n" + text("c"))) == [
        ("started", 0),
        ("delta", 0),
    ]
    with pytest.raises(UpstreamError, match="malformed_json"):
        decoder.feed(text("d", "stop") + DONE)
    with pytest.raises(UpstreamError, match="malformed_json"):
        decoder.finish()


def test_an_error_that_is_a_field_of_its_own() -> None:
    """As gpustack passed on llama.cpp's, in an answer that had begun."""
    _, error = read(text("Hi"), b'error: {"error":{"message":"failed to decode, try again","code":500}}\n\n')
    assert error is not None
    assert (error.outcome, error.message) == (call_pb2.OUTCOME_SERVER_ERROR, "failed to decode, try again")


def test_what_was_used_before_an_error_is_told() -> None:
    _, error = read(event(usage={"prompt_tokens": 3, "completion_tokens": 1}), text("Hi"))
    assert error is not None
    assert error.usage == call_pb2.Usage(input_tokens=3, output_tokens=1)


# --- finish reasons ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("stop", content_pb2.FINISH_REASON_STOP),
        ("eos", content_pb2.FINISH_REASON_STOP),
        ("length", content_pb2.FINISH_REASON_MAX_TOKENS),
        ("model_length", content_pb2.FINISH_REASON_CONTEXT_LENGTH),
        ("tool_calls", content_pb2.FINISH_REASON_TOOL_CALLS),
        ("tool_call", content_pb2.FINISH_REASON_TOOL_CALLS),
        ("function_call", content_pb2.FINISH_REASON_TOOL_CALLS),
        ("content_filter", content_pb2.FINISH_REASON_CONTENT_FILTER),
        ("something_new", content_pb2.FINISH_REASON_OTHER),
    ],
)
def test_finish_reasons(reason: str, meaning: content_pb2.FinishReason.ValueType) -> None:
    response = answer(text("Hi"), event({}, reason), DONE)
    assert (response.finish_reason, response.provider_finish_reason) == (meaning, reason)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("error", call_pb2.OUTCOME_SERVER_ERROR),
        ("insufficient_system_resource", call_pb2.OUTCOME_OVERLOADED),
        ("abort", call_pb2.OUTCOME_INTERRUPTED),
    ],
)
def test_finish_reasons_that_are_failures(reason: str, outcome: call_pb2.Outcome.ValueType) -> None:
    assert failure(text("Hi"), event({}, reason), DONE) == (outcome, reason)


def test_a_refusal_that_stops_is_a_refusal_and_a_filtered_one_is_filtered() -> None:
    assert answer(event({"refusal": "No"}), event({}, "stop")).finish_reason == content_pb2.FINISH_REASON_REFUSAL
    filtered = answer(event({"refusal": "No"}), event({}, "content_filter"))
    assert filtered.finish_reason == content_pb2.FINISH_REASON_CONTENT_FILTER


def test_the_finish_reason_does_not_tell_of_tool_calls() -> None:
    response = answer(calls(call(0, "f", "{}", "a")), event({}, "stop"), DONE)
    assert tool_calls(response) == [("a", "f", "{}")]
    assert response.finish_reason == content_pb2.FINISH_REASON_STOP
    assert not answer(event({}, "tool_calls")).message.parts


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "meaning"),
    [
        ({}, call_pb2.Usage()),
        ({"prompt_tokens": 0, "completion_tokens": None}, call_pb2.Usage(input_tokens=0)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": None},
            call_pb2.Usage(input_tokens=9, cache_read_input_tokens=4),
        ),
        ({"cached_tokens": 4}, call_pb2.Usage(cache_read_input_tokens=4)),
        ({"prompt_cache_hit_tokens": 4, "cost": 0.1}, call_pb2.Usage(cache_read_input_tokens=4)),
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, call_pb2.Usage(reasoning_output_tokens=7)),
    ],
)
def test_usage_is_what_the_provider_says_and_no_more(usage: Any, meaning: call_pb2.Usage) -> None:
    response = answer(text("Hi", "stop"), event(usage=usage), DONE)
    assert response.HasField("usage")
    assert response.usage == meaning


def test_usage_that_is_not_told_is_absent() -> None:
    assert not answer(event({"content": "Hi"}, "stop", usage=None), DONE).HasField("usage")


def test_usage_that_is_told_again_counts_once() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    finish = event({}, "stop", usage=usage, x_groq={"id": "r", "usage": usage})
    response = answer(text("Hi"), finish, finish, event(usage=usage), event(usage=None), DONE)
    assert response.usage == call_pb2.Usage(input_tokens=3, output_tokens=2)


def test_usage_that_stands_only_in_groqs_field() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    response = answer(text("Hi", "stop"), event(x_groq={"usage": usage}), event(x_groq={"usage": None}), DONE)
    assert response.usage == call_pb2.Usage(input_tokens=3, output_tokens=2)


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_is_completed_when_the_next_begins() -> None:
    events, _ = read(text("a"), text("b"), event({"refusal": "c"}), calls(call(0, "f", "{}", "x")), text("d", "stop"))
    assert kinds(events) == [
        ("started", 0),
        ("delta", 0),
        ("completed", 0),
        ("started", 1),
        ("completed", 1),
        ("started", 2),
        ("completed", 2),
        ("started", 3),
        ("completed", 3),
        ("completed", -1),
    ]


def test_fragments_of_parallel_calls_may_interleave() -> None:
    events, _ = read(
        calls(call(0, "f", '{"a"', "x"), call(1, "g", "", "y")),
        calls(call(1, None, '{"b":')),
        calls(call(0, None, ":1}"), call(1, None, "2}")),
        event({}, "tool_calls"),
    )
    assert tool_calls(fold(events)) == [("x", "f", '{"a":1}'), ("y", "g", '{"b":2}')]
    assert kinds(events)[-3:] == [("completed", 0), ("completed", 1), ("completed", -1)]


def test_a_call_that_goes_on_after_its_end_breaks_the_protocol() -> None:
    start = calls(call(0, "f", "{}", "x")), calls(call(1, "g", "{}", "y"))
    assert answer(*start, calls(call(0, None, " \n")), event({}, "tool_calls"))
    assert failure(*start, calls(call(0, None, "x"))) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "tool_call_reopened")


def test_arguments_stay_the_models_own() -> None:
    response = answer(calls(call(0, "f", "{'a'", "x")), calls(call(0, None, ": ]")), event({}, "stop"))
    assert tool_calls(response) == [("x", "f", "{'a': ]")]


def test_no_arguments_are_an_empty_object() -> None:
    start = calls(call(0, "f", None, "x"), call(1, "g", "", "y"), {"index": 2, "id": "z", "function": {"name": "h"}})
    assert tool_calls(answer(start, event({}, "stop"))) == [("x", "f", "{}"), ("y", "g", "{}"), ("z", "h", "{}")]


def test_a_name_is_not_overwritten() -> None:
    """LM Studio sends an empty name with each fragment."""
    stream = calls(call(0, "f", "", "x")), calls(call(0, "", "{", "")), calls(call(0, "", "}", "x")), event({}, "stop")
    assert tool_calls(answer(*stream)) == [("x", "f", "{}")]


def test_a_name_may_come_late_but_must_come() -> None:
    late = calls(call(0, None, "{", "x")), calls({"index": 0}), calls(call(0, "f", "}"))
    assert tool_calls(answer(*late, event({}, "stop"))) == [("x", "f", "{}")]
    nameless = failure(calls(call(0, None, "{}", "x")), event({}, "stop"), DONE)
    assert nameless == (call_pb2.OUTCOME_PROTOCOL_ERROR, "tool_call_unnamed")


def test_missing_ids_are_made_up() -> None:
    stream = calls(call(0, "f", "{}"), call(1, "g", "{}", "y"), call(2, "h", "{}")), event({}, "stop")
    assert tool_calls(answer(*stream)) == [("call_0", "f", "{}"), ("y", "g", "{}"), ("call_2", "h", "{}")]


def test_a_missing_index_is_the_place() -> None:
    stream = calls(call(None, "f", "{}", "x"), call(None, "g", "{}", "y")), event({}, "stop")
    assert tool_calls(answer(*stream)) == [("x", "f", "{}"), ("y", "g", "{}")]


def test_whole_calls_under_one_index_are_several() -> None:
    """Gemini's compatible endpoint gives each of its parallel calls the index 0."""
    stream = calls(call(0, "f", "{}", "x")), calls(call(0, "f", "{}", "y")), event({}, "stop")
    assert tool_calls(answer(*stream)) == [("x", "f", "{}"), ("y", "f", "{}")]


def test_an_id_for_each_fragment_is_one_call() -> None:
    """vLLM has made one up for each."""
    stream = calls(call(0, "f", "", "x")), calls(call(0, None, "{", "y")), calls(call(0, None, "}", "z"))
    assert tool_calls(answer(*stream, event({}, "stop"))) == [("x", "f", "{}")]


def test_a_call_of_a_custom_tool_is_kept_and_goes_back() -> None:
    pieces = [
        [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "math", "input": ""}}],
        [{"index": 0, "custom": {"input": "4 +"}}],
        [{"index": 0, "custom": {"input": " 4"}}],
    ]
    response = answer(*(event({"tool_calls": each}) for each in pieces), event({}, "tool_calls"), DONE)
    (part,) = response.message.parts
    said = {"id": "c1", "type": "custom", "custom": {"name": "math", "input": "4 + 4"}}
    assert (part.provider_part.dialect, part.provider_part.type) == ("openai_chat", "custom")
    assert json.loads(part.provider_part.json) == said
    assert response.finish_reason == content_pb2.FINISH_REASON_TOOL_CALLS
    request = GenerateRequest()
    request.messages.add(role=content_pb2.ROLE_USER).parts.add(text="4 + 4?")
    request.messages.append(response.message)
    result = request.messages.add(role=content_pb2.ROLE_TOOL).parts.add().tool_result
    result.tool_call_id = "c1"
    result.parts.add(text="8")
    sent = json.loads(openai_chat.encode_request(request, "m", stream=False, quirks=Quirks()).body)["messages"]
    assert sent[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [said]},
        {"role": "tool", "tool_call_id": "c1", "content": "8"},
    ]


def test_content_as_a_list_is_its_text() -> None:
    """Mistral's reasoning models."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    stream = event({"content": [thinking]}), event({"content": [{"type": "text", "text": "a"}, thinking, "b"]})
    parts = answer(*stream, text("c", "stop")).message.parts
    assert [(part.reasoning.text, part.text) for part in parts] == [("Hm", ""), ("", "a"), ("Hm", ""), ("", "bc")]


def test_reasoning_is_a_part_of_its_own() -> None:
    stream = event({"reasoning_content": "H"}), event({"reasoning": "m", "content": None}), text("a", "stop")
    parts = answer(*stream).message.parts
    assert [(part.reasoning.text, part.text) for part in parts] == [("Hm", ""), ("", "a")]


def test_reasoning_that_is_told_twice_is_told_once() -> None:
    """vLLM, while it renames the field."""
    assert answer(event({"reasoning_content": "Hm", "reasoning": "Hm"}), text("a", "stop")).message.parts[0] == Part(
        reasoning=Reasoning(text="Hm")
    )


def test_details_of_thoughts_that_are_kept_secret_have_a_part_of_their_own() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    first = answer(event({"reasoning_details": details}), text("a", "stop")).message.parts
    last = answer(text("a"), event({"reasoning_details": [*details, "odd"]}, "stop")).message.parts
    state = ProviderState(format="openrouter.reasoning_details", data='[{"type":"reasoning.encrypted","data":"x"}]')
    secret = Part(reasoning=Reasoning(), provider_state=state)
    assert [*first] == [secret, Part(text="a")]
    assert [*last] == [Part(text="a"), secret]


def test_images_are_parts() -> None:
    images = [{"image_url": {"url": url}} for url in ("data:image/png;base64,aGk=", "https://example.com/a.png")]
    odd = [{"image_url": {"url": "data:image/png;base64,?"}}, {}]
    response = answer(event({"content": "Look", "images": images}), event({"images": odd}, "stop"))
    assert [*response.message.parts] == [
        Part(text="Look"),
        Part(media=Media(mime_type="image/png", data=b"hi")),
        Part(media=Media(uri="https://example.com/a.png")),
    ]
    assert [warning.message for warning in response.warnings] == [
        "image is left out: the gateway does not know this content"
    ]


def test_content_that_we_do_not_know_is_left_out_with_a_warning() -> None:
    annotations = [{"type": "file", "file": {}}, {"type": "url_citation", "url_citation": {"url": "u"}}]
    response = answer(event({"audio": {"id": "a"}, "annotations": annotations}), event({}, "stop"))
    assert [warning.kind for warning in response.warnings] == [call_pb2.Warning.KIND_CONTENT_DROPPED] * 3
    assert not response.message.parts


def test_metadata_is_of_limited_size() -> None:
    deep: Any = "x"
    for _ in range(9):
        deep = [deep]
    more = {"prompt_filter_results": ["x" * 5000], "system_fingerprint": "fp", "service_tier": "", "provider": deep}
    response = answer(event({"content": "a"}, **more), event({}, "stop", service_tier="flex", system_fingerprint=None))
    assert dict(response.provider_metadata) == {"system_fingerprint": "fp", "service_tier": "flex"}
    assert [warning.message.split()[0] for warning in response.warnings] == [
        "provider_metadata.provider",
        "provider_metadata.prompt_filter_results",
    ]


def test_an_answer_may_be_empty() -> None:
    assert not answer(event({"role": "assistant", "content": "", "refusal": None}), event({}, "stop")).message.parts


# --- logprobs ---------------------------------------------------------------------------------------------------------


def token(word: str, logprob: float | None = -0.5, **more: Any) -> Any:
    return {"token": word, "logprob": logprob, "bytes": [*word.encode()]} | more


def with_tokens(delta: Any, *tokens: Any, of: str = "content") -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": {of: tokens}}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def test_tokens_without_words_are_kept() -> None:
    events, _ = read(
        with_tokens({"content": ""}, token("a")),
        with_tokens({"content": "b"}, token("b")),
        with_tokens({"tool_calls": [call(0, "f", "{}", "x")]}, token("c")),
        with_tokens({}, token("d")),
        event({}, "stop"),
    )
    assert "".join(found.token for found in fold(events).logprobs) == "abcd"
    assert kinds(events)[:4] == [("started", 0), ("delta", 0), ("delta", 0), ("completed", 0)]


def test_tokens_whose_probability_is_not_told_are_left_out() -> None:
    tokens = token("a", None), token("b", top_logprobs=[token("b"), token("c", None)]), token("d", top_logprobs=None)
    found = answer(with_tokens({"content": "abd"}, *tokens), event({}, "stop")).logprobs
    assert [(each.token, [top.token for top in each.top]) for each in found] == [("b", ["b"]), ("d", [])]


def test_tokens_of_a_refusal() -> None:
    response = answer(with_tokens({"refusal": "No"}, token("No"), of="refusal"), event({}, "stop"))
    assert (response.message.parts[0].refusal, response.logprobs[0].token) == ("No", "No")


def test_logprobs_of_another_shape_are_left_out() -> None:
    """Together sends a number beside tool calls."""
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": -0.1, "finish_reason": "stop"}
    response = answer(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
    assert (response.message.parts[0].text, len(response.logprobs)) == ("a", 0)


# --- wire format ------------------------------------------------------------------------------------------------------


def test_what_hosts_send_besides() -> None:
    filters = b'data: {"id":"","model":"","created":0,"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n'
    response = answer(b": OPENROUTER PROCESSING\n\n", filters, b"data: {}\n\ndata:\n\n", text("Hi", "stop"), DONE)
    assert (response.message.parts[0].text, response.served.provider_response_id) == ("Hi", "c1")


def test_the_id_of_an_answer_is_its_first() -> None:
    stream = event({"content": "a"}, id=""), event({"content": "b"}, id="x"), event({}, "stop", id="y")
    assert answer(*stream).served.provider_response_id == "x"
    assert not answer(event({}, "stop", id=None)).HasField("served")


def test_null_stands_for_what_is_missing() -> None:
    nothing = b'{"id":null,"choices":null,"usage":null,"x_groq":null,"error":null,"object":null}'
    choice = b'{"choices":[{"index":null,"delta":null,"finish_reason":null,"logprobs":null}]}'
    delta = b'{"choices":[{"delta":{"content":null,"refusal":null,"tool_calls":null},"finish_reason":""}]}'
    stream = [b"data: " + each + b"\n\n" for each in (nothing, choice, delta)]
    assert answer(*stream, text("Hi", "stop")).message.parts[0].text == "Hi"


@pytest.mark.parametrize(
    "wrong",
    [
        b"nonsense",
        b"[]",
        b'"text"',
        b'{"choices":{}}',
        b'{"choices":[{"delta":[]}]}',
        b'{"choices":[{"delta":{"content":1}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":"a"}]}}]}',
        b'{"usage":{"prompt_tokens":-1}}',
        b'{"usage":{"prompt_tokens":9223372036854775808}}',
        b'{"choices":[{"delta":{},"logprobs":{"content":[{"bytes":[256]}]}}]}',
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_the_wire_format(wrong: bytes) -> None:
    decoder = openai_chat.stream_decoder()
    with pytest.raises(UpstreamError, match="OUTCOME_PROTOCOL_ERROR"):
        decoder.feed(b"data: " + wrong + b"\n\n")


def test_an_event_without_end_is_given_up() -> None:
    decoder, megabyte = openai_chat.stream_decoder(), b"x" * (1 << 20)
    for _ in range(MAX_EVENT_BYTES >> 20):
        assert decoder.feed(megabyte) == []
    with pytest.raises(UpstreamError, match="event_too_large"):
        decoder.feed(megabyte)


@pytest.mark.parametrize(
    ("content", "meaning"),
    [
        (b"a\xffb", "a\ufffdb"),
        (rb"a\ud83d", "a\ufffd"),
        (rb"\ude82b", "\ufffdb"),
        (rb"\ud83d\ud83d\ude82", "\ufffd🚂"),
        (rb"\ud83d\\ude82", "\ufffd\\ude82"),
        (rb"\\ud83d", "\\ud83d"),
        (rb"\"\ud83d\"\n", '"\ufffd"\n'),
    ],
)
def test_what_is_not_unicode_is_replaced(content: bytes, meaning: str) -> None:
    stream = b'data: {"choices":[{"index":0,"delta":{"content":"' + content + b'"},"finish_reason":"stop"}]}\n\n'
    assert answer(stream, DONE).message.parts[0].text == meaning


# --- errors in the stream ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "outcome", "code"),
    [
        (b'data: {"error":{"message":"x","code":502}}\n\n', call_pb2.OUTCOME_SERVER_ERROR, "502"),
        (b'data: {"error":{"message":"x","code":"429"}}\n\n', call_pb2.OUTCOME_RATE_LIMITED, "429"),
        (b'data: {"error":{"type":"overloaded_error"}}\n\n', call_pb2.OUTCOME_OVERLOADED, "overloaded_error"),
        (b'data: {"error":{"code":"insufficient_quota"}}\n\n', call_pb2.OUTCOME_QUOTA, "insufficient_quota"),
        (b'data: {"error":"all is lost","choices":[]}\n\n', call_pb2.OUTCOME_SERVER_ERROR, ""),
        (
            b'data: {"object":"error","message":"x","type":"BadRequestError","code":400}\n\n',
            call_pb2.OUTCOME_INVALID,
            "BadRequestError",
        ),
        (b'event: error\ndata: {"message":"x","status_code":503}\n\n', call_pb2.OUTCOME_OVERLOADED, ""),
        (b"event: error\ndata: upstream closed\n\n", call_pb2.OUTCOME_SERVER_ERROR, ""),
        (
            b'data: {"error":{"code":502},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}\n\n',
            call_pb2.OUTCOME_SERVER_ERROR,
            "502",
        ),
    ],
)
def test_an_error_in_the_stream(stream: bytes, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    assert failure(stream, DONE) == (outcome, code)
    assert failure(text("Hi"), stream) == (outcome, code)
    # At the end of the bytes it counts without its blank line, too.
    assert failure(text("Hi"), stream[:-2]) == (outcome, code)


def test_an_error_in_the_stream_has_the_providers_words_scrubbed() -> None:
    _, error = read(b'data: {"error":{"message":"bad key sk-abcdefghijkl","code":401}}\n\n')
    assert error is not None
    assert (error.message, error.status) == ("bad key ***", 401)
