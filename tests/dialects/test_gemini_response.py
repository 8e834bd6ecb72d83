"""Decoding whole answers of generateContent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import gemini_generate_content as dialect
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.dialects.gemini_generate_content.metadata import MAX_METADATA_BYTES
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse


def answer(*parts: Any, finish: str | None = "STOP", usage: Any = None, **more: Any) -> GenerateResponse:
    candidate = {"content": {"parts": parts}, "finishReason": finish} | more
    body = {"candidates": [candidate], "usageMetadata": usage, "responseId": "r1"}
    return fold(dialect.decode_response(json.dumps(body).encode()))


def failure(body: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        dialect.decode_response(body)
    return caught.value


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("STOP", "STOP"),
        ("MAX_TOKENS", "MAX_TOKENS"),
        ("SAFETY", "CONTENT_FILTER"),
        ("RECITATION", "CONTENT_FILTER"),
        ("BLOCKLIST", "CONTENT_FILTER"),
        ("PROHIBITED_CONTENT", "CONTENT_FILTER"),
        ("SPII", "CONTENT_FILTER"),
        ("MODEL_ARMOR", "CONTENT_FILTER"),
        ("IMAGE_SAFETY", "CONTENT_FILTER"),
        ("IMAGE_PROHIBITED_CONTENT", "CONTENT_FILTER"),
        ("IMAGE_RECITATION", "CONTENT_FILTER"),
        ("MALFORMED_FUNCTION_CALL", "MALFORMED"),
        ("MALFORMED_RESPONSE", "MALFORMED"),
        ("UNEXPECTED_TOOL_CALL", "MALFORMED"),
        ("LANGUAGE", "OTHER"),
        ("OTHER", "OTHER"),
        ("TOO_MANY_TOOL_CALLS", "OTHER"),
        ("NO_IMAGE", "OTHER"),
        ("BORED", "OTHER"),
    ],
)
def test_why_the_model_stopped(said: str, meaning: str) -> None:
    response = answer({"text": "x"}, finish=said)
    assert content_pb2.FinishReason.Name(response.finish_reason) == f"FINISH_REASON_{meaning}"
    assert response.provider_finish_reason == said


@pytest.mark.parametrize("finish", [None, "FINISH_REASON_UNSPECIFIED"])
def test_an_answer_without_a_finish_reason_is_whole(finish: str | None) -> None:
    response = answer({"text": "x"}, finish=finish)
    assert (response.finish_reason, response.provider_finish_reason) == (content_pb2.FINISH_REASON_OTHER, "")


def test_a_prompt_that_is_blocked_is_an_answer_without_words() -> None:
    body = {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "no"}, "usageMetadata": {}}
    response = fold(dialect.decode_response(json.dumps(body).encode()))
    assert response.finish_reason == content_pb2.FINISH_REASON_CONTENT_FILTER
    assert response.provider_finish_reason == "OTHER"
    assert not response.message.parts
    assert not response.HasField("usage")
    assert MessageToDict(response.provider_metadata) == {"promptFeedback": body["promptFeedback"]}


def test_feedback_on_a_prompt_that_is_answered_changes_nothing() -> None:
    body = {"promptFeedback": {"safetyRatings": []}, "candidates": [{"content": {}, "finishReason": "STOP"}]}
    assert fold(dialect.decode_response(json.dumps(body).encode())).finish_reason == content_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize(
    ("told", "meaning"),
    [
        (None, None),
        ({}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"promptTokenCount": 3}, {"input_tokens": 3}),
        ({"promptTokenCount": 0, "candidatesTokenCount": 0}, {"input_tokens": 0, "output_tokens": 0}),
        ({"thoughtsTokenCount": 4}, {"output_tokens": 4, "reasoning_output_tokens": 4}),
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 5,
                "thoughtsTokenCount": 7,
            },
            {"input_tokens": 100, "cache_read_input_tokens": 60, "output_tokens": 12, "reasoning_output_tokens": 7},
        ),
        (
            {"promptTokenCount": 1, "toolUsePromptTokenCount": 2},
            {"input_tokens": 3, "other_units": {"tool_use_prompt_tokens": 2}},
        ),
        (
            {
                "promptTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 2},
                    {"modality": "TEXT", "tokenCount": 9},
                    {"modality": "AUDIO", "tokenCount": 3},
                    {"modality": "../", "tokenCount": 1},
                    {"modality": "IMAGE"},
                ],
                "cacheTokensDetails": [{"modality": "VIDEO", "tokenCount": 4}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 5}],
            },
            {
                "other_units": {
                    "input_audio_tokens": 5,
                    "input_image_tokens": 0,
                    "cache_read_input_video_tokens": 4,
                    "output_image_tokens": 5,
                }
            },
        ),
        (
            {"promptTokenCount": 2**63 - 1, "toolUsePromptTokenCount": 2**63 - 1},
            {"input_tokens": 2**63 - 1, "other_units": {"tool_use_prompt_tokens": 2**63 - 1}},
        ),
    ],
)
def test_usage_in_the_contracts_meaning(told: Any, meaning: Any) -> None:
    response = answer({"text": "x"}, usage=told)
    assert (response.usage if response.HasField("usage") else None) == (meaning and call_pb2.Usage(**meaning))


def test_calls_without_ids_get_the_same_ones_every_time() -> None:
    def ids(*parts: Any) -> list[str]:
        return [part.tool_call.id for part in answer(*parts).message.parts]

    calls = [
        {"functionCall": {"name": "f"}},
        {"functionCall": {"name": "f", "id": "own"}},
        {"functionCall": {"name": "g"}},
    ]
    assert ids(*calls) == ["gemini-r1-0", "own", "gemini-r1-2"] == ids(*calls)


@pytest.mark.parametrize(
    ("args", "arguments"),
    [
        (b"{}", "{}"),
        (b"null", "{}"),
        (
            b'{ "a" : [ 1.50, 12345678901234567890123 ],\n "b": "\\u00e9 x" }',
            '{"a":[1.50,12345678901234567890123],"b":"\\u00e9 x"}',
        ),
        (b'{"a": "\xff \\ud83d"}', '{"a":"\ufffd \\ufffd"}'),
    ],
)
def test_arguments_are_the_models_own(args: bytes, arguments: str) -> None:
    body = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":' + args + b"}}]}}]}"
    call = fold(dialect.decode_response(body)).message.parts[0].tool_call
    assert call.arguments_json == arguments
    json.loads(call.arguments_json)


def test_parts_of_no_known_kind_are_kept_as_they_are() -> None:
    call = {
        "toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1"},
        "thoughtSignature": "c2ln",
        "partMetadata": {"x": 1},
    }
    empty = {"thoughtSignature": None, "newThing": None}
    signed = {"thought": True, "thoughtSignature": "YWxvbmU="}
    first, second = answer(call, empty, {}, signed).message.parts
    assert (first.provider_part.dialect, first.provider_part.type) == ("gemini_generate_content", "toolCall")
    assert json.loads(first.provider_part.json) == {key: call[key] for key in ("toolCall", "partMetadata")}
    assert (first.provider_state.format, first.provider_state.data) == ("gemini.thought_signature", "c2ln")
    assert (second.WhichOneof("data"), second.provider_state.data) == ("reasoning", "YWxvbmU=")


@pytest.mark.parametrize("data", ["_-8=", "_-8", "/+8=", "/+8"])
def test_bytes_in_every_form_of_base64(data: str) -> None:
    part = answer({"inlineData": {"mimeType": "image/png", "data": data}}).message.parts[0]
    assert (part.media.mime_type, part.media.data) == ("image/png", b"\xff\xef")


def test_an_answer_goes_back_as_it_came() -> None:
    """Every part with what the provider wants back with it, on that very part."""
    parts = [
        {"text": "Hm.", "thought": True, "thoughtSignature": "MQ=="},
        {"text": "Let me see.", "thoughtSignature": "Mg=="},
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "Mw=="},
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "NA=="},
        {"functionCall": {"id": "own", "name": "g", "args": {}}},
        {"inlineData": {"mimeType": "image/png", "data": "/+8="}, "thoughtSignature": "NQ=="},
        {"text": "", "thoughtSignature": "Ng=="},
    ]
    request = GenerateRequest(messages=[answer(*parts).message])
    encoded = dialect.encode_request(request, "gemini-3-pro", stream=False, quirks=Quirks())
    assert json.loads(encoded.body)["contents"] == [{"role": "model", "parts": parts}]
    assert not encoded.warnings


# --- citations --------------------------------------------------------------------------------------------------------


def support(chunks: list[int], **segment: Any) -> Any:
    return {"segment": segment, "groundingChunkIndices": chunks}


CHUNKS = [{"web": {"uri": "https://a.example", "title": "A"}}, {"maps": {"uri": "https://m.example"}}, {"image": {}}]


def cited(parts: list[Any], *supports: Any) -> list[list[tuple[int | None, int | None, str]]]:
    metadata = {"groundingChunks": CHUNKS, "groundingSupports": supports}
    response = answer(*parts, groundingMetadata=metadata)
    return [
        [
            (c.start_index, c.end_index, c.uri) if c.HasField("end_index") else (None, None, c.uri)
            for c in part.citations
        ]
        for part in response.message.parts
    ]


THOUGHT = {"text": "é thought", "thought": True}
A, B = {"text": "né one. "}, {"text": "né two."}
CODE: Any = {"executableCode": {}}


def test_indices_count_from_the_providers_own_part() -> None:
    parts = [THOUGHT, A, A, CODE, B]
    one, two = support([0], partIndex=2, endIndex=7), support([1], partIndex=4, startIndex=4, endIndex=8)
    assert cited(parts, one, two) == [[], [(8, 14, "https://a.example")], [], [(3, 7, "https://m.example")]]


def test_words_tell_which_part_is_meant() -> None:
    wrong = support([0], endIndex=8, text="né two.")
    unique = support([1], startIndex=100, endIndex=104, text="one.")
    assert cited([THOUGHT, A, CODE, B], wrong, unique) == [
        [],
        [(3, 7, "https://m.example")],
        [],
        [(0, 7, "https://a.example")],
    ]


def test_what_cannot_be_found_is_the_whole_text() -> None:
    lost = support([0], startIndex=3, endIndex=9, text="not said")
    assert cited([A], lost, lost, support([0])) == [[(None, None, "https://a.example")]]


def test_sources_that_are_not_there_are_none() -> None:
    assert cited([A], support([2, 7, -1], endIndex=2), {"groundingChunkIndices": None}) == [[]]
    assert cited([CODE], support([0], endIndex=1)) == [[]]


def test_an_index_inside_a_character_counts_as_its_first() -> None:
    assert cited([A], support([0], startIndex=2, endIndex=7)) == [[(1, 6, "https://a.example")]]


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "large",
    [{"html": "x" * MAX_METADATA_BYTES}, json.loads("[" * 90 + "]" * 90), {"n": 10**300}, {"n": 10**30}],
)
def test_metadata_is_bounded(large: Any) -> None:
    response = answer({"text": "x"}, safetyRatings=large, finishMessage="kept")
    assert dict(response.provider_metadata) == {"finishMessage": "kept"}
    assert [warning.field for warning in response.warnings] == ["provider_metadata.safetyRatings"]


# --- what is no answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"candidates":[]}',
        b'{"candidates":[{"index":1,"content":{}}]}',
        b'{"promptFeedback":{"blockReason":"BLOCK_REASON_UNSPECIFIED"}}',
        b'{"promptFeedback":[]}',
        b'{"candidates":[{"content":{"parts":[{"text":1}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{}}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":[1]}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","partialArgs":[]}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"?"}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"a"}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"x"}]},"groundingMetadata":{"groundingChunks":{}}}]}',
        b'{"candidates":[{"content":{}}],"usageMetadata":{"promptTokenCount":-1}}',
        b'{"candidates":[{"content":{"parts":[{"new":' + b"[" * 100_000,
    ],
)
def test_what_is_not_the_wire_format(body: bytes) -> None:
    assert failure(body).outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


def test_an_error_in_an_answer_of_status_200() -> None:
    error = failure(b'{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}')
    assert (error.outcome, error.code, error.message) == (
        call_pb2.OUTCOME_OVERLOADED,
        "UNAVAILABLE",
        "The model is overloaded.",
    )
