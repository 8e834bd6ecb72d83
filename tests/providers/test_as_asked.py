"""Provider-run tools that the operator allows or not, and reasoning that the caller wants to see or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from make import call, completed, part_completed, playing
from virtual_time import run_virtual

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.errors import CallError
from trunkline_server.fold import fold
from trunkline_server.providers.as_asked import as_asked

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE = content_pb2.ProviderState(format="x.signature", data="s")
THOUGHT = [
    pb.StreamGenerateResponse(
        part_started=pb.PartStarted(part=content_pb2.Part(reasoning=content_pb2.Reasoning(text="secret ")))
    ),
    pb.StreamGenerateResponse(part_delta=pb.PartDelta(reasoning_text="thought")),
    pb.StreamGenerateResponse(part_completed=pb.PartCompleted(provider_state=STATE)),
    pb.StreamGenerateResponse(part_started=pb.PartStarted(part_index=1, part=content_pb2.Part(text="answer"))),
    part_completed(1),
    completed(),
]
IN_ONE = [pb.StreamGenerateResponse(completed=pb.StreamCompleted(response=fold(THOUGHT)))]
SEARCH = content_pb2.Tool(provider_tool=content_pb2.ProviderTool(dialect="d", type="web_search"))


def answered(
    request: pb.GenerateRequest, allowed: tuple[str, ...] = (), events: Sequence[pb.StreamGenerateResponse] = THOUGHT
) -> pb.GenerateResponse:
    async def main() -> pb.GenerateResponse:
        return fold([event async for event in as_asked(playing(events), allowed)(call(request))])

    return run_virtual(main())


@pytest.mark.parametrize("events", [THOUGHT, IN_ONE], ids=["in pieces", "in one"])
@pytest.mark.parametrize("visibility", pb.Thinking.Visibility.values())
def test_reasoning_is_omitted_on_request_and_its_state_stays(
    visibility: pb.Thinking.Visibility.ValueType, events: Sequence[pb.StreamGenerateResponse]
) -> None:
    config = pb.GenerationConfig(thinking=pb.Thinking(visibility=visibility))
    parts = answered(pb.GenerateRequest(config=config), events=events).message.parts
    omitted = visibility == pb.Thinking.VISIBILITY_OMITTED
    assert parts[0].reasoning.text == ("" if omitted else "secret thought")
    assert parts[0].HasField("reasoning")
    assert parts[0].provider_state == STATE
    assert parts[1].text == "answer"


def test_a_tool_of_the_provider_is_refused_unless_the_operator_allows_it() -> None:
    with pytest.raises(CallError, match="provider_tools") as raised:
        answered(pb.GenerateRequest(tools=[SEARCH]))
    assert raised.value.reason == call_pb2.ERROR_REASON_POLICY_BLOCKED
    assert [violation.field for violation in raised.value.violations] == ["tools[0].provider_tool"]
    assert answered(pb.GenerateRequest(tools=[SEARCH]), ("web_search",)).message.parts[1].text == "answer"
