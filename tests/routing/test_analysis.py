"""What a request is, by the rules that the module tells."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_usage import CORPUS, recorded

from trunkline.v1 import content_pb2
from trunkline.v1.call_pb2 import (
    COMPLEXITY_COMPLEX,
    COMPLEXITY_MODERATE,
    COMPLEXITY_SIMPLE,
    Complexity,
    Routing,
)
from trunkline.v1.content_pb2 import FunctionTool, Message, Part, Tool
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, Thinking
from trunkline_server.routing.analysis import analyse, asked_of
from trunkline_server.routing.tokens import count_tokens

SIMPLE, MODERATE, COMPLEX = COMPLEXITY_SIMPLE, COMPLEXITY_MODERATE, COMPLEXITY_COMPLEX
TOOL = Tool(function=FunctionTool(name="get_weather"))
THINK = GenerationConfig(thinking=Thinking(effort=Thinking.EFFORT_HIGH))


def said(role: content_pb2.Role.ValueType, text: str) -> Message:
    return Message(role=role, parts=[Part(text=text)])


USER, SYSTEM, ASSISTANT = content_pb2.ROLE_USER, content_pb2.ROLE_SYSTEM, content_pb2.ROLE_ASSISTANT


@pytest.mark.parametrize(
    ("asked", "coding", "complexity"),
    [
        ("What is the capital of France?", False, SIMPLE),
        ("Hello!", False, SIMPLE),
        ("Translate 'good morning' into Spanish.", False, SIMPLE),
        ("Explain what a solar eclipse is.", False, MODERATE),
        ("Compare the two treaties, and argue which one is worse.", False, MODERATE),
        ("Write a Python function that reverses a list.", True, SIMPLE),
        ("Implement a function that merges two sorted strings.", True, SIMPLE),
        ("Is there a dress code at the opera?", False, SIMPLE),
        ("What does this do?\n```\nfor (;;) { run(); }\n```", True, SIMPLE),
        ("if (a == b) { return f(a); } else { g(b); h(a); }", True, SIMPLE),
        ("Return a JSON object with a greeting.", False, SIMPLE),
        ("Refactor this module and explain why: " + "x = f(y)\n" * 150, True, COMPLEX),
        ("Debug this traceback step by step. " + "  File 'a.py', line 3, in f\n" * 60, True, COMPLEX),
        ("Design an architecture for a distributed queue. " + "It has to keep order. " * 80, False, COMPLEX),
        ("Summarize: " + "The committee met again on Tuesday. " * 30, False, MODERATE),
    ],
)
def test_worked_examples(asked: str, coding: bool, complexity: Complexity.ValueType) -> None:
    found = analyse(GenerateRequest(prompt=asked))
    assert (found.coding, found.complexity) == (coding, complexity)


def test_what_is_asked_is_the_last_text_of_the_user() -> None:
    turns = [
        said(SYSTEM, "Be brief."),
        said(USER, "Refactor my Python."),
        said(ASSISTANT, "Done."),
        said(USER, "Thanks! What time is it?"),
        Message(role=content_pb2.ROLE_TOOL, parts=[Part(tool_result=content_pb2.ToolResult())]),
    ]
    request = GenerateRequest(messages=turns)
    assert asked_of(request) == "Thanks! What time is it?"
    assert not analyse(request).coding


@pytest.mark.parametrize("in_messages", [False, True])
def test_instructions_to_a_programmer_make_it_code(in_messages: bool) -> None:
    head = "You are an expert in TypeScript."
    request = GenerateRequest(messages=[said(USER, "Go on.")])
    if in_messages:
        request.messages.insert(0, said(SYSTEM, head))
    else:
        request.system_instruction = head
    assert analyse(request).coding


def test_tools_thinking_and_length_are_points() -> None:
    asked = "Where is it warm?"
    assert analyse(GenerateRequest(prompt=asked, tools=[TOOL])).complexity == MODERATE
    assert analyse(GenerateRequest(prompt=asked, config=THINK)).complexity == MODERATE
    assert analyse(GenerateRequest(prompt=asked, config=THINK, tools=[TOOL])).complexity == COMPLEX
    history = [said(USER, "A long story. " * 4000), said(USER, asked)]
    assert analyse(GenerateRequest(messages=history)).complexity == MODERATE


@pytest.mark.parametrize("complexity", [SIMPLE, MODERATE, COMPLEX])
def test_the_caller_knows_better(complexity: Complexity.ValueType) -> None:
    for asked in ("Hello!", "Why? Prove it step by step. " * 100):
        request = GenerateRequest(prompt=asked, routing=Routing(complexity=complexity))
        assert analyse(request).complexity == complexity


def test_it_says_how_many_tokens_go_in() -> None:
    request = GenerateRequest(prompt="Hello there, how are you?")
    assert analyse(request).input_tokens == count_tokens(request).tokens
    assert analyse(request).count == count_tokens(request)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3000))
def test_any_text_has_an_answer_and_the_same_one_again(text: str) -> None:
    request = GenerateRequest(prompt=text)
    assert analyse(request) == analyse(request)


# --- recorded ones ----------------------------------------------------------------------------------------------------

READ_BY_HAND = {
    "anthropic-stream-tools-cachetokens-toolresult-65bb83": (True, COMPLEX),
    "openairesponses-chat-paralleltools-tools-reasoning-b31890": (False, COMPLEX),
    "openairesponses-stream-reasoning-cachetokens-8c33cf": (True, MODERATE),
    "openai-chat-cachetokens-stopsequence-multiturn-337be6": (False, MODERATE),
    "anthropic-stream-paralleltools-tools-0bd397": (False, MODERATE),
    "bedrock-chat-contentfilter-42f33b": (False, SIMPLE),
    "fireworks-stream-300c8d": (False, SIMPLE),
    "ollama-chat-1c7fc8": (False, SIMPLE),
    "openai-chat-jsonmode-bba99e": (False, SIMPLE),
}


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus")
def test_recorded_prompts_are_what_a_reader_says() -> None:
    found = {each.id: analyse(each.request) for each in recorded() if each.id in READ_BY_HAND}
    assert {id_: (each.coding, each.complexity) for id_, each in found.items()} == READ_BY_HAND


def test_two_kilobytes_take_microseconds() -> None:
    """About 15 us on a quiet machine."""
    request = GenerateRequest(prompt="Please tell me why the river is so wide here. " * 44)
    assert min(_timed(request) for _ in range(5)) < 200e-6


def _timed(request: GenerateRequest) -> float:
    start = time.perf_counter()
    for _ in range(100):
        analyse(request)
    return (time.perf_counter() - start) / 100
