"""Opaque state goes back to the very provider that it came from: to no other, of the same wire format either."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dialects.test_state_of_others import FORMATS, MODELS, PARTS, QUIRKS
from fuzz.seeds import NAMES
from gateway import gateway, settings_of
from google.protobuf.json_format import ParseDict
from make import call, completed, delta, part, part_completed, playing
from upstreams import answer, upstream
from virtual_time import run_virtual

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline_server.formats import DIALECTS
from trunkline_server.providers.origin import own_only, stamped, with_origin

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.core import Call, Events
    from trunkline_server.dialects.dialect import Encoded

STATE = "c3RhdGUtb2YtYW5vdGhlcg=="
JSON = '{"type":"some_block","secret":"c3RhdGUtb2YtYW5vdGhlcg=="}'
CITATIONS = {
    "anthropic_messages": "anthropic.citation",
    "bedrock_converse": "bedrock.citation",
    "cohere_chat": "cohere.citation",
    "openai_responses": "openai.annotation",
}
WITH_PARTS = ("anthropic_messages", "bedrock_converse", "cohere_chat", "gemini_generate_content", "openai_responses")


def opaque_parts(dialect: str, origin: str) -> list[tuple[str, dict[str, Any]]]:
    """Each kind of part with each kind of opaque state that the dialect knows."""
    state = {"data": STATE, "provider": origin}
    parts = [
        (f"{kind} {format_}", {**PARTS[kind], "providerState": {"format": format_, **state}})
        for format_ in FORMATS.get(dialect, ())
        for kind in PARTS
        if kind != "tool_call"
    ]
    if dialect in CITATIONS:
        cited = {"format": CITATIONS[dialect], "data": JSON, "provider": origin}
        parts.append(("citation", {"text": "Well.", "citations": [{"sourceId": "s", "providerState": cited}]}))
    if dialect in WITH_PARTS:
        own = {"dialect": dialect, "type": "some_block", "json": JSON, "provider": origin}
        parts.append(("provider_part", {"providerPart": own}))
    return parts


def conversation(said: dict[str, Any]) -> pb.GenerateRequest:
    messages = [
        {"role": "ROLE_USER", "parts": [{"text": "Hi"}]},
        {"role": "ROLE_ASSISTANT", "parts": [{"text": "Before."}, said]},
        {"role": "ROLE_USER", "parts": [{"text": "And?"}]},
    ]
    return ParseDict({"messages": messages}, pb.GenerateRequest())


def encoded(dialect: str, request: pb.GenerateRequest) -> Encoded:
    model = MODELS.get(dialect, "m")
    return DIALECTS[dialect].encode_request(own_only(request, "here"), model, stream=False, quirks=QUIRKS)


CASES = [(dialect, index, name) for dialect in NAMES for index, (name, _) in enumerate(opaque_parts(dialect, ""))]


@pytest.mark.parametrize(("dialect", "index", "name"), CASES)
def test_state_of_another_provider_of_the_same_dialect_is_left_out_with_a_warning(
    dialect: str, index: int, name: str
) -> None:
    request = conversation(opaque_parts(dialect, "there")[index][1])
    before = request.SerializeToString(deterministic=True)
    result = encoded(dialect, request)
    assert STATE.encode() not in result.body, name
    warned = [(warning.kind, warning.field) for warning in result.warnings]
    assert any(
        kind == CallWarning.KIND_CONTENT_DROPPED and field.startswith("messages[1].parts[1]") for kind, field in warned
    )
    assert request.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(("dialect", "index", "name"), CASES)
def test_its_own_and_that_of_unknown_origin_are_sent_as_ever(dialect: str, index: int, name: str) -> None:
    own, unknown = (conversation(opaque_parts(dialect, origin)[index][1]) for origin in ("here", ""))
    direct = DIALECTS[dialect].encode_request(unknown, MODELS.get(dialect, "m"), stream=False, quirks=QUIRKS)
    assert encoded(dialect, own) == encoded(dialect, unknown) == direct, name


def test_a_request_without_state_of_known_origin_is_handed_on_as_it_is() -> None:
    for said in ({"text": "x"}, opaque_parts("openai_responses", "")[0][1]):
        request = conversation(said)
        assert own_only(request, "here") is request


# --- answers ----------------------------------------------------------------------------------------------------------


def state(provider: str = "") -> content_pb2.ProviderState:
    return content_pb2.ProviderState(format="x", data="s", provider=provider)


def started(part_: content_pb2.Part) -> pb.StreamGenerateResponse:
    return pb.StreamGenerateResponse(part_started=pb.PartStarted(part=part_))


def opaque_events(provider: str) -> list[pb.StreamGenerateResponse]:
    own = content_pb2.ProviderPart(dialect="d", type="t", json="{}", provider=provider)
    cited = [content_pb2.Citation(provider_state=state(provider))]
    return [
        started(content_pb2.Part(text="a", provider_state=state(provider))),
        started(content_pb2.Part(text="a", citations=cited)),
        started(content_pb2.Part(provider_part=own)),
        delta("b", citations=cited),
        pb.StreamGenerateResponse(part_completed=pb.PartCompleted(provider_state=state(provider))),
    ]


@pytest.mark.parametrize(("given", "says"), [("", "here"), ("far", "here/far")])
def test_all_state_of_an_answer_says_where_it_came_from(given: str, says: str) -> None:
    for event, expected in zip(opaque_events(given), opaque_events(says), strict=True):
        before = event.SerializeToString()
        assert stamped(event, "here") == expected
        assert event.SerializeToString() == before


def test_all_state_of_a_whole_answer_says_where_it_came_from() -> None:
    parts = {origin: [event.part_started.part for event in opaque_events(origin)[:3]] for origin in ("", "here")}
    given, expected = (completed(message={"parts": parts[origin]}) for origin in ("", "here"))
    assert stamped(given, "here") == expected != given


def test_events_without_state_are_handed_on_as_they_are() -> None:
    for event in (
        part("a"),
        delta("b"),
        delta("b", citations=[content_pb2.Citation(uri="u")]),
        part_completed(),
        completed(),
    ):
        assert stamped(event, "here") == event
    for event in (part("a"), delta("b"), part_completed(), completed()):
        assert stamped(event, "here") is event


@pytest.mark.parametrize(
    ("origin", "passed"), [("p", state("")), ("p/far", state("far")), ("", state("")), ("q", None), ("q/p", None)]
)
def test_what_stands_behind_another_gateway_is_that_ones_to_know(
    origin: str, passed: content_pb2.ProviderState | None
) -> None:
    said = {"text": "a", "providerState": {"format": "x", "data": "s", "provider": origin}}
    seen: list[Call] = []

    async def handle(call_: Call) -> Events:
        seen.append(call_)
        yield completed()

    async def main() -> None:
        async for _ in with_origin(handle)(_at_p(conversation(said))):
            pass

    run_virtual(main())
    sent = seen[0].request.messages[1].parts[1].provider_state
    assert sent == passed if passed is not None else (sent.data == "" and "x of q" in sent.format)


def _at_p(request: pb.GenerateRequest) -> Call:
    target = call_pb2.Target(provider="p", model="m")
    return call(request).at(target, 1, request)


def test_an_answer_of_any_handler_is_stamped() -> None:
    async def main() -> list[pb.StreamGenerateResponse]:
        handler = with_origin(playing([*opaque_events("")]))
        return [event async for event in handler(_at_p(pb.GenerateRequest(prompt="x")))]

    assert run_virtual(main()) == opaque_events("p")


# --- through the gateway ----------------------------------------------------------------------------------------------

SIGNED = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "stop_reason": "end_turn",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": STATE},
        {"type": "text", "text": "Hi there"},
    ],
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


async def test_a_fallback_of_the_same_dialect_gets_the_words_and_not_the_signature(tmp_path: Path) -> None:
    """one answers with a signed thought; then it fails, and two, of the same API, is asked to go on."""
    good = answer(json.dumps(SIGNED).encode(), content_type="application/json")
    async with upstream([good], [good], [answer(b"", 500)]) as first, upstream([good]) as second:
        providers = {
            name: {"kind": "anthropic", "base_url": server.base_url, "api_key": "env:KEY"}
            for name, server in (("one", first), ("two", second))
        }
        async with gateway(settings_of(tmp_path, {"providers": providers}, {"KEY": "k-1"})) as running:
            answered = await running.stub.Generate(pb.GenerateRequest(model="one/m", prompt="Hello"))
            assert [part.provider_state.provider for part in answered.message.parts] == ["one", ""]
            following = conversation({"text": "x"})
            following.messages[1].CopyFrom(answered.message)
            following.routing.fallback_models.append("two/m")
            following.model = "one/m"
            again = await running.stub.Generate(following)
            other = await running.stub.Generate(following)
        posted = [request.body for request in first.requests if request.body]
        assert STATE.encode() in posted[1]
        assert not again.warnings
        (sent,) = [request.body for request in second.requests if request.body]
        assert STATE.encode() not in sent
        assert b"Hi there" in sent
        assert [(warning.field, warning.kind) for warning in other.warnings] == [
            ("messages[1].parts[0].reasoning", CallWarning.KIND_CONTENT_DROPPED)
        ]
