"""The scripted provider: says and fails what it was told to. In virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from make import call, kinds, text_of
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold
from trunkline_server.providers.scripted import build_scripted
from trunkline_server.sections import Seconds
from trunkline_server.settings.scripted import Script, ScriptedFailure, ScriptedToolCall

if TYPE_CHECKING:
    from trunkline_server.core import Handler

TEN = Script(text="one two three four five six seven eight nine ten")


class Heard:
    """What came of one call, and when."""

    def __init__(self) -> None:
        self.events: list[pb.StreamGenerateResponse] = []
        self.times: list[float] = []
        self.error: UpstreamError | None = None


async def hear(handler: Handler, **request: Any) -> Heard:
    heard, loop = Heard(), asyncio.get_running_loop()
    begin = loop.time()
    target = call_pb2.Target(provider="mock", model="m")
    turns = [content_pb2.Message(parts=[content_pb2.Part(text="a b c")])]
    message = pb.GenerateRequest(**{"messages": turns, **request})

    try:
        async for event in handler(structs.replace(call(message), target=target)):
            heard.events.append(event)
            heard.times.append(loop.time() - begin)
    except UpstreamError as error:
        heard.error = error
        heard.times.append(loop.time() - begin)
    return heard


def said(script: Script, **request: Any) -> Heard:
    return run_virtual(hear(build_scripted({"m": script}), **request))


def test_it_says_its_text_and_counts_it() -> None:
    response = fold(said(TEN).events)
    assert response.message.parts[0].text == TEN.text
    assert response.finish_reason == content_pb2.FINISH_REASON_STOP
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 10)


def test_it_keeps_its_pace() -> None:
    heard = said(Script(text=TEN.text, first_token=Seconds(2), rate=4))
    deltas = [time for event, time in zip(heard.events, heard.times, strict=True) if event.HasField("part_delta")]
    assert heard.times[0] == pytest.approx(2)
    assert deltas == pytest.approx([2 + index / 4 for index in range(1, 10)])


def test_it_repeats_itself_and_stops_where_it_is_told_to() -> None:
    script = Script(text="la", repeat=1000)
    assert len(text_of(said(script).events).split("la")) == 1001
    cut = fold(said(script, config=pb.GenerationConfig(max_output_tokens=3)).events)
    assert cut.finish_reason == content_pb2.FINISH_REASON_MAX_TOKENS
    assert cut.usage.output_tokens == 3


def test_usage_can_be_left_out() -> None:
    assert not fold(said(Script(usage=False)).events).HasField("usage")


def test_it_asks_for_tools_only_where_there_are_any() -> None:
    script = Script(tool_calls=(ScriptedToolCall(name="f", arguments='{"x":1}'), ScriptedToolCall(name="g")))
    tools = [content_pb2.Tool(function=content_pb2.FunctionTool(name="f"))]
    asked = fold(said(script, tools=tools).events)
    calls = [part.tool_call for part in asked.message.parts if part.HasField("tool_call")]
    assert [(tool.name, tool.arguments_json) for tool in calls] == [("f", '{"x":1}'), ("g", "{}")]
    assert asked.finish_reason == content_pb2.FINISH_REASON_TOOL_CALLS
    assert [part.WhichOneof("data") for part in fold(said(script).events).message.parts] == ["text"]


def test_it_does_not_ask_again_when_it_has_a_tools_result() -> None:
    script = Script(text="sunny", tool_calls=(ScriptedToolCall(name="f"),))
    result = content_pb2.Part(tool_result=content_pb2.ToolResult(tool_call_id="call_0"))
    tools = [content_pb2.Tool(function=content_pb2.FunctionTool(name="f"))]
    turns = [content_pb2.Message(role=content_pb2.ROLE_TOOL, parts=[result])]
    answered = fold(said(script, tools=tools, messages=turns).events)
    assert answered.finish_reason == content_pb2.FINISH_REASON_STOP
    assert [part.text for part in answered.message.parts] == ["sunny"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(429, "RATE_LIMITED"), (503, "OVERLOADED"), (500, "SERVER_ERROR"), (401, "AUTH"), (400, "INVALID")],
)
def test_it_refuses_with_a_status(status: int, outcome: str) -> None:
    error = said(Script(failure=ScriptedFailure(kind="status", status=status, retry_after=Seconds(7)))).error
    assert error is not None
    assert call_pb2.Outcome.Name(error.outcome) == f"OUTCOME_{outcome}"
    assert (error.status, error.retry_after) == (status, 7)


@pytest.mark.parametrize("after", [0, 1, 100, 200, 300])
def test_it_cuts_at_a_byte(after: int) -> None:
    heard = said(Script(text=TEN.text, failure=ScriptedFailure(kind="cut", after=after)))
    assert heard.error is not None
    assert heard.error.outcome == call_pb2.OUTCOME_INTERRUPTED
    assert "completed" not in kinds(heard.events)
    assert TEN.text.startswith(text_of(heard.events))


@pytest.mark.parametrize("after", [0, 1, 100, 300])
def test_it_turns_into_nonsense(after: int) -> None:
    heard = said(Script(text=TEN.text, failure=ScriptedFailure(kind="malformed", after=after)))
    assert heard.error is not None
    assert heard.error.outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


def test_it_falls_silent() -> None:
    heard = said(Script(text=TEN.text, failure=ScriptedFailure(kind="stall", after=200)))
    assert heard.times[-1] > 86400


def test_it_grows_slow() -> None:
    heard = said(Script(text=TEN.text, failure=ScriptedFailure(kind="slow", after=200, delay=Seconds(3))))
    assert heard.error is None
    assert heard.times[-1] >= 3 * 8


def test_it_fails_as_often_as_it_is_told_to() -> None:
    handler = build_scripted({"m": Script(failure=ScriptedFailure(kind="status", times=2))})

    async def main() -> list[bool]:
        return [(await hear(handler)).error is None for _ in range(4)]

    assert run_virtual(main()) == [False, False, True, True]
