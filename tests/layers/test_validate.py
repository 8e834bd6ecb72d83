"""Bad requests: every bad field is named at once, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.layers.validate import violations

USER = {"role": "ROLE_USER", "parts": [{"text": "hi"}]}
TOOL = {"function": {"name": "f", "parametersJsonSchema": "{}"}}

GOOD: list[dict[str, Any]] = [
    {"prompt": "hi"},
    {"messages": [USER]},
    {
        "messages": [USER],
        "systemInstruction": "x",
        "config": {"temperature": 0, "topP": 1, "seed": "0", "topLogprobs": 0},
    },
    {"messages": [{"role": "ROLE_SYSTEM", "parts": [{"text": ""}]}, USER]},
    {"messages": [USER, {"role": "ROLE_ASSISTANT", "parts": [{"toolCall": {"id": "1", "name": "f"}}]}]},
    {"messages": [{"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "1", "parts": [{"text": "x"}]}}]}]},
    {"prompt": "x", "tools": [TOOL], "toolChoice": {"mode": "MODE_REQUIRED", "allowedTools": ["f"]}},
    {"prompt": "x", "responseFormat": {"kind": "KIND_JSON_SCHEMA", "jsonSchema": '{"type":"object"}'}},
    {"prompt": "x", "streamOptions": {"coalesceWindow": "1s", "heartbeatInterval": "0.1s"}},
    {"prompt": "x", "config": {"stopSequences": ["a"] * 16}},
]

GOOD += [
    {"messages": [{"role": "ROLE_USER", "parts": [{"media": {"mimeType": "image/png", "data": "AA=="}}]}]},
    {"messages": [{"role": "ROLE_USER", "parts": [{"media": {"uri": "https://example.com/cat.png"}}]}]},
    {"messages": [{"role": "ROLE_ASSISTANT", "parts": [{"reasoning": {}, "providerState": {"format": "x.y"}}]}]},
    {"messages": [{"role": "ROLE_ASSISTANT", "parts": [{"providerPart": {"dialect": "d", "json": "{}"}}]}]},
    {"prompt": "x", "tools": [{"providerTool": {"dialect": "d", "type": "web_search"}}]},
    {"prompt": "x", "config": {"thinking": {"effort": "EFFORT_MAX", "budgetTokens": 0}}},
]

BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["messages"]),
    ({"prompt": "x", "messages": [USER]}, ["prompt"]),
    ({"messages": [{"parts": [{"text": "x"}]}]}, ["messages[0].role"]),
    ({"messages": [{"role": 77, "parts": [{"text": "x"}]}]}, ["messages[0].role"]),
    ({"messages": [USER, {"role": "ROLE_USER"}]}, ["messages[1].parts"]),
    ({"messages": [{"role": "ROLE_USER", "parts": [{}]}]}, ["messages[0].parts[0]"]),
    (
        {"messages": [{"role": "ROLE_USER", "parts": [{"toolCall": {}}, {"refusal": "no"}, {"toolResult": {}}]}]},
        [
            "messages[0].parts[0].tool_call",
            "messages[0].parts[0].tool_call.id",
            "messages[0].parts[0].tool_call.name",
            "messages[0].parts[1].refusal",
            "messages[0].parts[2].tool_result",
            "messages[0].parts[2].tool_result.tool_call_id",
        ],
    ),
    ({"messages": [{"role": "ROLE_TOOL", "parts": [{"text": "x"}]}]}, ["messages[0].parts[0].text"]),
    (
        {
            "prompt": "x",
            "config": {
                "maxOutputTokens": 0,
                "temperature": 2.01,
                "topP": 0,
                "topK": 0,
                "presencePenalty": -3,
                "frequencyPenalty": 3,
                "seed": "-1",
                "stopSequences": ["", *["x"] * 16],
                "topLogprobs": 21,
            },
        },
        [
            "config.max_output_tokens",
            "config.temperature",
            "config.top_k",
            "config.presence_penalty",
            "config.frequency_penalty",
            "config.seed",
            "config.top_logprobs",
            "config.top_p",
            "config.stop_sequences",
            "config.stop_sequences[0]",
        ],
    ),
    ({"prompt": "x", "config": {"temperature": "NaN", "topP": "NaN"}}, ["config.temperature", "config.top_p"]),
    (
        {"prompt": "x", "tools": [{}, {"function": {"name": "a b"}}, TOOL, TOOL]},
        ["tools[0]", "tools[1].function.name", "tools[3].function.name"],
    ),
    (
        {"prompt": "x", "tools": [{"function": {"name": "f", "parametersJsonSchema": "[]"}}]},
        ["tools[0].function.parameters_json_schema"],
    ),
    ({"prompt": "x", "toolChoice": {"mode": 9}}, ["tool_choice.mode", "tool_choice"]),
    ({"prompt": "x", "tools": [TOOL], "toolChoice": {"allowedTools": ["g"]}}, ["tool_choice.allowed_tools[0]"]),
    ({"prompt": "x", "responseFormat": {"kind": 9}}, ["response_format.kind"]),
    ({"prompt": "x", "responseFormat": {"kind": "KIND_JSON_SCHEMA"}}, ["response_format.json_schema"]),
    ({"prompt": "x", "responseFormat": {"jsonSchema": "{}"}}, ["response_format.json_schema"]),
    ({"prompt": "x", "responseFormat": {"name": "no good"}}, ["response_format.name"]),
    (
        {
            "prompt": "x",
            "context": {
                "endUserId": "x" * 201,
                "priority": 9,
                "labels": {f"l{number}": "x" for number in range(33)},
            },
        },
        ["context.end_user_id", "context.priority", "context.labels"],
    ),
    (
        {"prompt": "x", "streamOptions": {"coalesceWindow": "1.1s", "heartbeatInterval": "0.05s"}},
        ["stream_options.coalesce_window", "stream_options.heartbeat_interval"],
    ),
]

BAD += [
    ({"messages": [{"role": "ROLE_USER", "parts": [{"media": {}}]}]}, ["messages[0].parts[0].media"]),
    (
        {"messages": [{"role": "ROLE_USER", "parts": [{"media": {"data": "AA==", "mimeType": "png", "detail": 9}}]}]},
        ["messages[0].parts[0].media.mime_type", "messages[0].parts[0].media.detail"],
    ),
    (
        {"messages": [{"role": "ROLE_USER", "parts": [{"reasoning": {"text": "x"}, "providerState": {}}]}]},
        ["messages[0].parts[0].reasoning", "messages[0].parts[0].provider_state.format"],
    ),
    (
        {"messages": [{"role": "ROLE_ASSISTANT", "parts": [{"providerPart": {"json": "[]"}}]}]},
        ["messages[0].parts[0].provider_part.dialect", "messages[0].parts[0].provider_part.json"],
    ),
    (
        {"prompt": "x", "tools": [{"providerTool": {"configJson": "1"}}]},
        ["tools[0].provider_tool.dialect", "tools[0].provider_tool.type", "tools[0].provider_tool.config_json"],
    ),
    (
        {"prompt": "x", "config": {"thinking": {"effort": 99, "visibility": 99, "budgetTokens": -1}}},
        ["config.thinking.effort", "config.thinking.visibility", "config.thinking.budget_tokens"],
    ),
    (
        {"messages": [{"role": "ROLE_USER", "parts": [{"text": "x", "cacheBreakpoint": {"ttl": "-1s"}}]}]},
        ["messages[0].parts[0].cache_breakpoint.ttl"],
    ),
]


def parsed(document: dict[str, Any]) -> pb.GenerateRequest:
    return ParseDict(document, pb.GenerateRequest())


@pytest.mark.parametrize("document", GOOD, ids=str)
def test_good_requests_pass(document: dict[str, Any]) -> None:
    assert violations(parsed(document)) == []


@pytest.mark.parametrize(("document", "fields"), BAD, ids=str)
def test_every_bad_field_is_named(document: dict[str, Any], fields: list[str]) -> None:
    found = violations(parsed(document))
    assert [violation.field for violation in found] == fields
    assert all(violation.description for violation in found)


def test_a_schema_that_is_nested_too_deeply_is_refused_and_not_a_crash() -> None:
    deep = '{"a":' * 100_000
    request = parsed({"prompt": "x", "responseFormat": {"kind": "KIND_JSON_SCHEMA", "jsonSchema": deep}})
    assert [violation.field for violation in violations(request)] == ["response_format.json_schema"]


@given(st.integers(-(10**6), 10**6), st.integers(0, 999_999_999))
def test_durations_out_of_range_are_refused_whatever_their_sign(whole: int, nanos: int) -> None:
    window = Duration(seconds=whole, nanos=nanos if whole >= 0 else -nanos)
    found = violations(pb.GenerateRequest(prompt="x", stream_options=pb.StreamOptions(coalesce_window=window)))
    assert bool(found) == (not 0 <= whole + (nanos if whole >= 0 else -nanos) / 1e9 <= 1)
