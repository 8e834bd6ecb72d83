"""What holds for every provider, whatever its dialect: which of its own tools may run, and whose thoughts are shown."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse, Thinking
from trunkline_server.errors import CallError, Violation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trunkline.v1.content_pb2 import Part
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.core import Call, Events, Handler


def as_asked(handler: Handler, allowed_tools: Collection[str]) -> Handler:
    """`handler`, refusing tools of the provider that the operator does not allow (POLICY_BLOCKED), and without the
    reasoning's text where the caller wants none of it. The parts and their provider_state stay.
    """

    def handle(call: Call) -> Events:
        request = call.request
        if request.tools and (refused := _refused(request, allowed_tools)):
            named = "; ".join(f"{violation.field}: {violation.description}" for violation in refused)
            raise CallError(call_pb2.ERROR_REASON_POLICY_BLOCKED, named, refused)
        config = request.config
        if config.HasField("thinking") and config.thinking.visibility == Thinking.VISIBILITY_OMITTED:
            return _without_reasoning(handler(call))
        return handler(call)

    return handle


def _refused(request: GenerateRequest, allowed: Collection[str]) -> list[Violation]:
    types = [
        (index, tool.provider_tool.type) for index, tool in enumerate(request.tools) if tool.HasField("provider_tool")
    ]
    why = "the gateway's operator does not allow it at this provider (provider_tools)"
    return [
        Violation(f"tools[{index}].provider_tool", f"{type_}: {why}") for index, type_ in types if type_ not in allowed
    ]


async def _without_reasoning(events: Events) -> Events:
    async with aclosing(events) as inner:
        async for event in inner:
            if event.part_delta.WhichOneof("delta") == "reasoning_text":
                continue
            yield _silent(event) if any(part.reasoning.text for part in _parts(event)) else event


def _silent(event: StreamGenerateResponse) -> StreamGenerateResponse:
    copy = StreamGenerateResponse()
    copy.CopyFrom(event)
    for part in _parts(copy):
        if part.HasField("reasoning"):
            part.reasoning.text = ""
    return copy


def _parts(event: StreamGenerateResponse) -> Sequence[Part]:
    """What begins here, or stands in a whole answer."""
    if event.HasField("completed"):
        return event.completed.response.message.parts
    return [event.part_started.part] if event.HasField("part_started") else []
