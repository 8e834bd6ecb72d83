"""Short ways to make the messages, calls and handlers that tests need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Call
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.tasks import TaskSettings
from trunkline_server.snapshot import Offer, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.core import Events, Handler

TARGET = call_pb2.Target(provider="p", model="m")


def part(text: str = "", index: int = 0) -> pb.StreamGenerateResponse:
    return pb.StreamGenerateResponse(part_started=pb.PartStarted(part_index=index, part=content_pb2.Part(text=text)))


def tool_part(name: str, index: int = 0) -> pb.StreamGenerateResponse:
    call = content_pb2.ToolCall(id=f"call_{index}", name=name)
    return pb.StreamGenerateResponse(
        part_started=pb.PartStarted(part_index=index, part=content_pb2.Part(tool_call=call))
    )


def delta(text: str, index: int = 0, **more: Any) -> pb.StreamGenerateResponse:
    return pb.StreamGenerateResponse(part_delta=pb.PartDelta(part_index=index, text=text, **more))


def arguments(text: str, index: int = 0) -> pb.StreamGenerateResponse:
    return pb.StreamGenerateResponse(part_delta=pb.PartDelta(part_index=index, tool_arguments_json=text))


def part_completed(index: int = 0) -> pb.StreamGenerateResponse:
    return pb.StreamGenerateResponse(part_completed=pb.PartCompleted(part_index=index))


def completed(**fields: Any) -> pb.StreamGenerateResponse:
    response = pb.GenerateResponse(
        finish_reason=content_pb2.FINISH_REASON_STOP, provider_finish_reason="stop", **fields
    )
    return pb.StreamGenerateResponse(completed=pb.StreamCompleted(response=response))


def answer(*texts: str) -> list[pb.StreamGenerateResponse]:
    first, *rest = texts or ("",)
    return [part(first), *(delta(text) for text in rest), part_completed(), completed()]


def snapshot(settings: Settings | None = None) -> Snapshot:
    settings = settings or Settings(
        providers={"p": ProviderSettings(kind="scripted")}, tasks={"review": TaskSettings()}
    )
    offer = Offer(
        provider="p", models={}, default_model="m", open=True, spelling="", builtin=False, unavailable_reason=""
    )
    return Snapshot(version="test", settings=settings, offers={"p": offer})


def call(
    request: pb.GenerateRequest | None = None,
    *,
    streaming: bool = True,
    timeout: float = 60.0,
    settings: Settings | None = None,
    plan: tuple[call_pb2.Target, ...] = (TARGET,),
) -> Call:
    """A call that arrives now, on the running loop's clock."""
    now = asyncio.get_running_loop().time()
    return Call(
        id="call-1",
        request=request or pb.GenerateRequest(model="p/m", prompt="hello"),
        arrival=now,
        deadline=now + timeout,
        streaming=streaming,
        snapshot=snapshot(settings),
        plan=plan,
    )


def playing(script: Sequence[pb.StreamGenerateResponse | float | BaseException]) -> Handler:
    """A handler that plays events; a number waits so many seconds, an exception is raised."""

    async def handle(_: Call) -> Events:
        for step in script:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    return handle


def text_of(events: Sequence[pb.StreamGenerateResponse]) -> str:
    return "".join(event.part_started.part.text + event.part_delta.text for event in events)


def kinds(events: Sequence[pb.StreamGenerateResponse]) -> list[str]:
    return [event.WhichOneof("event") or "" for event in events]
