"""Decoding streamed answers of ConverseStream: what models really send, and what they should not.

Nobody has recorded an error inside such a stream: those here are synthetic, made from AWS's service model.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded
from event_streams import event, exception, message, stream, unmodelled_error
from google.protobuf.json_format import MessageToDict

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import bedrock_converse
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse

STOP = event("messageStop", {"stopReason": "end_turn"})
METADATA = event("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {}})
END = STOP + METADATA


def delta(piece: Any, index: int = 0) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": piece})


def start(begun: Any, index: int = 0) -> bytes:
    return event("contentBlockStart", {"contentBlockIndex": index, "start": begun})


def stop(index: int = 0) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


HI = delta({"text": "Hi"})


def read(*pieces: bytes) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    """The events in one piece; they are the same byte by byte."""
    events, error = decoded(bedrock_converse.stream_decoder(), [b"".join(pieces)])
    others, other = decoded(bedrock_converse.stream_decoder(), bytes_of(b"".join(pieces)))
    assert events == others
    assert (error and (error.outcome, error.code)) == (other and (other.outcome, other.code))
    return events, error


def answer(*pieces: bytes) -> GenerateResponse:
    events, error = read(*pieces)
    assert error is None
    return fold(events)


def failure(*pieces: bytes) -> UpstreamError:
    events, error = read(*pieces)
    assert error is not None
    assert not any(each.HasField("completed") for each in events)
    return error


def kinds(events: list[StreamGenerateResponse]) -> list[tuple[str, int]]:
    """What each event is, and of which part."""
    found = []
    for each in events:
        kind = each.WhichOneof("event") or ""
        found.append((kind.removeprefix("part_"), getattr(getattr(each, kind), "part_index", -1)))
    return found


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", STOP, METADATA, STOP + METADATA[:-1], HI[:7]])
def test_an_answer_without_its_stop_and_its_metadata_is_interrupted(end: bytes) -> None:
    error = failure(HI, end)
    assert (error.outcome, error.code) == (call_pb2.OUTCOME_INTERRUPTED, "no_metadata")


def test_metadata_may_come_first() -> None:
    assert answer(HI, METADATA, STOP).usage.output_tokens == 2


def test_what_was_used_is_told_though_the_answer_broke_off() -> None:
    usage = failure(HI, METADATA).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)
    assert failure(HI, STOP).usage is None


def test_a_stop_without_a_reason_breaks_the_protocol() -> None:
    error = failure(HI, event("messageStop", {}))
    assert (error.outcome, error.code) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "no_stop_reason")


def test_nothing_counts_after_the_end() -> None:
    decoder = bedrock_converse.stream_decoder()
    events = decoder.feed(HI + END + HI + exception("throttlingException", {"message": "x"}))
    assert kinds(events) == [("started", 0), ("completed", 0), ("completed", -1)]
    assert decoder.feed(b"nonsense") == []
    assert decoder.finish() == []
    assert decoder.finish() == []


def test_an_error_is_raised_by_every_call_from_then_on() -> None:
    decoder = bedrock_converse.stream_decoder()
    assert kinds(decoder.feed(HI + exception("throttlingException", {"message": "x"}))) == [("started", 0)]
    for _ in range(2):
        with pytest.raises(UpstreamError, match="throttlingException"):
            decoder.feed(END)
        with pytest.raises(UpstreamError, match="throttlingException"):
            decoder.finish()


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", content_pb2.FINISH_REASON_STOP),
        ("tool_use", content_pb2.FINISH_REASON_TOOL_CALLS),
        ("max_tokens", content_pb2.FINISH_REASON_MAX_TOKENS),
        ("stop_sequence", content_pb2.FINISH_REASON_STOP_SEQUENCE),
        ("guardrail_intervened", content_pb2.FINISH_REASON_CONTENT_FILTER),
        ("content_filtered", content_pb2.FINISH_REASON_CONTENT_FILTER),
        ("malformed_model_output", content_pb2.FINISH_REASON_MALFORMED),
        ("malformed_tool_use", content_pb2.FINISH_REASON_MALFORMED),
        ("model_context_window_exceeded", content_pb2.FINISH_REASON_CONTEXT_LENGTH),
        ("refusal", content_pb2.FINISH_REASON_REFUSAL),
        ("of_the_future", content_pb2.FINISH_REASON_OTHER),
    ],
)
def test_why_it_stopped(reason: str, finish: content_pb2.FinishReason.ValueType) -> None:
    response = answer(HI, event("messageStop", {"stopReason": reason}), METADATA)
    assert (response.finish_reason, response.provider_finish_reason) == (finish, reason)


def test_which_stop_sequence_it_was() -> None:
    fields = {"stop_sequence": "END"}
    body = {"stopReason": "stop_sequence", "additionalModelResponseFields": fields}
    response = answer(HI, event("messageStop", body), METADATA)
    assert response.stop_sequence == "END"
    assert MessageToDict(response.provider_metadata)["additionalModelResponseFields"] == fields


# --- errors inside (synthetic) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more", "outcome"),
    [
        ("internalServerException", {}, call_pb2.OUTCOME_SERVER_ERROR),
        ("modelStreamErrorException", {}, call_pb2.OUTCOME_SERVER_ERROR),
        ("modelStreamErrorException", {"originalStatusCode": 424}, call_pb2.OUTCOME_SERVER_ERROR),
        ("modelStreamErrorException", {"originalStatusCode": 429}, call_pb2.OUTCOME_RATE_LIMITED),
        ("modelStreamErrorException", {"originalStatusCode": 400}, call_pb2.OUTCOME_INVALID),
        ("serviceUnavailableException", {}, call_pb2.OUTCOME_OVERLOADED),
        ("throttlingException", {}, call_pb2.OUTCOME_RATE_LIMITED),
        ("validationException", {}, call_pb2.OUTCOME_INVALID),
        ("modelTimeoutException", {}, call_pb2.OUTCOME_TIMEOUT),
        ("exceptionOfTheFuture", {}, call_pb2.OUTCOME_SERVER_ERROR),
    ],
)
def test_synthetic_exceptions_inside_a_stream(kind: str, more: Any, outcome: call_pb2.Outcome.ValueType) -> None:
    error = failure(HI, exception(kind, {"message": "It broke."} | more))
    assert (error.outcome, error.code, error.message) == (outcome, kind, "It broke.")
    assert error.status == more.get("originalStatusCode", 0)


def test_a_synthetic_exception_that_says_that_the_input_is_too_long() -> None:
    error = failure(exception("validationException", {"message": "Input is too long for requested model."}))
    assert error.outcome == call_pb2.OUTCOME_CONTEXT_LENGTH


def test_a_synthetic_exception_without_a_payload() -> None:
    error = failure(message({":message-type": "exception", ":exception-type": "throttlingException"}))
    assert (error.outcome, error.message) == (call_pb2.OUTCOME_RATE_LIMITED, "")


def test_a_synthetic_error_that_is_not_modelled() -> None:
    error = failure(HI, unmodelled_error("InternalFailure", "The key AKIAIOSFODNN7EXAMPLE is at fault."))
    assert (error.outcome, error.code) == (call_pb2.OUTCOME_SERVER_ERROR, "InternalFailure")
    assert error.message == "The key *** is at fault."


# --- what breaks the protocol -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (b"data: {}\n\ndata", "malformed_event_stream"),
        (bytes([*HI[:-1], HI[-1] ^ 1]), "malformed_event_stream"),
        (message({":event-type": "contentBlockDelta", ":message-type": "event"}, b"{"), "malformed_json"),
        (message({":event-type": "contentBlockDelta", ":message-type": "event"}), "malformed_json"),
        (event("contentBlockDelta", {"delta": {"text": "x"}}), "malformed_json"),
        (delta({"text": 1}), "malformed_json"),
        (delta({"text": "x"}, index=-1), "malformed_json"),
        (delta({"toolUse": {"input": "{}"}}), "tool_call_unnamed"),
        (start({"toolUse": {"toolUseId": "x"}}), "tool_call_unnamed"),
        (delta({"citation": {"title": 1}}), "malformed_json"),
        (start({"image": {"format": "png"}}) + delta({"image": {"source": {"bytes": "???"}}}), "malformed_base64"),
        (event("metadata", {"usage": {"inputTokens": "3"}}), "malformed_json"),
        (event("metadata", {"usage": {"inputTokens": -3}}), "malformed_json"),
        (event("messageStop", {"stopReason": 1}), "malformed_json"),
    ],
)
def test_what_is_not_the_wire_format(broken: bytes, code: str) -> None:
    error = failure(broken, END)
    assert (error.outcome, error.code) == (call_pb2.OUTCOME_PROTOCOL_ERROR, code)


# --- what is tolerated ------------------------------------------------------------------------------------------------


def test_unknown_events_and_fields_are_no_matter() -> None:
    pieces = [
        event("pingOfTheFuture", {"x": 1}),
        message({":event-type": "initial-response", ":message-type": "event"}),
        message({}, b"?"),
        event("messageStart", {"role": "assistant", "new": 1}),
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi", "new": 1}, "new": {}}),
        event("contentBlockStop", {"contentBlockIndex": 7}),
    ]
    response = answer(*pieces, END)
    assert [part.text for part in response.message.parts] == ["Hi"]
    assert not response.warnings


def test_pieces_of_an_unknown_kind_are_left_out_with_a_warning() -> None:
    response = answer(HI, delta({"hologram": {"x": 1}}), delta({}), delta({"hologram": {}}), stop(), END)
    assert [part.text for part in response.message.parts] == ["Hi"]
    (warning,) = response.warnings
    assert warning.kind == call_pb2.Warning.KIND_CONTENT_DROPPED
    assert warning.message.endswith("left out: hologram")


def test_an_empty_piece_is_no_matter() -> None:
    assert not answer(start({}), delta({}), event("contentBlockDelta", {"contentBlockIndex": 0}), END).warnings


def test_blocks_may_begin_with_an_event_that_says_nothing() -> None:
    response = answer(start({"reasoningContent": {}}), start({}, 1), delta({"text": "Hi"}, 1), stop(0), stop(1), END)
    assert [part.text for part in response.message.parts] == ["Hi"]


def test_empty_words_make_no_part() -> None:
    assert not answer(delta({"text": ""}), delta({"reasoningContent": {"text": ""}}, 1), stop(), END).message.parts


def test_blocks_without_a_stop_are_completed_at_the_end() -> None:
    events, error = read(HI, delta({"text": "!"}, 1), END)
    assert error is None
    assert kinds(events) == [("started", 0), ("started", 1), ("completed", 0), ("completed", 1), ("completed", -1)]


def test_a_block_that_turns_into_another_kind_is_two_parts() -> None:
    events, error = read(delta({"reasoningContent": {"text": "hm"}}), HI, stop(), END)
    assert error is None
    assert [part.WhichOneof("data") for part in fold(events).message.parts] == ["reasoning", "text"]
    assert kinds(events) == [("started", 0), ("completed", 0), ("started", 1), ("completed", 1), ("completed", -1)]


def test_blocks_may_interleave() -> None:
    response = answer(HI, delta({"text": "A"}, 1), delta({"text": "!"}), delta({"text": "B"}, 1), END)
    assert [part.text for part in response.message.parts] == ["Hi!", "AB"]


def test_a_call_without_an_id_gets_one() -> None:
    parts = answer(start({"toolUse": {"name": "f"}}), start({"toolUse": {"name": "f"}}, 1), END).message.parts
    assert len({part.tool_call.id for part in parts} - {""}) == 2
    assert [part.tool_call.arguments_json for part in parts] == ["{}", "{}"]


def test_arguments_are_the_models_own() -> None:
    pieces = [delta({"toolUse": {"input": piece}}) for piece in ('{"a"', ": tru", "", "e}}")]
    (part,) = answer(start({"toolUse": {"name": "f", "toolUseId": "t"}}), *pieces, stop(), END).message.parts
    assert (part.tool_call.id, part.tool_call.arguments_json) == ("t", '{"a": true}}')


def test_a_signature_alone_is_a_thought_without_words() -> None:
    (part,) = answer(delta({"reasoningContent": {"signature": "c2ln"}}), stop(), END).message.parts
    assert (part.WhichOneof("data"), part.reasoning.text) == ("reasoning", "")
    assert (part.provider_state.format, part.provider_state.data) == ("bedrock.reasoning_signature", "c2ln")


def test_withheld_thoughts_in_pieces_are_joined_as_bytes() -> None:
    pieces = [b64encode(piece).decode() for piece in (b"a", b"bc")]
    (part,) = answer(*(delta({"reasoningContent": {"redactedContent": piece}}) for piece in pieces), END).message.parts
    assert part.reasoning.redacted
    assert (part.provider_state.format, part.provider_state.data) == ("bedrock.redacted", b64encode(b"abc").decode())


def test_text_that_is_not_unicode_is_mended() -> None:
    headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
    broken = message(headers, b'{"contentBlockIndex":0,"delta":{"text":"a\xff\\ud800"}}')
    assert answer(broken, END).message.parts[0].text == "a\ufffd\ufffd"


def test_an_image_may_lie_in_s3() -> None:
    where = {"source": {"s3Location": {"uri": "s3://b/k"}}}
    (part,) = answer(delta({"image": where}), stop(), END).message.parts
    assert (part.media.uri, part.media.mime_type) == ("s3://b/k", "")


# --- metadata ---------------------------------------------------------------------------------------------------------


def test_usage_absent_is_absent() -> None:
    assert not answer(HI, STOP, event("metadata", {"metrics": {"latencyMs": 1}})).HasField("usage")
    usage = answer(HI, STOP, event("metadata", {"usage": {"outputTokens": 2}})).usage
    assert [field.name for field, _ in usage.ListFields()] == ["output_tokens"]


def test_metadata_that_is_too_large_or_too_deep_is_left_out() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    body = {"metrics": {"latencyMs": 1}, "trace": {"guardrail": "x" * (40 << 10)}, "serviceTier": deep}
    response = answer(HI, STOP, event("metadata", body | {"performanceConfig": {"latency": 10**400}}))
    assert MessageToDict(response.provider_metadata) == {"metrics": {"latencyMs": 1}}


def test_a_long_stream_in_one_piece() -> None:
    pieces = [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "é"}}}] * 2000
    events, error = decoded(bedrock_converse.stream_decoder(), [stream(pieces) + END])
    assert error is None
    assert fold(events).message.parts[0].text == "é" * 2000
