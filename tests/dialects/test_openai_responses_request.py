"""Requests of the Responses API beside the golden ones: models, options, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.gateway_service_pb2 import GenerateRequest, Thinking
from trunkline_server.dialects import openai_responses
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.dialects.openai_responses.models import facts_of
from trunkline_server.errors import InvalidRequest

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
USER = {"role": "ROLE_USER", "parts": [{"text": "Hi"}]}


def encode(model: str = "gpt-5.1", quirks: Quirks | None = None, **fields: Any) -> tuple[Any, list[CallWarning]]:
    request = ParseDict({"messages": [USER]} | fields, GenerateRequest())
    encoded = openai_responses.encode_request(request, model, stream=False, quirks=quirks or Quirks())
    return json.loads(encoded.body), [*encoded.warnings]


def fields_of(warnings: list[CallWarning]) -> list[tuple[str, int]]:
    return [(warning.field, warning.kind) for warning in warnings]


def options(**given: Any) -> Any:
    return {"provider_options": {"openai_responses": given}}


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "efforts"),
    [
        ("gpt-4o gpt-4.1-mini gpt-4-0613 gpt-3.5-turbo gpt-35-turbo chatgpt-4o-latest gpt-5-chat-latest", ""),
        ("ft:gpt-4o-mini-2024-07-18:acme::x openai/gpt-4.1 grok-4-fast-non-reasoning GPT-4O", ""),
        ("o1 o3-mini-2025-01-31 o4-mini codex-mini-latest openai/o3", "low medium high"),
        ("gpt-5 gpt-5-mini gpt-5-nano-2025-08-07 ft:gpt-5-nano:acme::x", "minimal low medium high"),
        ("gpt-5-codex gpt-5.1-codex gpt-5.1-codex-mini", "low medium high"),
        ("gpt-5-pro", "high"),
        ("gpt-5.1 gpt-5.1-2025-11-13", "none low medium high"),
        ("gpt-5.1-codex-max gpt-5.2-codex gpt-5.3-codex", "low medium high xhigh"),
        ("gpt-5.2 gpt-5.4-mini gpt-5.5-2026-04-23 gpt-5-2", "none low medium high xhigh"),
        ("gpt-5.2-pro", "medium high xhigh"),
        ("gpt-5.2-chat-latest", "medium"),
        ("gpt-5.6 gpt-5.6-sol gpt-5.10", "none low medium high xhigh max"),
        ("gpt-6 gpt-6-astra", "low medium high xhigh max"),
        ("grok-4.3 my-deployment gpt-oss-20b glm-4.7-flash", "none minimal low medium high"),
    ],
)
def test_the_efforts_of_models(models: str, efforts: str) -> None:
    for model in models.split():
        facts = facts_of(model)
        assert facts.efforts == tuple(efforts.split()), model
        assert facts.thinks == bool(efforts), model


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("o3", "NONE", "low"),
        ("gpt-5", "NONE", "minimal"),
        ("gpt-5.1", "MINIMAL", "low"),
        ("gpt-5-pro", "LOW", "high"),
        ("o3", "MAX", "high"),
        ("gpt-5.2", "MAX", "xhigh"),
        ("grok-4.3", "MAX", "high"),
        ("gpt-5.6", "MAX", "max"),
        ("gpt-5.1", "MEDIUM", "medium"),
    ],
)
def test_the_nearest_effort_that_the_model_has(model: str, effort: str, sent: str) -> None:
    body, warnings = encode(model, config={"thinking": {"effort": f"EFFORT_{effort}"}})
    assert body["reasoning"] == {"effort": sent}
    changed = [("config.thinking.effort", CallWarning.KIND_PARAMETER_CHANGED)]
    assert fields_of(warnings) == ([] if sent == effort.lower() else changed)


def test_no_thinking_is_what_a_model_does_that_does_not_think() -> None:
    assert encode("gpt-4o", config={"thinking": {"effort": "EFFORT_NONE"}}) == encode("gpt-4o")
    body, warnings = encode(config={"thinking": {"budget_tokens": 0}})
    assert (body["reasoning"], warnings) == ({"effort": "none"}, [])


def test_every_effort_has_a_word() -> None:
    for effort in Thinking.Effort.values():
        body, _ = encode("my-deployment", config={"thinking": {"effort": effort}})
        assert ("reasoning" in body) == (effort != Thinking.EFFORT_UNSPECIFIED)


@pytest.mark.parametrize(
    ("model", "effort", "taken"),
    [
        ("gpt-4.1", None, True),
        ("my-deployment", "HIGH", True),
        ("o3", None, False),
        ("gpt-5", "LOW", False),
        ("gpt-5.1", None, True),
        ("gpt-5.1", "LOW", False),
        ("gpt-5.4", "NONE", True),
        ("gpt-5.5", None, False),
        ("gpt-5.6", "NONE", True),
    ],
)
def test_a_model_that_thinks_takes_no_sampling_settings(model: str, effort: str | None, taken: bool) -> None:
    thinking = {"thinking": {"effort": f"EFFORT_{effort}"}} if effort else {}
    body, warnings = encode(model, config={"temperature": 0.5, "top_p": 1, "top_logprobs": 1} | thinking)
    names = {"temperature", "top_p", "top_logprobs"}
    assert names & body.keys() == (names if taken else set())
    # top_p 1 is what the model does in any case.
    dropped = [(f"config.{name}", CallWarning.KIND_PARAMETER_DROPPED) for name in ("temperature", "top_logprobs")]
    assert fields_of(warnings) == ([] if taken else dropped)


# --- what is stored and included --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "fields", "store", "include"),
    [
        ("gpt-5.1", {}, False, [ENCRYPTED]),
        ("gpt-4.1", {}, False, None),
        ("gpt-5.1", options(store=False), False, [ENCRYPTED]),
        ("gpt-5.1", options(store=True), True, None),
        ("gpt-5.1", options(include=[]), False, []),
        ("gpt-5.1", options(include=["a"]), False, ["a", ENCRYPTED]),
        ("gpt-5.1", options(include=[ENCRYPTED]), False, [ENCRYPTED]),
        ("gpt-5.1", options(include="a"), False, "a"),
        ("gpt-4.1", {"config": {"top_logprobs": 0}}, False, [LOGPROBS]),
        ("gpt-5.1", {"config": {"top_logprobs": 0}} | options(include=[]), False, [LOGPROBS]),
        ("gpt-5.1", {"config": {"top_logprobs": 0}}, False, [ENCRYPTED, LOGPROBS]),
    ],
)
def test_store_and_include(model: str, fields: Any, store: bool, include: Any) -> None:
    body, _ = encode(model, **fields)
    assert (body["store"], body.get("include")) == (store, include)


def test_a_host_whose_models_do_not_think_is_asked_for_no_reasoning() -> None:
    thoughtless = Quirks(unsupported=frozenset({"thinking"}))
    body, warnings = encode("my-deployment", thoughtless, config={"thinking": {"visibility": "VISIBILITY_SUMMARY"}})
    assert (body.keys() & {"include", "reasoning"}, warnings) == (set(), [])


def test_where_the_answers_are_stored_an_id_is_enough_to_name_reasoning() -> None:
    state = {"format": "openai.reasoning", "data": '{"id":"rs_1","summary":[]}'}
    answer = {"role": "ROLE_ASSISTANT", "parts": [{"reasoning": {}, "provider_state": state}, {"text": "Hello"}]}
    body, warnings = encode(messages=[answer, USER], **options(store=True))
    assert body["input"][0] == {"type": "reasoning", "id": "rs_1", "summary": []}
    assert not warnings


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(openai_responses.WRITTEN))
def test_options_may_not_carry_what_the_dialect_writes(name: str) -> None:
    outer, _, inner = name.partition(".")
    with pytest.raises(InvalidRequest) as caught:
        encode(**options(**{outer: {inner: 1} if inner else 1}))
    assert [violation.field for violation in caught.value.violations] == [f"provider_options.openai_responses.{name}"]


def test_options_of_others_are_left_out() -> None:
    assert encode(provider_options={"openai_chat": {"user": "u"}}) == encode()


# --- tools ------------------------------------------------------------------------------------------------------------


def provider_tool(kind: str, settings: str = "") -> Any:
    return {"provider_tool": {"dialect": "openai_responses", "type": kind, "config_json": settings}}


@pytest.mark.parametrize("settings", ["[]", "{", "null", '"x"', "[" * 5000])
def test_settings_of_a_providers_tool_that_are_not_json(settings: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(tools=[provider_tool("web_search", settings)])
    assert [violation.field for violation in caught.value.violations] == ["tools[0].provider_tool.config_json"]


def test_a_providers_tools_keep_their_settings_and_their_type() -> None:
    mcp = '{"type":"x","server_label":"a","server_url":"https://example.com"}'
    body, _ = encode(
        tools=[provider_tool("mcp", mcp), provider_tool("mcp", '{"server_label":"b"}')],
        tool_choice={"mode": "MODE_REQUIRED", "allowed_tools": ["mcp"]},
    )
    assert body["tools"] == [
        {"type": "mcp", "server_label": "a", "server_url": "https://example.com"},
        {"type": "mcp", "server_label": "b"},
    ]
    assert body["tool_choice"] == {"type": "mcp", "server_label": "a"}


def test_a_choice_without_tools_that_can_be_sent() -> None:
    other = {"provider_tool": {"dialect": "gemini_generate_content", "type": "googleSearch"}}
    body, warnings = encode(tools=[other], tool_choice={"mode": "MODE_REQUIRED", "parallel": True})
    assert body.keys() == {"model", "input", "store", "include"}
    assert fields_of(warnings) == [("tools[0].provider_tool", CallWarning.KIND_PARAMETER_DROPPED)]


def test_several_allowed_tools_of_which_one_must_be_called() -> None:
    tools = [{"function": {"name": name}} for name in "abc"]
    body, _ = encode(tools=tools, tool_choice={"mode": "MODE_REQUIRED", "allowed_tools": ["c", "a"]})
    named = [{"type": "function", "name": name} for name in "ca"]
    assert body["tool_choice"] == {"type": "allowed_tools", "mode": "required", "tools": named}
    plain, _ = encode(
        tools=tools,
        tool_choice={"mode": "MODE_AUTO", "allowed_tools": ["c", "a"]},
        quirks=Quirks(allowed_tools=False),
    )
    assert [tool["name"] for tool in plain["tools"]] == ["a", "c"]
    assert plain["tool_choice"] == "auto"


# --- the conversation -------------------------------------------------------------------------------------------------


def test_state_cannot_replace_what_the_caller_says() -> None:
    more = (
        '{"type":"x","role":"user","content":"x","call_id":"x","name":"x","arguments":"x","caller":{"type":"direct"}}'
    )
    state = {"provider_state": {"format": "openai.item", "data": more}}
    call = {"tool_call": {"id": "call_1", "name": "f", "arguments_json": "{}"}} | state
    body, _ = encode(messages=[{"role": "ROLE_ASSISTANT", "parts": [call, {"text": "Hello"} | state]}])
    call_item, message = body["input"]
    assert call_item == {
        "type": "function_call",
        "call_id": "call_1",
        "name": "f",
        "arguments": "{}",
        "caller": {"type": "direct"},
    }
    assert (message["role"], message["type"]) == ("assistant", "message")
    assert message["content"] == [{"type": "output_text", "text": "Hello", "annotations": []}]


def test_the_models_texts_one_by_one_and_what_is_more_than_text_in_one() -> None:
    def state(phase: str) -> Any:
        return {"provider_state": {"format": "openai.item", "data": json.dumps({"phase": phase})}}

    parts = [{"text": "a"}, {"text": "b"}, {"text": "c"} | state("x"), {"refusal": "d"} | state("x")]
    body, _ = encode(messages=[{"role": "ROLE_ASSISTANT", "parts": [*parts, {"refusal": "e"} | state("y")]}])
    first, second, third, last = body["input"]
    assert [first, second] == [{"type": "message", "role": "assistant", "content": text} for text in "ab"]
    assert (third["phase"], [content["type"] for content in third["content"]]) == ("x", ["output_text", "refusal"])
    assert (last["phase"], last["content"]) == ("y", [{"type": "refusal", "refusal": "e"}])


def test_reasoning_is_followed_across_messages_of_the_model_only() -> None:
    state = {"format": "openai.reasoning", "data": '{"id":"rs_1","encrypted_content":"x","summary":[]}'}
    thought = {"role": "ROLE_ASSISTANT", "parts": [{"reasoning": {}, "provider_state": state}] * 2}
    said = {"role": "ROLE_ASSISTANT", "parts": [{"text": "Hello"}]}
    body, warnings = encode(messages=[thought, said, USER, thought, USER])
    assert [item.get("role", item.get("type")) for item in body["input"]] == [
        "reasoning",
        "reasoning",
        "assistant",
        "user",
        "user",
    ]
    lost = CallWarning.KIND_CONTENT_DROPPED
    assert fields_of(warnings) == [("messages[3].parts[1]", lost), ("messages[3].parts[0]", lost)]


@pytest.mark.parametrize("data", ["", "[]", "{", "null", "[" * 5000])
def test_state_that_is_not_json_is_left_out(data: str) -> None:
    parts = [
        {"reasoning": {}, "provider_state": {"format": "openai.reasoning", "data": data}},
        {"text": "Hello", "provider_state": {"format": "openai.item", "data": data}},
    ]
    body, warnings = encode(messages=[{"role": "ROLE_ASSISTANT", "parts": parts}])
    assert body["input"] == [{"type": "message", "role": "assistant", "content": "Hello"}]
    lost = CallWarning.KIND_CONTENT_DROPPED
    assert fields_of(warnings) == [
        ("messages[0].parts[0].reasoning", lost),
        ("messages[0].parts[1].provider_state", lost),
    ]


def test_a_tool_that_returned_nothing() -> None:
    result = {"role": "ROLE_TOOL", "parts": [{"tool_result": {"tool_call_id": "call_1"}}]}
    body, _ = encode(messages=[result])
    assert body["input"] == [{"type": "function_call_output", "call_id": "call_1", "output": ""}]


def test_what_only_the_models_texts_can_have() -> None:
    body, warnings = encode(messages=[USER | {"parts": [{"text": "Hi", "citations": [{"uri": "https://x.org"}]}]}])
    assert body["input"] == [{"role": "user", "content": "Hi"}]
    assert fields_of(warnings) == [("messages[0].parts[0].citations", CallWarning.KIND_CONTENT_DROPPED)]


def test_what_only_the_model_says() -> None:
    parts = [{"reasoning": {"text": "Hm."}}, {"refusal": "No."}, {"text": "Hi"}]
    body, warnings = encode(messages=[{"role": "ROLE_USER", "parts": parts}])
    assert body["input"] == [{"role": "user", "content": "Hi"}]
    lost = CallWarning.KIND_CONTENT_DROPPED
    assert fields_of(warnings) == [("messages[0].parts[0]", lost), ("messages[0].parts[1]", lost)]


def test_citations_of_what_is_no_text() -> None:
    parts = [{"refusal": "No.", "citations": [{"uri": "https://x.org"}]}]
    _, warnings = encode(messages=[{"role": "ROLE_ASSISTANT", "parts": parts}])
    assert fields_of(warnings) == [("messages[0].parts[0].citations", CallWarning.KIND_CONTENT_DROPPED)]
