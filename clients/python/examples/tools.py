"""Let the model ask for a tool, and tell it what the tool returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_TOOL, ROLE_USER, FunctionTool, Message, Part, Tool, ToolResult

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import ToolCall
    from trunkline_client import Client

WEATHER = Tool(function=FunctionTool(name="get_weather", parameters_json_schema='{"type": "object"}'))


def ask_with_tools(client: Client, model: str) -> tuple[ToolCall, str]:
    """What the model asked for, and its answer once it knows."""
    turns = [Message(role=ROLE_USER, parts=[Part(text="What is the weather in Paris?")])]
    asked = client.generate(turns, model=model, tools=[WEATHER], timeout=10)
    [call] = asked.tool_calls
    result = ToolResult(tool_call_id=call.id, parts=[Part(text="sunny")])
    turns += [asked.message, Message(role=ROLE_TOOL, parts=[Part(tool_result=result)])]
    return call, client.generate(turns, model=model, tools=[WEATHER], timeout=10).text
