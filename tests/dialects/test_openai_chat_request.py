"""Requests of the chat completions API: what provider_options may say, and how hosts differ."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import ParseDict

from trunkline.v1.gateway_service_pb2 import GenerateRequest, Thinking
from trunkline_server.dialects import openai_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import InvalidRequest
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import Encoded

# Says everything that has a key of its own in the body.
EVERYTHING: dict[str, Any] = {
    "messages": [{"role": "ROLE_USER", "parts": [{"text": "Hi"}]}],
    "config": {
        "max_output_tokens": 1,
        "temperature": 1,
        "top_p": 1,
        "top_k": 1,
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "seed": 1,
        "stop_sequences": ["a"],
        "top_logprobs": 1,
        "thinking": {"effort": "EFFORT_HIGH", "visibility": "VISIBILITY_OMITTED"},
    },
    "tools": [{"function": {"name": "f"}}],
    "tool_choice": {"mode": "MODE_AUTO", "parallel": True},
    "response_format": {"kind": "KIND_JSON"},
}
NO_QUIRKS = Quirks()
BUDGET = {"budget_tokens": 5}
HOSTS = [row.quirks for row in ROWS.values() if row.dialect == "openai_chat"]


def encoded(request: dict[str, Any], quirks: Quirks = NO_QUIRKS, model: str = "m") -> Encoded:
    message = ParseDict({"messages": EVERYTHING["messages"]} | request, GenerateRequest())
    return openai_chat.encode_request(message, model, stream=True, quirks=quirks)


def body(request: dict[str, Any], quirks: Quirks = NO_QUIRKS) -> Any:
    return json.loads(encoded(request, quirks).body)


def options(**more: Any) -> dict[str, Any]:
    return {"provider_options": {"openai_chat": more}}


def paths(tree: dict[str, Any]) -> set[str]:
    """The keys of the body; of those that may be given in part, the keys inside."""
    parted = {name.partition(".")[0] for name in openai_chat.WRITTEN if "." in name}
    inner = {f"{key}.{name}" for key in parted & tree.keys() for name in tree[key]}
    return (tree.keys() - parted) | inner


@pytest.mark.parametrize("quirks", HOSTS)
def test_every_key_that_is_written_is_known_as_such(quirks: Quirks) -> None:
    assert paths(body(EVERYTHING, quirks)) <= openai_chat.WRITTEN
    assert paths(body({"config": {"thinking": BUDGET}}, quirks)) <= openai_chat.WRITTEN


def test_nothing_is_refused_that_is_never_written() -> None:
    bodies = [body(EVERYTHING | more, quirks) for quirks in HOSTS for more in ({}, {"config": {"thinking": BUDGET}})]
    assert set().union(*map(paths, bodies)) | {"n"} == openai_chat.WRITTEN


@pytest.mark.parametrize(
    ("key", "value"), [("model", "x"), ("n", 2), ("max_tokens", 1), ("reasoning.effort", 1), ("thinking.type", "x")]
)
def test_what_the_gateway_writes_is_refused(key: str, value: Any) -> None:
    outer, _, inner = key.partition(".")
    with pytest.raises(InvalidRequest) as caught:
        encoded(options(**{outer: {inner: value} if inner else value}))
    assert [violation.field for violation in caught.value.violations] == [f"provider_options.openai_chat.{key}"]


def test_other_options_are_merged() -> None:
    merged = body(options(service_tier="flex", stream_options={"include_obfuscation": False}))
    assert merged["service_tier"] == "flex"
    assert merged["stream_options"] == {"include_usage": True, "include_obfuscation": False}


@pytest.mark.parametrize(
    ("effort", "known", "sent"),
    [
        (Thinking.EFFORT_NONE, ("low", "high"), "low"),
        (Thinking.EFFORT_NONE, ("none", "high"), "none"),
        (Thinking.EFFORT_MINIMAL, ("none", "high"), "high"),
        (Thinking.EFFORT_MINIMAL, ("none", "low"), "low"),
        (Thinking.EFFORT_MEDIUM, ("low", "medium"), "medium"),
        (Thinking.EFFORT_MAX, ("low", "medium", "high"), "high"),
        (Thinking.EFFORT_MEDIUM, ("low", "high", "max"), "high"),
    ],
)
def test_effort_is_the_nearest_that_the_host_knows(
    effort: Thinking.Effort.ValueType, known: tuple[str, ...], sent: str
) -> None:
    request = {"config": {"thinking": {"effort": effort}}}
    result = encoded(request, Quirks(efforts=known))
    assert json.loads(result.body)["reasoning_effort"] == sent
    asked = Thinking.Effort.Name(effort).removeprefix("EFFORT_").lower()
    assert bool(result.warnings) == (asked != sent)


@pytest.mark.parametrize("host", ["deepseek", "moonshot"])
@pytest.mark.parametrize("choice", [{"mode": "MODE_REQUIRED"}, {"mode": "MODE_REQUIRED", "allowed_tools": ["f"]}])
@pytest.mark.parametrize(("effort", "warned"), [(None, []), ("EFFORT_NONE", []), ("EFFORT_LOW", ["config.thinking"])])
def test_no_thinking_where_a_tool_must_be_called(choice: Any, effort: str | None, warned: list[str], host: str) -> None:
    """As DeepSeek answers with 400: "Thinking mode does not support this tool_choice"."""
    said = {"role": "ROLE_ASSISTANT", "parts": [{"text": "Well."}]}
    asked: dict[str, Any] = {
        "messages": [*EVERYTHING["messages"], said, *EVERYTHING["messages"]],
        "tools": EVERYTHING["tools"],
        "tool_choice": choice,
        "config": {"temperature": 1} | ({"thinking": {"effort": effort}} if effort else {}),
    }
    result = encoded(asked, ROWS[host].quirks)
    sent = json.loads(result.body)
    assert (sent["thinking"], sent["temperature"]) == ({"type": "disabled"}, 1)
    assert "reasoning_effort" not in sent
    assert "reasoning_content" not in sent["messages"][1]
    assert [warning.field for warning in result.warnings] == warned


@pytest.mark.parametrize("host", ["deepseek", "moonshot"])
def test_turns_that_say_nothing_of_what_was_thought(host: str) -> None:
    """Moonshot: "thinking is enabled but reasoning_content is missing in assistant tool call message"."""
    call = {"role": "ROLE_ASSISTANT", "parts": [{"tool_call": {"id": "t", "name": "f"}}]}
    result = {"role": "ROLE_TOOL", "parts": [{"tool_result": {"tool_call_id": "t", "parts": [{"text": "4"}]}}]}
    asked: dict[str, Any] = {"messages": [*EVERYTHING["messages"], call, result], "tools": EVERYTHING["tools"]}
    assert body(asked, ROWS[host].quirks)["messages"][1]["reasoning_content"] == " "
    asked["config"] = {"thinking": {"effort": "EFFORT_NONE"}}
    assert "reasoning_content" not in body(asked, ROWS[host].quirks)["messages"][1]


def test_settings_that_deepseek_does_not_heed_while_it_thinks() -> None:
    asked: dict[str, Any] = {"config": {"temperature": 1, "presence_penalty": 1, "frequency_penalty": 1, "top_p": 0.5}}
    result = encoded(asked, ROWS["deepseek"].quirks)
    sent = json.loads(result.body)
    assert sent.keys() & {"temperature", "presence_penalty", "frequency_penalty", "top_p", "thinking"} == {"top_p"}
    assert [warning.field for warning in result.warnings] == [
        "config.temperature",
        "config.presence_penalty",
        "config.frequency_penalty",
    ]
    asked["config"] |= {"thinking": {"effort": "EFFORT_NONE"}}
    result = encoded(asked, ROWS["deepseek"].quirks)
    assert not result.warnings
    assert json.loads(result.body)["temperature"] == 1


def test_a_budget_alone_is_no_effort() -> None:
    result = encoded({"config": {"thinking": {"budget_tokens": 5}}})
    assert "reasoning_effort" not in json.loads(result.body)
    assert [warning.field for warning in result.warnings] == ["config.thinking.budget_tokens"]


def test_ids_of_tool_calls_that_a_host_does_not_take_are_replaced_alike() -> None:
    ids = ["abcdefghi", "x" * 41, "call_1"]
    calls = [{"tool_call": {"id": name, "name": "f"}} for name in ids]
    results = [{"tool_result": {"tool_call_id": name}} for name in ids]
    talk = {"messages": [{"role": "ROLE_ASSISTANT", "parts": calls}, {"role": "ROLE_TOOL", "parts": results}]}
    for pattern, kept in ((r"[a-zA-Z0-9]{9}", {"abcdefghi"}), (r".{1,40}", {"abcdefghi", "call_1"})):
        said, *told = body(talk, Quirks(tool_call_id=pattern))["messages"]
        sent = [call["id"] for call in said["tool_calls"]]
        assert sent == [result["tool_call_id"] for result in told]
        assert kept == set(sent) & set(ids)
        assert len(set(sent)) == 3
        assert all(len(name) == 9 for name in set(sent) - kept)


def test_state_that_is_damaged_is_left_out() -> None:
    state = {"format": "openrouter.reasoning_details", "data": "{"}
    part = {"reasoning": {"text": "Hm"}, "provider_state": state}
    quirks = Quirks(reasoning_field="reasoning", reasoning_details=True)
    result = encoded({"messages": [{"role": "ROLE_ASSISTANT", "parts": [part, {"text": "a"}]}]}, quirks)
    assert json.loads(result.body)["messages"] == [{"role": "assistant", "content": "a", "reasoning": "Hm"}]
    assert [warning.field for warning in result.warnings] == ["messages[0].parts[0].provider_state"]


def test_tools_that_are_left_out_leave_no_choice_behind() -> None:
    foreign = [{"provider_tool": {"dialect": "anthropic_messages", "type": "x"}}]
    foreign += [{"provider_tool": {"dialect": "openai_chat", "type": "x", "config_json": "["}}]
    result = encoded({"tools": foreign, "tool_choice": {"mode": "MODE_REQUIRED"}})
    assert json.loads(result.body).keys() == {"model", "messages", "stream", "stream_options"}
    assert [warning.field for warning in result.warnings] == [
        "tools[0].provider_tool",
        "tools[1].provider_tool.config_json",
    ]


def test_a_model_in_the_path() -> None:
    quirks = replace(Quirks(), path="/deployments/{model}/chat", api_version="2024-10-21")
    assert encoded({}, quirks, "a/b c").path == "/deployments/a%2Fb%20c/chat?api-version=2024-10-21"


def test_every_quirk_is_used_by_some_row() -> None:
    usual = Quirks()
    rows = [row.quirks for row in ROWS.values()]
    used = {
        field.name for field in fields(Quirks) for row in rows if getattr(row, field.name) != getattr(usual, field.name)
    }
    assert used == {field.name for field in fields(Quirks)}


def test_a_host_without_refusals_is_told_them_as_text() -> None:
    """Mistral answers a field that it does not know with 422."""
    said = {"role": "ROLE_ASSISTANT", "parts": [{"text": "Well."}, {"refusal": "I will not."}]}
    asked = {"messages": [EVERYTHING["messages"][0], said, EVERYTHING["messages"][0]]}
    body = json.loads(encoded(asked, ROWS["mistral"].quirks).body)
    texts = [{"type": "text", "text": "Well."}, {"type": "text", "text": "I will not."}]
    assert body["messages"][1] == {"role": "assistant", "content": texts}
    assert json.loads(encoded(asked).body)["messages"][1]["refusal"] == "I will not."


def test_a_host_that_takes_sound_as_its_bytes_alone() -> None:
    sound = {"media": {"mime_type": "audio/wav", "data": "UklGRg=="}}
    asked = {"messages": [{"role": "ROLE_USER", "parts": [{"text": "What is said?"}, sound]}]}
    (message,) = json.loads(encoded(asked, ROWS["mistral"].quirks).body)["messages"]
    assert message["content"][1] == {"type": "input_audio", "input_audio": "UklGRg=="}


def test_cache_breakpoints_of_openais_newer_models() -> None:
    """Of system and user messages, as its chat API takes them from GPT-5.6 on."""
    long, short = {"text": "Long.", "cache_breakpoint": {"ttl": "43200s"}}, {"text": "Hi", "cache_breakpoint": {}}
    asked = {
        "messages": [
            {"role": "ROLE_SYSTEM", "parts": [long]},
            {"role": "ROLE_ASSISTANT", "parts": [short]},
            {"role": "ROLE_USER", "parts": [short]},
        ],
        "tools": [{"function": {"name": "f"}, "cache_breakpoint": {}}],
    }
    result = encoded(asked, ROWS["openai"].quirks, "gpt-5.6-sol")
    system, said, user = json.loads(result.body)["messages"]
    mark = {"mode": "explicit"}
    assert system["content"] == [{"type": "text", "text": "Long.", "prompt_cache_breakpoint": mark | {"ttl": "12h"}}]
    assert user["content"] == [{"type": "text", "text": "Hi", "prompt_cache_breakpoint": mark}]
    assert said["content"] == "Hi"
    dropped = ["messages[1].parts[0].cache_breakpoint", "tools[0].cache_breakpoint"]
    assert [warning.field for warning in result.warnings] == dropped
    older = encoded(asked, ROWS["openai"].quirks, "gpt-5.5")
    assert b"prompt_cache_breakpoint" not in older.body
    assert len(older.warnings) == 4


def test_a_host_is_sent_all_tools_where_it_is_told_which_one_to_call() -> None:
    asked = {
        "tools": [{"function": {"name": "f"}}, {"function": {"name": "g"}}],
        "tool_choice": {"mode": "MODE_REQUIRED", "allowed_tools": ["g"]},
    }
    sent = body(asked, ROWS["groq"].quirks)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["f", "g"]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "g"}}
