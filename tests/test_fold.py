"""Folding and merging: the same answer, however its pieces came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import arguments, completed, delta, kinds, part, part_completed, tool_part

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.fold import fold, merge

LOGPROB = content_pb2.LogprobToken(token="a", logprob=-0.5)


def stream_of(pieces: list[tuple[int, str]]) -> list[pb.StreamGenerateResponse]:
    starts = [part("", 0), tool_part("f", 1), part("", 2)]
    deltas = [arguments(text, 1) if index == 1 else delta(text, index, logprobs=[LOGPROB]) for index, text in pieces]
    return [*starts, *deltas, completed()]


PIECES = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.text(max_size=4)), max_size=30)


@given(PIECES)
def test_fold_appends_each_delta_to_its_part(pieces: list[tuple[int, str]]) -> None:
    response = fold(stream_of(pieces))
    texts = ["".join(text for index, text in pieces if index == wanted) for wanted in range(3)]
    parts = response.message.parts
    assert [parts[0].text, parts[1].tool_call.arguments_json, parts[2].text] == texts
    assert len(response.logprobs) == sum(index != 1 for index, _ in pieces)
    assert response.message.role == content_pb2.ROLE_ASSISTANT
    whole = pb.GenerateResponse(id="before", message=content_pb2.Message(parts=[content_pb2.Part(text="before")]))
    assert fold(stream_of(pieces), whole) is whole
    assert whole == response
    assert fold([completed(message=response.message)], pb.GenerateResponse()).message == response.message


@given(PIECES, st.data())
def test_merged_batches_fold_to_the_same_answer(pieces: list[tuple[int, str]], data: st.DataObject) -> None:
    events = stream_of(pieces)
    merged, rest = [], events
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        merged += merge(rest[:size])
        rest = rest[size:]
    assert fold(merged) == fold(events)
    assert len(merged) <= len(events)


def test_merge_joins_neighbours_of_one_part_and_kind_only() -> None:
    events = [part("a"), delta("b"), delta("c"), arguments("{", 1), delta("d"), part_completed(), completed()]
    merged = merge(events)
    assert kinds(merged) == ["part_started", *["part_delta"] * 3, "part_completed", "completed"]
    assert [event.part_delta.text for event in merged[1:4]] == ["bc", "", "d"]


def test_merge_does_not_change_what_it_was_given() -> None:
    events = [delta("a"), delta("b")]
    merge(events)
    assert [event.part_delta.text for event in events] == ["a", "b"]


def test_merge_keeps_deltas_that_carry_logprobs_only() -> None:
    bare = pb.StreamGenerateResponse(part_delta=pb.PartDelta(logprobs=[LOGPROB]))
    events = [part("x"), delta("a"), bare, delta("b"), completed()]
    assert fold(merge(events)) == fold(events)


def test_a_stream_that_did_not_complete_has_no_answer() -> None:
    with pytest.raises(ValueError, match="did not complete"):
        fold([part("half")])


def test_fold_appends_to_a_refusal() -> None:
    start = pb.StreamGenerateResponse(part_started=pb.PartStarted(part=content_pb2.Part(refusal="I ")))
    more = pb.StreamGenerateResponse(part_delta=pb.PartDelta(refusal="won't"))
    assert fold([start, more, completed()]).message.parts[0].refusal == "I won't"
