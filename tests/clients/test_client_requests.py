"""What callers write becomes the right request."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import CallContext, Routing
from trunkline.v1.content_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    FunctionTool,
    Message,
    Part,
    ResponseFormat,
    Tool,
    ToolChoice,
    ToolResult,
)
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, StreamOptions, Thinking
from trunkline.v1.model_pb2 import CAPABILITY_TOOLS
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline_client.requests import ModelFilters, Settings, build_request

TOOLS = [Tool(function=FunctionTool(name="add"))]


def test_a_prompt_is_a_prompt() -> None:
    assert build_request("Hi", {}) == GenerateRequest(prompt="Hi")


def test_a_conversation() -> None:
    result = Message(role=ROLE_TOOL, parts=[Part(tool_result=ToolResult(tool_call_id="t"))])
    request = build_request([("system", "S"), ("user", "U"), ("assistant", "A"), result], {})
    roles = (ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT)
    spoken = [Message(role=role, parts=[Part(text=text)]) for role, text in zip(roles, "SUA", strict=True)]
    assert request == GenerateRequest(messages=[*spoken, result])


def test_a_role_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no such role: 'tool'; there are system, user, assistant"):
        build_request([("tool", "4")], {})


def test_every_setting_has_its_place() -> None:
    settings: Settings = {
        "model": "m",
        "system": "S",
        "max_output_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "stop_sequences": ["."],
        "top_logprobs": 0,
        "tools": TOOLS,
        "tool_choice": ToolChoice(mode=ToolChoice.MODE_REQUIRED),
        "response_format": ResponseFormat(kind=ResponseFormat.KIND_JSON),
        "strict_params": True,
        "strategy": "balanced",
        "chain": "cheap",
        "allowed_providers": ["a"],
        "denied_providers": ["b"],
        "required_capabilities": [CAPABILITY_TOOLS],
        "min_context_window": 1000,
        "min_quality": 0.5,
        "max_cost_nano_usd": 10_000_000,
        "max_time_to_first_token": 1.5,
        "max_expected_total_time": 20,
        "local_only": True,
        "prefer_open_weights": True,
        "complexity": call_pb2.COMPLEXITY_SIMPLE,
        "sticky_key": "k",
        "fallback_models": ["a", "b"],
        "disable_fallback": True,
        "attempt_timeout": 2.5,
        "max_attempts": 2,
        "on_interruption": call_pb2.ON_INTERRUPTION_RESTART,
        "allow_hedging": True,
        "priority": call_pb2.PRIORITY_BATCH,
        "task": "review",
        "agent": "a1",
        "end_user_id": "u1",
        "labels": {"team": "red"},
        "stream_options": StreamOptions(include_final_message=True),
        "thinking": Thinking(effort=Thinking.EFFORT_LOW),
        "provider_options": {"openai_chat": {"service_tier": "flex"}},
    }
    assert settings.keys() == Settings.__annotations__.keys()
    struct = Struct(fields={"service_tier": Value(string_value="flex")})
    assert build_request("Hi", settings) == GenerateRequest(
        prompt="Hi",
        model="m",
        system_instruction="S",
        config=GenerationConfig(
            max_output_tokens=5,
            temperature=0,
            top_p=0.5,
            top_k=3,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            seed=7,
            stop_sequences=["."],
            top_logprobs=0,
            thinking=Thinking(effort=Thinking.EFFORT_LOW),
        ),
        tools=TOOLS,
        tool_choice=ToolChoice(mode=ToolChoice.MODE_REQUIRED),
        response_format=ResponseFormat(kind=ResponseFormat.KIND_JSON),
        routing=Routing(
            strict_params=True,
            strategy="balanced",
            chain="cheap",
            allowed_providers=["a"],
            denied_providers=["b"],
            required_capabilities=[CAPABILITY_TOOLS],
            min_context_window=1000,
            min_quality=0.5,
            max_cost_nano_usd=10_000_000,
            max_time_to_first_token=Duration(seconds=1, nanos=500_000_000),
            max_expected_total_time=Duration(seconds=20),
            local_only=True,
            prefer_open_weights=True,
            complexity=call_pb2.COMPLEXITY_SIMPLE,
            sticky_key="k",
            task="review",
            agent="a1",
            fallback_models=["a", "b"],
            disable_fallback=True,
            attempt_timeout=Duration(seconds=2, nanos=500_000_000),
            max_attempts=2,
            on_interruption=call_pb2.ON_INTERRUPTION_RESTART,
            allow_hedging=True,
        ),
        context=CallContext(end_user_id="u1", labels={"team": "red"}, priority=call_pb2.PRIORITY_BATCH),
        stream_options=StreamOptions(include_final_message=True),
        provider_options={"openai_chat": struct},
    )


def test_nothing_of_the_contract_is_out_of_reach() -> None:
    fields = set(GenerateRequest.DESCRIPTOR.fields_by_name) | set(GenerationConfig.DESCRIPTOR.fields_by_name)
    fields |= set(Routing.DESCRIPTOR.fields_by_name) | set(CallContext.DESCRIPTOR.fields_by_name)
    reached = set(Settings.__annotations__) | {"messages", "prompt", "config", "routing", "context"}
    assert fields == reached - {"system"} | {"system_instruction"}
    paging = {"page_size", "page_token"}
    assert set(ListModelsRequest.DESCRIPTOR.fields_by_name) == set(ModelFilters.__annotations__) | paging


def test_settings_stand_in_place_of_what_a_request_says() -> None:
    given = GenerateRequest(model="a", prompt="Hi", tools=TOOLS, config=GenerationConfig(top_k=1, stop_sequences=["a"]))
    before = GenerateRequest.FromString(given.SerializeToString())
    request = build_request(given, {"model": "b", "tools": [], "stop_sequences": ["b"], "temperature": 1})
    config = GenerationConfig(top_k=1, stop_sequences=["b"], temperature=1)
    assert request == GenerateRequest(model="b", prompt="Hi", config=config)
    assert given == before
    assert build_request(given, {}) == given


def test_none_is_not_given() -> None:
    nothing: Any = dict.fromkeys(Settings.__annotations__)
    assert build_request("Hi", nothing) == GenerateRequest(prompt="Hi")


def test_a_setting_that_does_not_exist() -> None:
    mistaken: Any = {"temprature": 1, "messages": []}
    with pytest.raises(TypeError, match="no such setting: messages, temprature"):
        build_request("Hi", mistaken)


def test_hints_of_the_public_types_can_be_read() -> None:
    assert get_type_hints(Settings)["top_k"] == int | None
