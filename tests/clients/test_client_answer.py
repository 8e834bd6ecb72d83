"""The client's fold makes of a stream what the gateway makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.content_pb2 import (
    FINISH_REASON_TOOL_CALLS,
    ROLE_ASSISTANT,
    Citation,
    LogprobToken,
    Media,
    Message,
    Part,
    ProviderPart,
    ProviderState,
    Reasoning,
    ToolCall,
)
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    Heartbeat,
    PartCompleted,
    PartDelta,
    PartStarted,
    Restarted,
    StreamCompleted,
    StreamGenerateResponse,
    StreamStarted,
)
from trunkline_client.answer import Answer, Fold, text_of
from trunkline_server.fold import fold as fold_of_the_gateway

REST = GenerateResponse(id="c1", finish_reason=FINISH_REASON_TOOL_CALLS)
COMPLETED = StreamGenerateResponse(completed=StreamCompleted(response=REST))


def event(**kind: Any) -> StreamGenerateResponse:
    return StreamGenerateResponse(**kind)


def delta(index: int, text: str, field: str = "text", *tokens: str) -> StreamGenerateResponse:
    logprobs = [LogprobToken(token=token, logprob=-1) for token in tokens]
    pieces: Any = {field: text}
    return event(part_delta=PartDelta(part_index=index, logprobs=logprobs, **pieces))


def started(index: int, **part: Any) -> StreamGenerateResponse:
    return event(part_started=PartStarted(part_index=index, part=Part(**part)))


def folded(events: list[StreamGenerateResponse]) -> GenerateResponse:
    folding = Fold()
    for item in events:
        folding.add(item)
    return folding.response()


def test_every_kind_of_part_and_logprobs() -> None:
    events = [
        event(heartbeat=Heartbeat()),
        event(started=StreamStarted(id="c1")),
        started(0, text="It"),
        delta(0, " is", "text", " ", "is"),
        event(part_delta=PartDelta(part_index=0, logprobs=[LogprobToken(token="end")])),
        started(1, tool_call=ToolCall(id="t", name="add", arguments_json='{"a"')),
        started(2, refusal="I"),
        delta(1, ":1", "tool_arguments_json"),
        delta(2, " won't", "refusal"),
        delta(1, "}", "tool_arguments_json"),
        event(part_completed=PartCompleted(part_index=1)),
        StreamGenerateResponse(),  # an event of a newer gateway
        COMPLETED,
    ]
    response = folded(events)
    call = ToolCall(id="t", name="add", arguments_json='{"a":1}')
    assert list(response.message.parts) == [Part(text="It is"), Part(tool_call=call), Part(refusal="I won't")]
    assert [token.token for token in response.logprobs] == [" ", "is", "end"]
    assert (response.message.role, response.finish_reason) == (ROLE_ASSISTANT, FINISH_REASON_TOOL_CALLS)
    assert response == fold_of_the_gateway(events)
    answer = Answer(response)
    assert (answer.text, answer.refusal, answer.tool_calls) == ("It is", "I won't", [call])
    assert "".join(map(text_of, events)) == answer.text


def test_reasoning_citations_media_and_opaque_state() -> None:
    state = ProviderState(format="x.signature", data="s")
    cited = PartDelta(part_index=1, text="b", citations=[Citation(uri="https://example.com")])
    events = [
        started(0, reasoning=Reasoning(text="hm")),
        delta(0, "m", "reasoning_text"),
        event(part_completed=PartCompleted(part_index=0, provider_state=state)),
        started(1, text="a"),
        event(part_delta=cited),
        started(2, media=Media(mime_type="image/png", data=b"1")),
        event(part_delta=PartDelta(part_index=2, media_data=b"2")),
        started(3, provider_part=ProviderPart(dialect="d", type="t", json="{")),
        delta(3, "}", "provider_json"),
        COMPLETED,
    ]
    response = folded(events)
    assert response == fold_of_the_gateway(events)
    answer = Answer(response)
    assert (answer.reasoning, answer.text) == ("hmm", "ab")
    parts = response.message.parts
    assert (parts[0].provider_state, parts[1].citations[0].uri) == (state, "https://example.com")
    assert (parts[2].media.data, parts[3].provider_part.json) == (b"12", "{}")


def opened(index: int, kind: str, text: str) -> StreamGenerateResponse:
    if kind == "tool_arguments_json":
        return started(index, tool_call=ToolCall(id="t", name="f", arguments_json=text))
    return started(index, **{kind: text})


@st.composite
def streams(draw: st.DrawFn) -> list[StreamGenerateResponse]:
    kinds = draw(st.lists(st.sampled_from(["text", "refusal", "tool_arguments_json"]), max_size=4))
    order = draw(st.lists(st.integers(0, len(kinds) - 1), max_size=10)) if kinds else []
    pieces, tokens = st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2)
    begin = [opened(index, kind, draw(pieces)) for index, kind in enumerate(kinds)]
    go_on = [delta(index, draw(pieces), kinds[index], *draw(tokens)) for index in order]
    return [*begin, *go_on, COMPLETED]


@given(streams())
def test_the_fold_is_the_gateways(events: list[StreamGenerateResponse]) -> None:
    before = [item.SerializeToString() for item in events]
    assert folded(events) == fold_of_the_gateway(events)
    assert [item.SerializeToString() for item in events] == before


def test_a_final_message_is_not_added_twice() -> None:
    whole = GenerateResponse(id="c1", message=Message(role=ROLE_ASSISTANT, parts=[Part(text="Hi")]))
    whole.logprobs.add(token="Hi")
    events = [started(0), delta(0, "Hi", "text", "Hi"), event(completed=StreamCompleted(response=whole))]
    assert folded(events) == whole


def test_a_cut_stream_has_no_answer() -> None:
    with pytest.raises(ValueError, match="not whole"):
        folded([started(0), delta(0, "Hi")])


def test_when_an_answer_has_begun() -> None:
    folding = Fold()
    folding.add(event(heartbeat=Heartbeat()))
    assert (folding.begun, folding.completed, folding.id) == (False, False, "")
    folding.add(event(started=StreamStarted(id="c1")))
    assert (folding.begun, folding.completed, folding.id) == (True, False, "c1")
    folding.add(COMPLETED)
    assert folding.completed


@pytest.mark.parametrize(("discard", "text"), [(True, "whole"), (False, "half")])
def test_what_was_before_a_restart_does_not_count(discard: bool, text: str) -> None:
    fold = Fold()
    fold.add(StreamGenerateResponse(part_started=PartStarted(part=Part(text="half"))))
    fold.add(StreamGenerateResponse(restarted=Restarted(discard=discard)))
    if discard:
        fold.add(StreamGenerateResponse(part_started=PartStarted(part=Part(text="whole"))))
    fold.add(StreamGenerateResponse(completed=StreamCompleted()))
    assert [each.text for each in fold.response().message.parts] == [text]
