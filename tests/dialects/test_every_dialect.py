"""What must be right in every wire format, shown in each. Synthetic: made from what is documented, not recorded."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import pytest
from decoding import bytes_of, decoded
from event_streams import event
from fuzz.seeds import NAMES, seeds_of

from trunkline.v1 import call_pb2
from trunkline.v1.content_pb2 import ToolChoice
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import Dialect

EACH = pytest.mark.parametrize("name", NAMES)
EACH_OF_SSE = pytest.mark.parametrize(
    "name", [each for each in NAMES if each not in {"bedrock_converse", "ollama_chat"}]
)
# An event, or a line, of a kind that is not known.
UNKNOWN = {
    "anthropic_messages": b'event: future\ndata: {"type": "future", "more": [1]}\n\n',
    "bedrock_converse": event("futureEvent", {"more": [1]}),
    "cohere_chat": b'event: future\ndata: {"type": "future", "more": [1]}\n\n',
    "gemini_generate_content": b'data: {"future": {"more": [1]}}\n\n',
    "ollama_chat": b'{"future": {"more": [1]}}\n',
    "openai_chat": b'data: {"object": "future", "more": [1]}\n\n',
    "openai_responses": b'event: response.future\ndata: {"type": "response.future", "more": [1]}\n\n',
}
# An error that comes with status 200.
ERRORS_IN_200: dict[str, Any] = {
    "anthropic_messages": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "bedrock_converse": {"message": "Too many requests, please wait before trying again."},
    "cohere_chat": {"message": "internal server error, this has been reported to our developers"},
    "gemini_generate_content": {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}},
    "ollama_chat": {"error": "an error was encountered while running the model"},
    "openai_chat": {"error": {"code": 502, "message": "Provider returned error"}},
    "openai_responses": {"error": {"code": "server_error", "message": "The server had an error"}},
}


def dialect_named(name: str) -> Dialect:
    return cast("Dialect", import_module(f"trunkline_server.dialects.{name}"))


def told(name: str, stream: bytes) -> Any:
    """The events of a stream, and what it fails with."""
    events, error = decoded(dialect_named(name).stream_decoder(), [stream])
    return events, error and (error.outcome, error.code, error.message)


def streams(name: str) -> list[bytes]:
    found = seeds_of(name, None).streams
    assert found
    return found


@EACH_OF_SSE
def test_data_of_several_lines(name: str) -> None:
    """As the standard joins them: with line feeds, which JSON takes between its words."""
    for stream in streams(name):
        lines = stream.replace(b"data: {", b"data: {\ndata:").replace(b"}\n\n", b"\ndata: }\n\n")
        assert lines.count(b"data:") > stream.count(b"data:")
        assert told(name, lines) == told(name, stream)


@EACH_OF_SSE
@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
def test_other_ends_of_lines_no_spaces_and_a_byte_order_mark(name: str, ending: bytes) -> None:
    for stream in streams(name):
        if b"\r" not in stream:
            other = b"\xef\xbb\xbf" + stream.replace(b"\ndata: ", b"\ndata:").replace(b"\n", ending)
            assert told(name, other) == told(name, stream)


@EACH_OF_SSE
def test_comments_that_keep_a_connection_alive(name: str) -> None:
    for stream in streams(name):
        kept = b": connected\n\n" + stream.replace(b"\n\n", b"\n\n: keep-alive\n\n")
        assert told(name, kept) == told(name, stream)


@EACH
def test_events_of_kinds_that_are_not_known(name: str) -> None:
    for stream in streams(name):
        assert told(name, UNKNOWN[name] + stream) == told(name, stream)


@EACH
def test_a_character_that_is_split_across_reads(name: str) -> None:
    (stream, *_) = [each for each in streams(name) if any(byte > 0x7F for byte in each) or name == "bedrock_converse"]
    events, error = decoded(dialect_named(name).stream_decoder(), bytes_of(stream))
    assert (events, error) == (told(name, stream)[0], None)


@EACH
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-ms-retry-after-ms": "2500"}, 2.5),
        ({"grpc-retry-pushback-ms": "250"}, 0.25),
        ({"grpc-retry-pushback-ms": "-1"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
    ],
)
def test_how_long_to_wait(name: str, headers: dict[str, str], wait: float | None) -> None:
    error = dialect_named(name).decode_error(429, headers, b'{"message": "Too many requests"}')
    assert error.outcome == call_pb2.OUTCOME_RATE_LIMITED
    assert error.retry_after == wait


@EACH
@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, None),
        ({"x-should-retry": "true"}, True),
        ({"x-should-retry": "False"}, False),
        ({"x-should-retry": "maybe"}, None),
        ({"grpc-retry-pushback-ms": "-1"}, False),
        ({"grpc-retry-pushback-ms": "10"}, None),
    ],
)
def test_whether_another_try_makes_sense(name: str, headers: dict[str, str], told: bool | None) -> None:
    error = dialect_named(name).decode_error(500, headers, b'{"message": "Oops"}')
    assert (error.outcome, error.retryable) == (call_pb2.OUTCOME_SERVER_ERROR, told)


@EACH
def test_an_error_in_an_answer_of_status_200(name: str) -> None:
    body = json.dumps(ERRORS_IN_200[name]).encode()
    with pytest.raises(UpstreamError) as caught:
        dialect_named(name).decode_response(body)
    assert caught.value.outcome not in (call_pb2.OUTCOME_UNSPECIFIED, call_pb2.OUTCOME_SUCCESS)
    assert caught.value.message


@EACH
@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b'"down"', b"null", b"\xff\xfe"])
def test_an_error_whose_body_is_no_json(name: str, body: bytes) -> None:
    error = dialect_named(name).decode_error(502, {}, body)
    assert (error.outcome, error.status) == (call_pb2.OUTCOME_SERVER_ERROR, 502)


@EACH
@pytest.mark.parametrize("depth", [500, 900, 1000, 5000])
def test_what_is_both_nested_too_deeply_and_no_unicode(name: str, depth: int) -> None:
    """Found by fuzzing: text that is no Unicode is mended and read again."""
    body = b'{"message": "\\ud83d", "error": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    error = dialect_named(name).decode_error(500, {}, body)
    assert error.outcome == call_pb2.OUTCOME_SERVER_ERROR
    with pytest.raises(UpstreamError):
        dialect_named(name).decode_response(body)


# A host without a choice among some of the tools: what is sent may be used.
PLAIN_HOST = Quirks(allowed_tools=False)


@EACH
def test_a_tool_of_the_provider_is_used_only_if_it_is_allowed(name: str) -> None:
    """It costs money and leaves the house: "only these tools, by name"."""
    asked = GenerateRequest()
    asked.messages.add(role="ROLE_USER").parts.add(text="Hi")
    for function in ("f", "g"):
        asked.tools.add().function.name = function
    search = asked.tools.add().provider_tool
    search.dialect, search.type = name, "searchTheWeb"
    search.config_json = '{"name": "searchTheWeb"}'
    for allowed, sent in (((), True), (("f", "searchTheWeb"), True), (("f", "g"), False)):
        del asked.tool_choice.allowed_tools[:]
        asked.tool_choice.allowed_tools.extend(allowed)
        encoded = dialect_named(name).encode_request(asked, "m", stream=False, quirks=PLAIN_HOST)
        assert (b"searchTheWeb" in encoded.body) == sent, allowed


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses"])
def test_all_tools_are_sent_where_one_is_named_that_must_be_called(name: str) -> None:
    asked = GenerateRequest()
    asked.messages.add(role="ROLE_USER").parts.add(text="Hi")
    for function in ("f", "g"):
        asked.tools.add().function.name = function
    asked.tool_choice.mode = ToolChoice.MODE_REQUIRED
    asked.tool_choice.allowed_tools.append("g")
    body = json.loads(dialect_named(name).encode_request(asked, "m", stream=False, quirks=PLAIN_HOST).body)
    assert [tool.get("name") or tool["function"]["name"] for tool in body["tools"]] == ["f", "g"]
    assert body["tool_choice"]["type"] == "function"
