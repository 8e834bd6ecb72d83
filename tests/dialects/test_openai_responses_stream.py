"""Decoding streamed answers of the Responses API: what hosts really send, and what they should not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import openai_responses
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold
from trunkline_server.wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse


def event(kind: str, **more: Any) -> bytes:
    name = f"response.{kind}"
    return f"event: {name}\ndata: {json.dumps({'type': name} | more)}\n\n".encode()


def end(*output: Any, kind: str = "completed", **more: Any) -> bytes:
    return event(kind, response={"id": "resp_1", "status": kind, "output": output} | more)


def text(words: str, place: int = 0, content: int = 0, **more: Any) -> bytes:
    return event("output_text.delta", output_index=place, content_index=content, delta=words, **more)


def added(place: int, **item: Any) -> bytes:
    return event("output_item.added", output_index=place, item=item)


def done(place: int, **item: Any) -> bytes:
    return event("output_item.done", output_index=place, item=item)


def arguments(words: str, place: int = 0) -> bytes:
    return event("function_call_arguments.delta", output_index=place, delta=words)


def summary(words: str, index: int = 0, place: int = 0) -> bytes:
    return event("reasoning_summary_text.delta", output_index=place, summary_index=index, delta=words)


def message(*words: str, **more: Any) -> Any:
    content = [{"type": "output_text", "text": each} for each in words]
    return {"type": "message", "id": "msg_1", "content": content} | more


def call(**more: Any) -> Any:
    return {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f"} | more


def reasoning(*words: str, **more: Any) -> Any:
    pieces = [{"type": "summary_text", "text": each} for each in words]
    return {"type": "reasoning", "id": "rs_1", "summary": pieces} | more


def read(*pieces: bytes) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    """The events in one piece; they are the same byte by byte."""
    events, error = decoded(openai_responses.stream_decoder(), [b"".join(pieces)])
    others, other = decoded(openai_responses.stream_decoder(), bytes_of(b"".join(pieces)))
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


def kinds(events: list[StreamGenerateResponse]) -> list[tuple[str, int]]:
    """What each event is, and of which part."""
    found = []
    for each in events:
        kind = each.WhichOneof("event") or ""
        found.append((kind.removeprefix("part_"), getattr(getattr(each, kind), "part_index", -1)))
    return found


def texts(response: GenerateResponse) -> list[str]:
    return [part.text or part.refusal or part.reasoning.text for part in response.message.parts]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_the_end_of_the_answer_is_an_event() -> None:
    assert texts(answer(text("Hi"), end())) == ["Hi"]
    assert texts(answer(text("Hi"), end()[:-2])) == ["Hi"]
    assert answer(text("Hi"), end()).served.provider_response_id == "resp_1"


@pytest.mark.parametrize(
    "tail", [b"", b"data: [DONE]\n\n", b": keep-alive\n\n", end()[:40], b"event: response.completed\n\n", b"data:\n\n"]
)
def test_the_end_of_the_bytes_without_the_end_of_the_answer_is_an_interruption(tail: bytes) -> None:
    assert failure(text("Hi"), done(0, **message("Hi")), tail) == (call_pb2.OUTCOME_INTERRUPTED, "no_terminal_event")
    assert failure(tail) == (call_pb2.OUTCOME_INTERRUPTED, "no_terminal_event")


def test_nothing_counts_after_the_end() -> None:
    decoder = openai_responses.stream_decoder()
    events = decoder.feed(text("Hi") + end() + text("!") + b"data: {nonsense\n\n" + end() + b"data: [DONE]\n\n")
    assert kinds(events) == [("started", 0), ("completed", 0), ("completed", -1)]
    assert decoder.feed(text("more") + end()) == []
    assert decoder.finish() == []
    assert decoder.finish() == []


def test_an_error_is_raised_again_and_after_the_events_before_it() -> None:
    decoder = openai_responses.stream_decoder()
    assert kinds(decoder.feed(text("a") + text("b") + b"data: {nonsense\n\n" + text("c"))) == [
        ("started", 0),
        ("delta", 0),
    ]
    with pytest.raises(UpstreamError, match="malformed_json"):
        decoder.feed(text("d") + end())
    with pytest.raises(UpstreamError, match="malformed_json"):
        decoder.finish()


def test_an_event_that_is_too_large() -> None:
    decoder = openai_responses.stream_decoder()
    with pytest.raises(UpstreamError, match="event_too_large"):
        decoder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 1))


def test_incomplete_answers() -> None:
    response = answer(text("Hi"), end(kind="incomplete", incomplete_details={"reason": "max_output_tokens"}))
    expected = (content_pb2.FINISH_REASON_MAX_TOKENS, "max_output_tokens")
    assert (response.finish_reason, response.provider_finish_reason) == expected


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "outcome", "code"),
    [
        (
            b'event: error\ndata: {"type":"error","error":{"type":"tokens","code":"rate_limit_exceeded"}}\n\n',
            call_pb2.OUTCOME_RATE_LIMITED,
            "rate_limit_exceeded",
        ),
        (
            b'data: {"type":"error","code":"server_error","message":"x","param":null}\n\n',
            call_pb2.OUTCOME_SERVER_ERROR,
            "server_error",
        ),
        (b"event: error\ndata: upstream closed\n\n", call_pb2.OUTCOME_SERVER_ERROR, ""),
        (b'data: {"error":{"code":"context_length_exceeded"}}\n\n', call_pb2.OUTCOME_CONTEXT_LENGTH, ""),
        (
            b'data: {"object":"error","message":"x","type":"BadRequestError","code":400}\n\n',
            call_pb2.OUTCOME_INVALID,
            "BadRequestError",
        ),
        (end(kind="failed", error={"code": "insufficient_quota"}), call_pb2.OUTCOME_QUOTA, "insufficient_quota"),
        (end(kind="failed"), call_pb2.OUTCOME_SERVER_ERROR, "failed"),
        (end(kind="cancelled"), call_pb2.OUTCOME_INTERRUPTED, "cancelled"),
    ],
)
def test_an_error_in_the_stream(stream: bytes, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    found, its_code = failure(text("Hi"), stream, end())
    assert (found, its_code) == (outcome, code or its_code)
    # At the end of the bytes it counts without its blank line, too.
    assert failure(text("Hi"), stream[:-2])[0] == outcome


def test_an_error_in_the_stream_has_the_providers_words_scrubbed_and_what_was_used() -> None:
    error = {"code": "server_error", "message": "bad key sk-abcdefghijkl"}
    _, found = read(end(kind="failed", error=error, usage={"input_tokens": 3, "output_tokens": 1}))
    assert found is not None
    assert found.message == "bad key ***"
    assert found.usage == call_pb2.Usage(input_tokens=3, output_tokens=1)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: {nonsense\n\n",
        b"data: []\n\n",
        b'data: {"type":7}\n\n',
        b'data: {"type":"response.output_text.delta"}\n\n',
        b'data: {"type":"response.output_text.delta","delta":7}\n\n',
        b'data: {"type":"response.output_text.delta","delta":"a","output_index":-1}\n\n',
        b'data: {"type":"response.output_item.added"}\n\n',
        b'data: {"type":"response.output_item.done","item":"x"}\n\n',
        b'data: {"type":"response.output_text.annotation.added","annotation":[]}\n\n',
        b'data: {"type":"response.completed"}\n\n',
        b'data: {"type":"response.completed","response":{"output":[[]]}}\n\n',
    ],
)
def test_what_is_not_the_wire_format(stream: bytes) -> None:
    assert failure(text("Hi"), stream, end()) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json")


# --- what is tolerated ------------------------------------------------------------------------------------------------


def test_keep_alives_unknown_events_and_unknown_fields() -> None:
    noise = [
        b": keepalive\n\n",
        b"event: keepalive\ndata: {}\n\n",
        b'data: {"type":"response.something_new","delta":{"a":1},"output_index":"x"}\n\n',
        event("web_search_call.searching", output_index=0, item_id="ws_1"),
        event("code_interpreter_call_code.delta", output_index=0, delta=7),
        event("queued", response={"id": "resp_1", "output": "x"}),
    ]
    pieces = [piece for each in noise for piece in (each, text("a", obfuscation={"x": 1}, sequence_number="?"))]
    assert texts(answer(*pieces, end(later=[1]))) == ["a" * len(noise)]


def test_an_event_is_known_by_its_name_where_its_data_has_no_type() -> None:
    stream = b'event: response.output_text.delta\ndata: {"delta":"Hi"}\n\n'
    assert texts(answer(stream, end())) == ["Hi"]


def test_characters_that_are_cut_and_text_that_is_not_unicode() -> None:
    assert texts(answer(text("Voilà 🚂"), end())) == ["Voilà 🚂"]
    broken = b'data: {"type":"response.output_text.delta","delta":"a\\ud83d\xffb"}\n\n'
    assert texts(answer(broken, end())) == ["a\ufffd\ufffdb"]


# --- items that come whole, or only in part ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [text("Hel"), text("lo"), done(0, **message("Hello")), end(message("Hello"))],
        [text("Hel"), done(0, **message("Hello")), end()],
        [added(0, **message()), done(0, **message("Hello")), end()],
        [text("Hel"), end(message("Hello"))],
        [end(message("Hello"))],
        [text("Hello"), done(0, **message("Hello")), done(0, **message("Hello")), end(message("Hello"))],
        [text("Hello"), done(0, **message("Hell")), end(message("something else"))],
        [text("Hello", 5), done(5, **message("Hello")), end(message("Hello"))],
    ],
)
def test_nothing_is_said_twice_and_nothing_is_left_unsaid(pieces: list[bytes]) -> None:
    events, error = read(*pieces)
    assert error is None
    assert texts(fold(events)) == ["Hello"]
    assert kinds(events)[0] == ("started", 0)
    assert kinds(events)[-2:] == [("completed", 0), ("completed", -1)]


def test_annotations_and_tokens_are_said_once() -> None:
    note = {"type": "url_citation", "url": "https://x.org", "start_index": 0, "end_index": 1}
    token = {"token": "Hi", "logprob": -1.0, "bytes": [72, 105], "top_logprobs": []}
    item = {
        "type": "message",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [note, note], "logprobs": [token]}],
    }
    by_pieces = answer(text("Hi", logprobs=[token]), event("output_text.annotation.added", annotation=note), end(item))
    at_once = answer(done(0, **item), end(item))
    assert by_pieces == at_once
    assert [citation.uri for citation in at_once.message.parts[0].citations] == ["https://x.org"] * 2
    assert [(each.token, each.raw_bytes) for each in at_once.logprobs] == [("Hi", b"Hi")]


def test_tokens_without_words() -> None:
    half = {"token": "\\xf0\\x9f", "logprob": -1.0, "bytes": [240, 159]}
    events, _ = read(text("", logprobs=[half]), text("👍"), end())
    assert kinds(events)[:3] == [("started", 0), ("delta", 0), ("delta", 0)]
    assert [token.raw_bytes for token in fold(events).logprobs] == [b"\xf0\x9f"]


def test_arguments_that_come_at_once() -> None:
    item = call(arguments='{"a":1}')
    finished = event("function_call_arguments.done", output_index=0, arguments='{"a":1}')
    response = answer(added(0, **call(arguments="")), finished, done(0, **item), end(item))
    [part] = response.message.parts
    assert (part.tool_call.id, part.tool_call.arguments_json) == ("c", '{"a":1}')
    assert response.finish_reason == content_pb2.FINISH_REASON_TOOL_CALLS


def test_arguments_before_their_name() -> None:
    [part] = answer(arguments('{"a"'), arguments(":1}"), done(0, **call(arguments='{"a":1}')), end()).message.parts
    assert part.tool_call.arguments_json == '{"a":1}'


def test_calls_side_by_side() -> None:
    stream = [added(place, **call(id=f"fc_{place}", call_id=f"c{place}")) for place in (0, 1)]
    stream += [arguments('{"a"', 0), arguments('{"b"', 1), arguments(":1}", 0), arguments(":2}", 1)]
    parts = answer(*stream, end()).message.parts
    found = [(part.tool_call.id, part.tool_call.arguments_json) for part in parts]
    assert found == [("c0", '{"a":1}'), ("c1", '{"b":2}')]


def test_a_call_that_never_gets_its_name_or_goes_on_after_its_end() -> None:
    assert failure(arguments("{}"), end()) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "tool_call_unnamed")
    reopened = (call_pb2.OUTCOME_PROTOCOL_ERROR, "item_reopened")
    assert failure(done(0, **call(arguments="{}")), arguments("{}"), end()) == reopened
    assert failure(done(0, **message("Hi")), text("!"), end()) == reopened


# --- reasoning --------------------------------------------------------------------------------------------------------


def test_summaries_are_paragraphs_of_one_part() -> None:
    whole = reasoning("One.", "Two.", encrypted_content="x")
    response = answer(
        added(0, **reasoning()), summary("On"), summary("e."), summary("Two.", 1), done(0, **whole), end()
    )
    [part] = response.message.parts
    assert part.reasoning.text == "One.\n\nTwo."
    assert json.loads(part.provider_state.data) == whole
    assert texts(answer(end(whole))) == ["One.\n\nTwo."]


def test_reasoning_in_plain_text() -> None:
    piece = event("reasoning_text.delta", output_index=0, content_index=0, delta="Hm.")
    finished = event("content_part.done", output_index=0, part={"type": "reasoning_text", "text": "Hm."})
    [part] = answer(piece, finished, end()).message.parts
    assert part.reasoning.text == "Hm."
    assert not part.HasField("provider_state")


def test_the_encrypted_form_may_come_with_the_end_only() -> None:
    """Azure sends it so."""
    secret = reasoning("One.", encrypted_content="x")
    events, _ = read(done(0, **reasoning("One.")), done(1, **message("Hi")), end(secret, message("Hi")))
    assert kinds(events) == [
        ("started", 0),
        ("delta", 0),
        ("started", 1),
        ("completed", 1),
        ("completed", 0),
        ("completed", -1),
    ]
    assert json.loads(fold(events).message.parts[0].provider_state.data) == secret


def test_reasoning_that_is_done_is_completed_at_once() -> None:
    events, _ = read(done(0, **reasoning(encrypted_content="x")), text("Hi", 1), end())
    assert kinds(events)[:2] == [("started", 0), ("completed", 0)]


def test_reasoning_without_any_form_is_a_part_all_the_same() -> None:
    [part] = answer(added(0, **reasoning()), end()).message.parts
    assert part.HasField("reasoning")
    assert not part.HasField("provider_state")
