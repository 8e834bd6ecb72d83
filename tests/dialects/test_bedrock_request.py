"""Encoding requests for Bedrock: what golden files do not show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from trunkline.v1 import content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import bedrock_converse
from trunkline_server.dialects.bedrock_converse.models import model_of
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import InvalidRequest

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def encoded(*messages: Any, model: str = CLAUDE, **more: Any) -> Any:
    request = ParseDict({"messages": messages} | more, GenerateRequest())
    return json.loads(bedrock_converse.encode_request(request, model, stream=False, quirks=Quirks()).body)


def user(*parts: Any) -> Any:
    return {"role": "ROLE_USER", "parts": parts}


def document(name: str, mime_type: str = "application/pdf") -> Any:
    return {"media": {"mime_type": mime_type, "data": "eA==", "name": name}}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1%3A0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama4-scout-17b-instruct-v1:0",
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.meta.llama4-scout-17b-instruct-v1%3A0",
        ),
        ("a b%c~d+é?#", "a%20b%25c~d%2B%C3%A9%3F%23"),
    ],
)
def test_the_model_is_one_segment_of_the_path(model: str, path: str) -> None:
    request = ParseDict({"messages": [user({"text": "Hi"})]}, GenerateRequest())
    whole = bedrock_converse.encode_request(request, model, stream=False, quirks=Quirks())
    assert whole.path == f"/model/{path}/converse"
    streamed = bedrock_converse.encode_request(request, model, stream=True, quirks=Quirks())
    assert streamed.path == f"/model/{path}/converse-stream"


@pytest.mark.parametrize(
    ("model", "claude", "caches", "schemas", "named_tools", "unsigned_reasoning"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", True, True, False, True, False),
        ("anthropic.claude-opus-4-1-20250805-v1:0", True, True, False, True, False),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", True, True, True, True, False),
        ("global.anthropic.claude-opus-4-6-v1", True, True, True, True, False),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6", True, True, True, True, False),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/ab12", False, True, True, True, False),
        ("arn:aws:bedrock:eu-west-1:1:provisioned-model/ab12cd34ef56", False, True, True, True, False),
        ("apac.amazon.nova-pro-v1:0", False, True, False, True, True),
        ("amazon.titan-text-express-v1", False, False, False, True, True),
        ("us.meta.llama3-3-70b-instruct-v1:0", False, False, False, False, True),
        ("us.deepseek.r1-v1:0", False, False, True, False, False),
        ("minimax.minimax-m2.1", False, False, True, False, True),
    ],
)
def test_what_models_take(
    model: str, claude: bool, caches: bool, schemas: bool, named_tools: bool, unsigned_reasoning: bool
) -> None:
    facts = model_of(model)
    assert (facts.claude is not None, facts.caches, facts.schemas) == (claude, caches, schemas)
    assert (facts.named_tools, facts.unsigned_reasoning) == (named_tools, unsigned_reasoning)


def test_schemas_are_sent_byte_for_byte() -> None:
    schema = '{"type" : "object","properties":{"é":{}} }'
    tools = [{"function": {"name": "f", "parameters_json_schema": schema}}]
    request = ParseDict({"messages": [user({"text": "Hi"})], "tools": tools}, GenerateRequest())
    body = bedrock_converse.encode_request(request, CLAUDE, stream=False, quirks=Quirks()).body
    assert b'"inputSchema":{"json":' + schema.encode() + b"}" in body


def test_the_request_is_not_changed() -> None:
    messages = [user({"text": "Hi", "cache_breakpoint": {}}), {"role": "ROLE_ASSISTANT", "parts": [{"text": "So "}]}]
    request = ParseDict({"messages": messages}, GenerateRequest())
    before = request.SerializeToString(deterministic=True)
    bedrock_converse.encode_request(request, CLAUDE, stream=False, quirks=Quirks())
    assert request.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("parts", [[{"text": " "}], [{"media": {"mime_type": "image/svg+xml", "data": "eA=="}}]])
def test_a_request_in_which_nothing_is_said_is_refused(parts: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match="messages"):
        encoded(user(*parts))


def test_settings_of_a_providers_tool_that_are_not_json_are_refused() -> None:
    tool = {"provider_tool": {"dialect": "bedrock_converse", "type": "systemTool", "config_json": "{"}}
    with pytest.raises(InvalidRequest, match=r"tools\[0\]\.provider_tool\.config_json"):
        encoded(user({"text": "Hi"}), tools=[tool])


@pytest.mark.parametrize(
    "options",
    [
        {"messages": []},
        {"modelId": "x"},
        {"toolConfig": {}},
        {"inferenceConfig": {"maxTokens": 1}},
        {"inferenceConfig": 1},
        {"outputConfig": {"effort": "low"}},
        {"additionalModelRequestFields": {"thinking": {}}},
        {"additionalModelRequestFields": {"top_k": 1}},
    ],
)
def test_options_that_the_dialect_writes_itself_are_refused(options: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"provider_options\.bedrock_converse\."):
        encoded(user({"text": "Hi"}), provider_options={"bedrock_converse": options})


def test_other_models_have_settings_of_their_own() -> None:
    fields = {"inferenceConfig": {"topK": 10}, "thinking": {"type": "enabled"}}
    options = {"bedrock_converse": {"additionalModelRequestFields": fields}}
    body = encoded(user({"text": "Hi"}), model="amazon.nova-lite-v1:0", provider_options=options)
    assert body["additionalModelRequestFields"] == fields


def test_options_of_claude_stand_beside_what_is_written() -> None:
    options = {"bedrock_converse": {"additionalModelRequestFields": {"anthropic_beta": ["x"]}}}
    body = encoded(user({"text": "Hi"}), config={"top_k": 3}, provider_options=options)
    assert body["additionalModelRequestFields"] == {"top_k": 3, "anthropic_beta": ["x"]}


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        (["report.pdf"], ["report"]),
        (["a.b_c,d.pdf"], ["a-b-c-d"]),
        (["  two\n  words  "], ["two words"]),
        (["[x] (y) - z"], ["[x] (y) - z"]),
        (["", ".pdf", "日本.pdf"], ["Document 1", "Document 2", "Document 3"]),
        (["a", "A", "a"], ["a", "A (2)", "a (3)"]),
        (["Document 2", ""], ["Document 2", "Document (2)"]),
        (["x" * 300, "x" * 300], ["x" * 200, "x" * 196 + " (2)"]),
    ],
)
def test_names_of_documents(names: list[str], sent: list[str]) -> None:
    (turn,) = encoded(user({"text": "?"}, *map(document, names)))["messages"]
    assert [block["document"]["name"] for block in turn["content"][1:]] == sent


@pytest.mark.parametrize(
    ("media", "kind", "form"),
    [
        ({"mime_type": "IMAGE/JPG", "data": "eA=="}, "image", "jpeg"),
        ({"mime_type": "text/plain; charset=utf-8", "data": "eA=="}, "document", "txt"),
        ({"mime_type": "application/json", "data": "eA=="}, "document", "txt"),
        ({"mime_type": "audio/x-wav", "data": "eA=="}, "audio", "wav"),
        ({"mime_type": "video/3gpp", "data": "eA=="}, "video", "three_gp"),
        ({"uri": "s3://b/a.b/x.JPG"}, "image", "jpeg"),
        ({"uri": "s3://b/x.webm"}, "video", "webm"),
        ({"uri": "s3://b/x.docx"}, "document", "docx"),
    ],
)
def test_formats_of_media(media: Any, kind: str, form: str) -> None:
    (turn,) = encoded(user({"text": "?"}, {"media": media}))["messages"]
    assert turn["content"][1][kind]["format"] == form


@pytest.mark.parametrize(
    "media", [{"uri": "s3://b/x"}, {"uri": "s3://b/x.exe"}, {"mime_type": "font/ttf", "data": "eA=="}]
)
def test_media_that_the_provider_does_not_take(media: Any) -> None:
    request = ParseDict({"messages": [user({"text": "?"}, {"media": media})]}, GenerateRequest())
    result = bedrock_converse.encode_request(request, CLAUDE, stream=False, quirks=Quirks())
    assert [warning.field for warning in result.warnings] == ["messages[0].parts[1].media"]


@pytest.mark.parametrize("name", ["tooluse_1", "a.b:c-d_e", "x" * 64])
def test_ids_of_calls_that_fit_are_sent_as_they_stand(name: str) -> None:
    assert tool_use_ids(name) == [name, name]


@pytest.mark.parametrize("name", ["call|1", "é", "x" * 65, "a b"])
def test_ids_of_calls_that_do_not_fit_are_replaced_by_the_same_in_both_places(name: str) -> None:
    first, second = tool_use_ids(name)
    assert first == second != name
    assert tool_use_ids(name) == [first, second]
    assert tool_use_ids(name + "!") != [first, second]


def tool_use_ids(name: str) -> list[str]:
    call = {"role": "ROLE_ASSISTANT", "parts": [{"tool_call": {"id": name, "name": "f"}}]}
    result = {"role": "ROLE_TOOL", "parts": [{"tool_result": {"tool_call_id": name}}]}
    _, said, back = encoded(user({"text": "?"}), call, result)["messages"]
    return [said["content"][0]["toolUse"]["toolUseId"], back["content"][0]["toolResult"]["toolUseId"]]


def test_every_mime_type_of_an_image_comes_back_as_itself() -> None:
    """Formats of answers are those of requests."""
    body = {"output": {"message": {"content": [{"image": {"format": "jpeg", "source": {"bytes": "eA=="}}}]}}}
    events = bedrock_converse.decode_response(json.dumps(body).encode())
    assert events[0].part_started.part.media.mime_type == "image/jpeg"
    assert content_pb2.Part(media=events[0].part_started.part.media).HasField("media")
