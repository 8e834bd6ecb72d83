"""What gemini_generate_content sends: paths, options, refusals, and what each kind of model is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import gemini_generate_content as dialect
from trunkline_server.dialects.dialect import Encoded, Quirks
from trunkline_server.dialects.gemini_generate_content.parts import DIALECT
from trunkline_server.errors import InvalidRequest

HELLO = {"role": "ROLE_USER", "parts": [{"text": "Hi"}]}
MODEL = "gemini-2.5-flash"


def encode(model: str = MODEL, *, stream: bool = False, **fields: Any) -> Encoded:
    request = ParseDict({"messages": [HELLO]} | fields, GenerateRequest())
    return dialect.encode_request(request, model, stream=stream, quirks=Quirks())


def body(model: str = MODEL, **fields: Any) -> Any:
    return json.loads(encode(model, **fields).body)


def warned(encoded: Encoded) -> list[tuple[str, str]]:
    return [(CallWarning.Kind.Name(warning.kind), warning.field) for warning in encoded.warnings]


def refused(**fields: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        encode(**fields)
    return [violation.field for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash"),
        ("gemini-2.5-flash@001", "/models/gemini-2.5-flash@001"),
        ("models/gemini-2.5-flash", "/models/gemini-2.5-flash"),
        ("tunedModels/my-tune", "/tunedModels/my-tune"),
        ("a b?c#d", "/models/a%20b%3Fc%23d"),
    ],
)
def test_a_model_is_a_place(model: str, path: str) -> None:
    assert encode(model).path == f"{path}:generateContent"
    assert encode(model, stream=True).path == f"{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("model", ["../v1beta/files/x", "tunedModels/../x", "tunedModels//x", "/x", "x/."])
def test_a_model_cannot_lead_elsewhere(model: str) -> None:
    assert refused(model=model) == ["model"]


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "changed"),
    [
        ("gemini-2.5-flash", "NONE", {"thinkingBudget": 0}, False),
        ("gemini-2.5-flash", "MINIMAL", {"thinkingBudget": 512}, False),
        ("gemini-2.5-flash", "MEDIUM", {"thinkingBudget": 8192}, False),
        ("gemini-2.5-flash", "HIGH", {"thinkingBudget": 24576}, False),
        ("gemini-2.5-flash", "MAX", {"thinkingBudget": 24576}, False),
        ("gemini-2.5-pro", "NONE", {"thinkingBudget": 128}, True),
        ("gemini-2.5-pro", "MAX", {"thinkingBudget": 32768}, False),
        ("tunedModels/mine", "LOW", {"thinkingBudget": 1024}, False),
        ("gemini-flash-latest", "LOW", {"thinkingLevel": "LOW"}, False),
        ("gemini-3.5-flash", "NONE", {"thinkingLevel": "MINIMAL"}, True),
        ("gemini-3.5-flash", "MINIMAL", {"thinkingLevel": "MINIMAL"}, False),
        ("gemini-3-pro-preview", "MINIMAL", {"thinkingLevel": "LOW"}, True),
        ("gemini-10-pro", "MAX", {"thinkingLevel": "HIGH"}, False),
    ],
)
def test_effort_in_each_models_own_way(model: str, effort: str, thinking: Any, changed: bool) -> None:
    encoded = encode(model, config={"thinking": {"effort": f"EFFORT_{effort}"}})
    assert json.loads(encoded.body)["generationConfig"] == {"thinkingConfig": thinking}
    assert warned(encoded) == ([("KIND_PARAMETER_CHANGED", "config.thinking.effort")] if changed else [])


@pytest.mark.parametrize(
    ("model", "thinking"),
    [("gemini-2.5-flash", {"thinkingBudget": 300}), ("gemini-3.5-flash", {"thinkingLevel": "HIGH"})],
)
def test_with_effort_and_budget_the_models_own_way_wins(model: str, thinking: Any) -> None:
    config = {"thinking": {"effort": "EFFORT_HIGH", "budget_tokens": 300}}
    assert body(model, config=config)["generationConfig"]["thinkingConfig"] == thinking


def test_a_budget_alone_is_sent_to_every_model() -> None:
    config = {"thinking": {"budget_tokens": 300}}
    for model in ("gemini-2.5-flash", "gemini-3.5-flash"):
        assert body(model, config=config)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 300}


def test_thinking_that_says_nothing_is_not_sent() -> None:
    assert "generationConfig" not in body(config={"thinking": {}})


EVERYTHING: dict[str, Any] = {
    "system_instruction": "s",
    "config": {
        "max_output_tokens": 1,
        "temperature": 1,
        "top_p": 1,
        "top_k": 1,
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "seed": 1,
        "stop_sequences": ["x"],
        "thinking": {"effort": "EFFORT_LOW"},
        "top_logprobs": 1,
    },
    "tools": [{"function": {"name": "f"}}],
    "tool_choice": {"mode": "MODE_AUTO"},
    "response_format": {"kind": "KIND_JSON_SCHEMA", "json_schema": "{}"},
}


def test_every_key_that_is_written_is_among_those_that_options_may_not_have() -> None:
    sent = body(**EVERYTHING)
    nested = {f"{key}.{inner}" for key in ("generationConfig", "toolConfig") for inner in sent[key]}
    flat = sent.keys() - {"generationConfig", "toolConfig"}
    assert len(nested) == 14
    assert flat | nested <= dialect.WRITTEN


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"contents": []}, ["contents"]),
        ({"system_instruction": {}, "model": "x"}, ["model", "system_instruction"]),
        ({"generation_config": {"seed": 1}}, ["generation_config"]),
        (
            {"generationConfig": {"seed": 1, "topK": 2, "speechConfig": {}}},
            ["generationConfig.seed", "generationConfig.topK"],
        ),
        ({"generationConfig": {"max_output_tokens": 1}}, ["generationConfig.max_output_tokens"]),
        ({"generationConfig": {"candidateCount": 2}}, ["generationConfig.candidateCount"]),
        ({"toolConfig": {"functionCallingConfig": {}}}, ["toolConfig.functionCallingConfig"]),
    ],
)
def test_options_cannot_say_again_what_the_request_says(options: Any, fields: list[str]) -> None:
    prefix = "provider_options.gemini_generate_content."
    assert refused(provider_options={"gemini_generate_content": options}) == [prefix + field for field in fields]


def test_a_tools_settings_must_be_json() -> None:
    for config in ("{", "[]", "{" * 100_000):
        tool = {"provider_tool": {"dialect": DIALECT, "type": "googleSearch", "config_json": config}}
        assert refused(tools=[tool]) == ["tools[0].provider_tool.config_json"]


def test_a_part_that_goes_back_must_be_json() -> None:
    part = {"provider_part": {"dialect": DIALECT, "type": "executableCode", "json": "nonsense"}}
    message = {"role": "ROLE_ASSISTANT", "parts": [part]}
    assert refused(messages=[HELLO, message]) == ["messages[1].parts[0].provider_part.json"]


def test_a_message_of_which_nothing_is_left_is_left_out() -> None:
    part = {"provider_part": {"dialect": "cohere_chat", "type": "x", "json": "{}"}}
    encoded = encode(messages=[HELLO, {"role": "ROLE_ASSISTANT", "parts": [part]}, HELLO])
    assert [content["role"] for content in json.loads(encoded.body)["contents"]] == ["user", "user"]
    assert warned(encoded) == [("KIND_CONTENT_DROPPED", "messages[1].parts[0].provider_part")]


def call(call_id: str, **more: Any) -> Any:
    return {"tool_call": {"id": call_id, "name": f"f_{call_id}", "arguments_json": "{}"}} | more


def result(call_id: str) -> Any:
    return {"role": "ROLE_TOOL", "parts": [{"tool_result": {"tool_call_id": call_id, "parts": [{"text": "done"}]}}]}


SIGNED = {"provider_state": {"format": "gemini.thought_signature", "data": "c2ln"}}


def test_results_stand_in_one_content_in_the_order_of_their_calls() -> None:
    calls = {"role": "ROLE_ASSISTANT", "parts": [call("a"), call("b"), call("c")]}
    contents = body(messages=[HELLO, calls, result("c"), result("a"), result("b"), HELLO])["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "user"]
    assert [part["functionResponse"]["name"] for part in contents[2]["parts"]] == ["f_a", "f_b", "f_c"]


def test_an_id_that_comes_again_means_the_last_call() -> None:
    first, second = (
        {"role": "ROLE_ASSISTANT", "parts": [call("a") | {"tool_call": {"id": "a", "name": name}}]} for name in "xy"
    )
    contents = body(messages=[HELLO, first, result("a"), second, result("a")])["contents"]
    assert [contents[index]["parts"][0]["functionResponse"]["name"] for index in (2, 4)] == ["x", "y"]


def test_the_order_is_that_of_the_last_calls() -> None:
    first, second = ({"role": "ROLE_ASSISTANT", "parts": [call(each) for each in ids]} for ids in ("ab", "ba"))
    contents = body(messages=[HELLO, first, result("a"), result("b"), second, result("a"), result("b")])["contents"]
    assert [part["functionResponse"]["id"] for part in contents[4]["parts"]] == ["b", "a"]


def signatures(model: str, *messages: Any) -> list[list[str | None]]:
    contents = body(model, messages=[HELLO, *messages])["contents"]
    return [
        [part.get("thoughtSignature") for part in content["parts"]]
        for content in contents
        if content["role"] == "model"
    ]


def test_foreign_calls_of_the_current_turn_are_marked_for_gemini_3() -> None:
    foreign = {"role": "ROLE_ASSISTANT", "parts": [{"text": "Wait."}, call("a"), call("b")]}
    own = {"role": "ROLE_ASSISTANT", "parts": [call("c", **SIGNED), call("d")]}
    marked = "skip_thought_signature_validator"
    told = [foreign, result("a"), result("b"), own, result("c"), result("d")]
    assert signatures("gemini-3-flash", *told) == [[None, marked, None], ["c2ln", None]]
    assert signatures("gemini-3-flash", *told, HELLO) == [[None, None, None], ["c2ln", None]]
    assert signatures("gemini-2.5-flash", *told) == [[None, None, None], ["c2ln", None]]


def test_the_providers_own_tools_alone_cannot_be_demanded() -> None:
    tool = {"provider_tool": {"dialect": DIALECT, "type": "googleSearch"}}
    encoded = encode(tools=[tool], tool_choice={"mode": "MODE_REQUIRED"})
    assert json.loads(encoded.body)["tools"] == [{"googleSearch": {}}]
    assert "toolConfig" not in json.loads(encoded.body)
    assert warned(encoded) == [("KIND_PARAMETER_DROPPED", "tool_choice.mode")]


def test_the_request_is_not_changed() -> None:
    request = ParseDict({"messages": [HELLO], **EVERYTHING}, GenerateRequest())
    before = MessageToDict(request)
    dialect.encode_request(request, MODEL, stream=True, quirks=Quirks())
    assert MessageToDict(request) == before
