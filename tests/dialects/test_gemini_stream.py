"""Decoding streamed answers of generateContent: framing, ends, merges and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import gemini_generate_content as dialect
from trunkline_server.dialects.gemini_generate_content.framer import GeminiFramer, JsonFramer
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold
from trunkline_server.wire.sse import MAX_EVENT_BYTES, EventTooLarge

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "gemini_generate_content"


def event(*parts: Any, finish: str | None = None, usage: Any = None, **more: Any) -> Any:
    candidate = {"content": {"parts": [*parts]}} | ({"finishReason": finish} if finish else {})
    return {"candidates": [candidate], "responseId": "r1"} | ({"usageMetadata": usage} if usage else {}) | more


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in events)


def read(*pieces: bytes) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    return decoded(dialect.stream_decoder(), pieces)


def answer(*pieces: bytes) -> GenerateResponse:
    events, error = read(*pieces)
    assert error is None
    return fold(events)


HI = event({"text": "Hi"})
END = event(finish="STOP")


def test_the_words_come_as_they_arrive() -> None:
    decoder = dialect.stream_decoder()
    (started,) = decoder.feed(sse(HI))
    assert started.part_started.part.text == "Hi"
    (delta,) = decoder.feed(sse(event({"text": " you"})))
    assert delta.part_delta.text == " you"
    assert decoder.feed(sse(END)) == []
    assert [each.WhichOneof("event") for each in decoder.finish()] == ["part_completed", "completed"]


def test_a_tool_may_be_run_before_the_answer_ends() -> None:
    decoder = dialect.stream_decoder()
    events = decoder.feed(sse(event({"text": "Wait."}, {"functionCall": {"name": "f"}})))
    assert [each.WhichOneof("event") for each in events] == ["part_started", "part_started", "part_completed"]
    assert events[-1].part_completed.part_index == 1


def test_a_signed_piece_is_a_part_of_its_own() -> None:
    pieces = [{"text": "a"}, {"text": "b", "thoughtSignature": "MQ=="}, {"text": "c"}, {"text": "d"}]
    parts = answer(sse(*map(event, pieces), END)).message.parts
    assert [(part.text, part.provider_state.data) for part in parts] == [("a", ""), ("b", "MQ=="), ("cd", "")]


@pytest.mark.parametrize("nothing", [{"text": ""}, {"text": "", "thought": True}, {}])
def test_what_is_empty_is_no_part(nothing: Any) -> None:
    assert not answer(sse(event(nothing), END)).message.parts
    assert [part.text for part in answer(sse(HI, event(nothing), HI, END)).message.parts] == ["HiHi"]


def test_running_totals_are_merged_and_not_added() -> None:
    usages = [
        {"promptTokenCount": 9, "candidatesTokenCount": 5, "cachedContentTokenCount": 4, "trafficType": "ON_DEMAND"},
        {"promptTokenCount": 7},
        {"candidatesTokenCount": 3, "thoughtsTokenCount": 2},
    ]
    usage = answer(sse(*(event({"text": "x"}, usage=each) for each in usages), END)).usage
    assert usage == call_pb2.Usage(
        input_tokens=7, output_tokens=5, cache_read_input_tokens=4, reasoning_output_tokens=2
    )


def test_the_last_finish_reason_counts() -> None:
    stream = sse(event({"text": "x"}, finish="STOP"), event(finish="MAX_TOKENS"))
    assert answer(stream).finish_reason == content_pb2.FINISH_REASON_MAX_TOKENS


def test_other_candidates_are_left_out() -> None:
    other = {"candidates": [{"index": 1, "content": {"parts": [{"text": "no"}]}, "finishReason": "OTHER"}]}
    response = answer(sse(other, HI, other, END, other))
    assert [part.text for part in response.message.parts] == ["Hi"]
    assert response.provider_finish_reason == "STOP"
    assert [warning.kind for warning in response.warnings] == [call_pb2.Warning.KIND_CONTENT_DROPPED]


def test_sources_are_gathered_over_all_events() -> None:
    def grounded(uri: str, place: int, text: str) -> Any:
        segment = {"startIndex": 2 * place, "endIndex": 2 * place + 2, "text": text}
        support = {"segment": segment, "groundingChunkIndices": [place]}
        metadata = {"groundingChunks": [{"web": {"uri": uri}}], "groundingSupports": [support]}
        return event({"text": text}) | {
            "candidates": [{"content": {"parts": [{"text": text}]}, "groundingMetadata": metadata}]
        }

    response = answer(sse(grounded("a", 0, "Hi"), grounded("b", 1, "Ho"), END))
    (part,) = response.message.parts
    assert [(c.start_index, c.end_index, c.uri) for c in part.citations] == [(0, 2, "a"), (2, 4, "b")]
    assert len(response.provider_metadata["groundingMetadata"]["groundingChunks"]) == 2  # type: ignore[index,arg-type]


def test_a_blocked_prompt_ends_a_stream_without_words() -> None:
    response = answer(sse({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert (response.finish_reason, len(response.message.parts)) == (content_pb2.FINISH_REASON_CONTENT_FILTER, 0)


def test_a_block_in_the_middle_ends_the_answer() -> None:
    response = answer(sse(HI, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}))
    assert response.finish_reason == content_pb2.FINISH_REASON_CONTENT_FILTER
    assert response.provider_finish_reason == "PROHIBITED_CONTENT"
    assert response.message.parts[0].text == "Hi"


# --- framing ----------------------------------------------------------------------------------------------------------


def test_what_gateways_send_besides() -> None:
    stream = b": ping\n\nevent: message\nid: 7\n" + sse(HI) + b"data:\n\n: ping\n\n" + sse(END) + b"data: [DONE]\n\n"
    assert answer(stream).message.parts[0].text == "Hi"


def test_null_stands_for_what_is_missing() -> None:
    nothing = dict.fromkeys(("candidates", "usageMetadata", "promptFeedback", "error", "responseId"))
    empty = {"candidates": [{"content": None, "finishReason": None, "index": None, "groundingMetadata": None}]}
    parts = event({"text": None, "thought": None, "functionCall": None, "thoughtSignature": None})
    assert [part.text for part in answer(sse(nothing, empty, parts, HI, END)).message.parts] == ["Hi"]


def as_array(stream: bytes) -> bytes:
    """The same events as the API sends them without alt=sse: laid out, with CRLF between them."""
    events = [json.loads(line[6:]) for line in stream.split(b"\r\n") if line]
    return ("[" + "\n,\r\n".join(json.dumps(each, indent=2, ensure_ascii=False) for each in events) + "\n]").encode()


@pytest.mark.parametrize("case", sorted(GOLDEN.glob("*/stream.sse")), ids=lambda path: path.parent.name)
def test_a_json_array_says_the_same(case: Path) -> None:
    stream = case.read_bytes()
    whole = read(stream)
    assert whole[1] is None
    assert read(as_array(stream)) == whole
    assert read(*bytes_of(as_array(stream))) == whole


def test_an_array_that_is_cut_off_is_interrupted() -> None:
    array = as_array(sse(HI, END))
    finished = array.rindex(b"}")
    for end in range(len(array)):
        events, error = read(array[:end])
        assert (error is None) == (end > finished)
        assert any(each.HasField("completed") for each in events) == (error is None)
        assert error is None or error.outcome == call_pb2.OUTCOME_INTERRUPTED


TRICKY = [{"a": 'x{"}\\'}, {"b": ["}", {"c": '[{\\"'}]}, {}, {"d": "é🚂\\"}]


@pytest.mark.parametrize("separator", ["", ",", ",\r\n", "\n"])
def test_objects_are_cut_apart_wherever_the_bytes_are(separator: str) -> None:
    text = "[" + separator.join(json.dumps(each, ensure_ascii=False) for each in TRICKY) + "]"
    data = text.encode()
    for size in (1, 2, 3, 5, 7, len(data)):
        framer = JsonFramer()
        objects = [each for start in range(0, len(data), size) for each in framer.feed(data[start : start + size])]
        assert [json.loads(each) for each in objects] == TRICKY
        assert not framer.is_inside


def test_an_object_without_end_is_given_up() -> None:
    framer = JsonFramer(max_object_bytes=10)
    framer.feed(b'[{"a":1},{"b":"xx')
    with pytest.raises(EventTooLarge):
        framer.feed(b"xxxxx")


def test_an_event_without_end_is_given_up() -> None:
    for start in (b"data: ", b"[{"):
        decoder, megabyte = dialect.stream_decoder(), b"x" * (1 << 20)
        decoder.feed(start)
        with pytest.raises(UpstreamError, match="event_too_large"):
            for _ in range((MAX_EVENT_BYTES >> 20) + 1):
                decoder.feed(megabyte)


def test_lines_of_events_may_hold_brackets() -> None:
    framer = GeminiFramer()
    assert framer.feed(b'data: {"a": [{\r\ndata: }]}\r\n\r\n') == [b'{"a": [{\n}]}']
    assert not framer.is_cut_off


# --- errors in the stream ---------------------------------------------------------------------------------------------

CANCELLED = b"""{
  "error": {
    "code": 499,
    "message": "The operation was cancelled.",
    "status": "CANCELLED"
  }
}
"""
OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "stream",
    [
        sse(HI, END) + CANCELLED,
        sse(HI) + CANCELLED,
        sse(HI).replace(b"\r\n\r\n", b"\n\n") + CANCELLED.replace(b"\n", b"\r\n"),
        sse(HI)[:-2] + CANCELLED,
        CANCELLED,
        sse(HI, json.loads(CANCELLED)),
        as_array(sse(HI, json.loads(CANCELLED))),
    ],
)
def test_an_error_behind_words_however_it_is_framed(stream: bytes) -> None:
    for pieces in ([stream], bytes_of(stream)):
        events, error = read(*pieces)
        assert error is not None
        assert (error.outcome, error.code, error.status) == (call_pb2.OUTCOME_SERVER_ERROR, "CANCELLED", 499)
        assert not any(event.HasField("completed") for event in events)


def test_an_error_that_is_cut_off_is_an_interruption() -> None:
    whole = sse(HI, END) + CANCELLED
    for end in range(len(whole) - len(CANCELLED) + 1, len(whole) - 1):
        _, error = read(whole[:end])
        assert error is not None
        assert error.outcome == call_pb2.OUTCOME_INTERRUPTED


def test_an_error_has_the_usage_so_far_and_stays() -> None:
    decoder = dialect.stream_decoder()
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 2}
    assert len(decoder.feed(sse(event({"text": "Hi"}, usage=usage), OVERLOADED))) == 1
    with pytest.raises(UpstreamError):
        decoder.feed(sse(END))
    for _ in range(2):
        with pytest.raises(UpstreamError) as caught:
            decoder.finish()
        assert caught.value.outcome == call_pb2.OUTCOME_OVERLOADED
        assert caught.value.usage == call_pb2.Usage(input_tokens=7, output_tokens=2)


CUT = sse(HI) + b'data: {"candidates":[{"finishRea'


@pytest.mark.parametrize("stream", [b"", b"data: {}\n\n", sse(HI), CUT, b"<html>"])
def test_an_end_without_a_finish_reason_is_an_interruption(stream: bytes) -> None:
    _, error = read(stream)
    assert error is not None
    assert error.outcome == call_pb2.OUTCOME_INTERRUPTED


def test_a_last_event_that_is_cut_off_does_not_matter() -> None:
    assert answer(sse(HI, END) + b'data: {"usageMeta').message.parts[0].text == "Hi"


@pytest.mark.parametrize(
    "wrong",
    [
        b"nonsense",
        b"[]",
        b'"text"',
        b'{"candidates":{}}',
        b'{"candidates":[{"content":[]}]}',
        b'{"candidates":[{"content":{"parts":[{"text":1}]}}]}',
        b'{"candidates":[{"index":"a"}]}',
        b'{"usageMetadata":{"promptTokenCount":9223372036854775808}}',
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_the_wire_format(wrong: bytes) -> None:
    decoder = dialect.stream_decoder()
    with pytest.raises(UpstreamError, match="OUTCOME_PROTOCOL_ERROR"):
        decoder.feed(b"data: " + wrong + b"\r\n\r\n")


def test_metadata_that_is_not_the_wire_format_is_found_at_the_end() -> None:
    wrong = {"candidates": [{"finishReason": "STOP", "citationMetadata": {"citations": {}}}]}
    _, error = read(sse(HI, wrong))
    assert error is not None
    assert error.outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("content", "meaning"), [(b"a\xffb", "a\ufffdb"), (rb"a\ud83d", "a\ufffd"), (rb"\ud83d\ude82", "🚂")]
)
def test_what_is_not_unicode_is_replaced(content: bytes, meaning: str) -> None:
    stream = b'data: {"candidates":[{"content":{"parts":[{"text":"' + content + b'"}]},"finishReason":"STOP"}]}\n\n'
    assert answer(stream).message.parts[0].text == meaning
