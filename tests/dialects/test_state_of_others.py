"""Opaque state goes back to the provider that it came from, and to no other: in every wire format, of every other."""

from __future__ import annotations

from typing import Any

import pytest
from fuzz.seeds import NAMES
from google.protobuf.json_format import ParseDict

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.formats import DIALECTS

STATE = "c3RhdGUtb2YtYW5vdGhlcg=="
# By wire format: its own state, as parts have it.
FORMATS = {
    "anthropic_messages": ("anthropic.signature", "anthropic.redacted_thinking", "anthropic.tool_use"),
    "bedrock_converse": ("bedrock.reasoning_signature", "bedrock.redacted"),
    "cohere_chat": ("cohere.tool_plan",),
    "gemini_generate_content": ("gemini.thought_signature",),
    "openai_chat": ("openrouter.reasoning_details",),
    "openai_responses": ("openai.reasoning", "openai.item"),
}
# A model of each that takes back what it thought.
MODELS = {
    "anthropic_messages": "claude-sonnet-4-5",
    "bedrock_converse": "anthropic.claude-sonnet-4-5-v1:0",
    "gemini_generate_content": "gemini-3-pro-preview",
    "openai_responses": "gpt-5",
}
PARTS: dict[str, dict[str, Any]] = {
    "text": {"text": "Well."},
    "reasoning": {"reasoning": {"text": "Hm."}},
    "redacted": {"reasoning": {"redacted": True}},
    "tool_call": {"toolCall": {"id": "call_1", "name": "look", "argumentsJson": "{}"}},
}
CASES = [
    (name, format_, part)
    for name in NAMES
    for owner, formats in FORMATS.items()
    for format_ in formats
    for part in PARTS
    if owner != name
]
QUIRKS = Quirks(reasoning_field="reasoning", reasoning_details=True)


def conversation(format_: str, part: str) -> GenerateRequest:
    said = [{"text": "Before."}, {**PARTS[part], "providerState": {"format": format_, "data": STATE}}]
    messages: list[dict[str, Any]] = [
        {"role": "ROLE_USER", "parts": [{"text": "Hi"}]},
        {"role": "ROLE_ASSISTANT", "parts": said},
    ]
    if part == "tool_call":
        result = {"toolCallId": "call_1", "name": "look", "parts": [{"text": "ok"}]}
        messages.append({"role": "ROLE_TOOL", "parts": [{"toolResult": result}]})
    else:
        messages.append({"role": "ROLE_USER", "parts": [{"text": "And?"}]})
    return ParseDict({"messages": messages, "tools": [{"function": {"name": "look"}}]}, GenerateRequest())


@pytest.mark.parametrize(("name", "format_", "part"), CASES)
def test_state_of_another_is_left_out_with_a_warning(name: str, format_: str, part: str) -> None:
    request = conversation(format_, part)
    encoded = DIALECTS[name].encode_request(request, MODELS.get(name, "m"), stream=False, quirks=QUIRKS)
    assert STATE.encode() not in encoded.body
    warned = [(warning.kind, warning.field) for warning in encoded.warnings]
    assert any(
        kind == CallWarning.KIND_CONTENT_DROPPED and field.startswith("messages[1].parts[1]") for kind, field in warned
    ), warned
