"""Encoding requests for the Messages API: what models take, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import ParseDict

from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import anthropic_messages
from trunkline_server.dialects.anthropic_messages.models import Facts, facts_of
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import InvalidRequest

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import Encoded

HELLO = {"role": "ROLE_USER", "parts": [{"text": "Hi"}]}


def encode(model: str = "claude-sonnet-4-5", **fields: Any) -> Encoded:
    request = ParseDict({"messages": [HELLO]} | fields, GenerateRequest())
    return anthropic_messages.encode_request(request, model, stream=False, quirks=Quirks())


def refused(**fields: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        encode(**fields)
    return [violation.field for violation in caught.value.violations]


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["claude-3-5-sonnet-20241022", "claude-3.5-sonnet", "us.anthropic.claude-3-5-sonnet-20240620-v1:0"],
        ["claude-sonnet-4-20250514", "claude-4-sonnet-20250514", "claude-sonnet-4@20250514", "claude-sonnet-4-0"],
        [
            "claude-opus-4-5",
            "claude-opus-4.5",
            "claude-opus-4-5-20251101",
            "global.anthropic.claude-opus-4-5-20251101-v1:0",
        ],
        ["claude-sonnet-4-6", "anthropic/claude-sonnet-4.6", "anthropic.claude-sonnet-4-6-v1", "Claude-Sonnet-4-6"],
        ["claude-opus-9", "claude-opus-latest", "claude-opus-5-5"],
    ],
    ids=lambda names: names[0],
)
def test_a_model_is_known_by_every_name(names: list[str]) -> None:
    assert len({facts_of(name) for name in names}) == 1


@pytest.mark.parametrize("name", ["smollm2-135m", "kimi-k2", "claude", ""])
def test_other_models_are_taken_as_they_are(name: str) -> None:
    assert facts_of(name) == Facts()


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-2.1", 4096),
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-opus-4-1-20250805", 8192),
        ("claude-haiku-4-5-20251001", 64_000),
        ("claude-sonnet-4-6", 128_000),
        ("claude-fable-5-2", 128_000),
        ("other", 4096),
    ],
)
def test_an_answers_length_where_the_caller_is_silent(model: str, tokens: int) -> None:
    encoded = encode(model)
    assert json.loads(encoded.body)["max_tokens"] == tokens
    assert not encoded.warnings
    assert json.loads(encode(model, config={"max_output_tokens": 9}).body)["max_tokens"] == 9


@pytest.mark.parametrize(
    ("model", "thinking", "effort"),
    [
        ("claude-3-7-sonnet-20250219", {"type": "enabled", "budget_tokens": 32_000}, None),
        ("claude-opus-4-5", {"type": "enabled", "budget_tokens": 32_000}, None),
        ("claude-sonnet-4-6", {"type": "adaptive"}, "max"),
        ("claude-opus-4-8", {"type": "adaptive"}, "max"),
        ("claude-haiku-5-5", {"type": "adaptive"}, "max"),
        ("claude-3-5-sonnet-20241022", None, None),
    ],
)
def test_thinking_as_much_as_can_be(model: str, thinking: Any, effort: str | None) -> None:
    body = json.loads(encode(model, config={"thinking": {"effort": "EFFORT_MAX"}}).body)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-3-5-haiku-20241022", None),
        ("claude-3-7-sonnet-20250219", {"type": "disabled"}),
        ("claude-opus-4-8", {"type": "disabled"}),
        ("other", {"type": "disabled"}),
        ("claude-opus-5", {"type": "disabled"}),
        ("claude-haiku-5-5", {"type": "disabled"}),
        ("claude-sonnet-5-5", {"type": "between_tools"}),
    ],
)
def test_thinking_not_at_all(model: str, thinking: Any) -> None:
    encoded = encode(model, config={"thinking": {"effort": "EFFORT_NONE"}})
    assert json.loads(encoded.body).get("thinking") == thinking
    assert not encoded.warnings


@pytest.mark.parametrize("model", ["claude-fable-5", "claude-mythos-preview", "claude-opus-5-5", "claude-opus-6"])
def test_models_that_always_think(model: str) -> None:
    encoded = encode(model, config={"thinking": {"effort": "EFFORT_NONE"}})
    assert json.loads(encoded.body)["output_config"] == {"effort": "low"}
    assert [warning.field for warning in encoded.warnings] == ["config.thinking.effort"]


@pytest.mark.parametrize(
    ("budget", "effort"), [(500, "low"), (2048, "low"), (2049, "medium"), (16_384, "high"), (99_999, "max")]
)
def test_a_budget_as_an_effort(budget: int, effort: str) -> None:
    encoded = encode("claude-opus-5", config={"thinking": {"budget_tokens": budget}})
    assert json.loads(encoded.body)["output_config"] == {"effort": effort}
    assert [warning.field for warning in encoded.warnings] == ["config.thinking.budget_tokens"]


def test_a_budget_below_the_least_is_raised() -> None:
    encoded = encode(config={"thinking": {"budget_tokens": 10}})
    assert json.loads(encoded.body)["thinking"]["budget_tokens"] == 1024
    assert [warning.field for warning in encoded.warnings] == ["config.thinking.budget_tokens"]


def test_a_budget_beyond_the_default_length_makes_room_for_the_answer() -> None:
    body = json.loads(encode(config={"thinking": {"budget_tokens": 80_000}}).body)
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (80_000, 88_192)


@pytest.mark.parametrize(
    ("model", "choice"),
    [
        ("claude-opus-5", {"type": "any"}),
        ("claude-fable-5", {"type": "any"}),
        ("claude-haiku-5-5", {"type": "any"}),
        ("claude-fable-5-1", None),
        ("claude-sonnet-5-5", None),
    ],
)
def test_a_tool_that_must_be_called(model: str, choice: Any) -> None:
    encoded = encode(model, tools=[{"function": {"name": "f"}}], tool_choice={"mode": "MODE_REQUIRED"})
    assert json.loads(encoded.body).get("tool_choice") == choice
    assert [warning.field for warning in encoded.warnings] == ([] if choice else ["tool_choice.mode"])


def test_sampling_of_a_model_that_has_none() -> None:
    """Its defaults may be asked for."""
    asked = encode("claude-opus-5", config={"temperature": 1.5, "top_p": 0.9, "top_k": 1})
    assert [warning.field for warning in asked.warnings] == ["config.temperature", "config.top_p", "config.top_k"]
    assert json.loads(asked.body).keys() == {"model", "max_tokens", "messages"}
    assert encode("claude-opus-5", config={"temperature": 1.0, "top_p": 1.0}) == encode("claude-opus-5")


# --- tools of the provider --------------------------------------------------------------------------------------------


def test_a_provider_tool_that_is_not_among_the_allowed_is_not_sent() -> None:
    search = {"dialect": "anthropic_messages", "type": "web_search_20250305", "config_json": '{"name": "web_search"}'}
    fetch = {"dialect": "anthropic_messages", "type": "web_fetch_20250910"}
    tools = [{"function": {"name": "f"}}, {"provider_tool": search}, {"provider_tool": fetch}]
    body = json.loads(encode(tools=tools, tool_choice={"allowed_tools": ["f", "web_search"]}).body)
    assert [tool["name"] for tool in body["tools"]] == ["f", "web_search"]
    assert "tool_choice" not in body


def test_tools_of_other_dialects_alone_are_no_tools() -> None:
    tools = [{"provider_tool": {"dialect": "gemini_generate_content", "type": "google_search"}}]
    encoded = encode(tools=tools, tool_choice={"mode": "MODE_REQUIRED"})
    assert json.loads(encoded.body).keys() == {"model", "max_tokens", "messages"}
    assert [warning.field for warning in encoded.warnings] == ["tools[0].provider_tool"]


@pytest.mark.parametrize("config", ["{", "[]", "1", "[" * 100_000])
def test_settings_of_a_provider_tool_that_are_not_json(config: str) -> None:
    tool = {"dialect": "anthropic_messages", "type": "web_search_20250305", "config_json": config}
    assert refused(tools=[{"provider_tool": tool}]) == ["tools[0].provider_tool.config_json"]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[""], [" \n"], ["", "\t"]])
def test_a_conversation_that_says_nothing(texts: list[str]) -> None:
    assert refused(messages=[{"role": "ROLE_USER", "parts": [{"text": text} for text in texts]}]) == ["messages"]


def test_a_turn_that_begins_with_a_block_of_the_providers_own() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "a"}}
    asked = {"dialect": "anthropic_messages", "type": "server_tool_use", "json": json.dumps(search)}
    call = {"tool_call": {"id": "t", "name": "add", "arguments_json": "{}"}}
    said = {"role": "ROLE_ASSISTANT", "parts": [{"provider_part": asked}, call]}
    result = {"role": "ROLE_TOOL", "parts": [{"tool_result": {"tool_call_id": "t", "parts": [{"text": "4"}]}}]}
    sent = json.loads(encode(messages=[HELLO, said, result]).body)["messages"]
    assert sent[1]["content"][0] == search
    assert [block["type"] for block in sent[1]["content"]] == ["server_tool_use", "tool_use"]


def test_messages_that_say_nothing_are_not_there() -> None:
    silent = {"role": "ROLE_ASSISTANT", "parts": [{"text": " "}]}
    system = {"role": "ROLE_SYSTEM", "parts": [{"text": "Be kind."}]}
    encoded = encode("claude-opus-5", messages=[HELLO, system, silent, HELLO])
    turns = json.loads(encoded.body)["messages"]
    assert [(turn["role"], len(turn["content"])) for turn in turns] == [("user", 2), ("system", 1)]
    assert not encoded.warnings


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"max_tokens": 5, "model": "x"}, ["max_tokens", "model"]),
        ({"thinking": {"type": "disabled"}}, ["thinking.type"]),
        ({"output_config": {"effort": "low"}}, ["output_config.effort"]),
        ({"anthropic_beta": 7}, ["anthropic_beta"]),
        ({"anthropic_beta": ["a", "b\r\nx-api-key: c"]}, ["anthropic_beta"]),
    ],
)
def test_provider_options_that_are_refused(options: Any, fields: list[str]) -> None:
    named = [f"provider_options.anthropic_messages.{name}" for name in fields]
    assert refused(provider_options={"anthropic_messages": options}) == named


def test_betas_are_a_header() -> None:
    encoded = encode(provider_options={"anthropic_messages": {"anthropic_beta": "context-1m-2025-08-07"}})
    assert encoded.headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "context-1m-2025-08-07"}
    assert "anthropic_beta" not in json.loads(encoded.body)


def test_no_credentials_are_in_the_headers() -> None:
    assert encode().headers == {"anthropic-version": "2023-06-01"}
