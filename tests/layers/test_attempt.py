"""Attempt: time limits, heartbeats, commitment, and exactly one outcome. All in virtual time."""

from __future__ import annotations

import asyncio
import gc
import io
from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration
from ledgers import MemoryLedger, price_of
from make import answer, call, completed, delta, kinds, part, playing, text_of
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Call, Events, Handler, now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.fold import fold
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.logs import build_log
from trunkline_server.providers.guarded import guarded
from trunkline_server.registry import TaskRegistry
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Settings, TimeLimits
from trunkline_server.state.endpoint.experience import Experience

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Settings(
    limits=TimeLimits(first_token=Seconds(10), between_tokens=Seconds(5)), providers={"p": ProviderSettings()}
)


class Outcome:
    """What a caller of the layer saw."""

    def __init__(self) -> None:
        self.events: list[pb.StreamGenerateResponse] = []
        self.error: CallError | None = None
        self.records: list[call_pb2.Attempt] = []
        self.seconds = 0.0


def run(below: Handler, make_call: Callable[[], Call]) -> Outcome:
    seen = Outcome()

    async def main() -> None:
        loop, registry = asyncio.get_running_loop(), TaskRegistry()
        begin = loop.time()
        layer = attempt(registry, lambda _, record: seen.records.append(record), Experience(now))
        try:
            async for event in layer(below)(make_call()):
                seen.events.append(event)
        except CallError as error:
            seen.error = error
        seen.seconds = loop.time() - begin
        await registry.wait_idle()

    run_virtual(main())
    return seen


def options(**fields: object) -> pb.GenerateRequest:
    return pb.GenerateRequest(model="p/m", prompt="x", stream_options=pb.StreamOptions(**fields))  # type: ignore[arg-type]


def test_a_stream_starts_with_its_target_and_ends_with_what_it_came_to() -> None:
    seen = run(playing([2.0, *answer("he", "llo")]), call)
    assert kinds(seen.events) == ["started", "part_started", "part_delta", "part_completed", "completed"]
    assert seen.events[0].started.id == "call-1"
    response = seen.events[-1].completed.response
    assert (response.served.target.provider, response.served.requested_model) == ("p", "p/m")
    assert response.served.time_to_first_token.seconds == 2
    assert [record.outcome for record in response.served.attempts] == [call_pb2.OUTCOME_SUCCESS]
    assert response.create_time == seen.events[0].started.create_time
    assert seen.records == list(response.served.attempts)


def test_a_unary_call_is_the_fold_of_its_stream() -> None:
    script = answer("he", "llo")
    whole = fold(run(playing(script), lambda: call(streaming=False)).events)
    streamed = fold(run(playing(script), call).events)
    assert whole.message == streamed.message
    assert whole.finish_reason == streamed.finish_reason
    assert not whole.served.HasField("time_to_first_token")


def test_the_final_message_comes_on_request_only() -> None:
    script = answer("he", "llo")
    asked = run(playing(script), lambda: call(options(include_final_message=True))).events[-1].completed.response
    assert asked.message.parts[0].text == "hello"
    assert not run(playing(script), call).events[-1].completed.response.HasField("message")


@pytest.mark.parametrize(
    ("script", "code", "after"),
    [
        ([100.0], "first_token", 10),
        ([part("a"), 100.0], "between_tokens", 5),
        ([9.0, part("a"), 4.0, delta("b"), 4.0, delta("c"), 100.0], "between_tokens", 22),
    ],
)
def test_a_silent_stream_ends_at_its_limit(script: list[object], code: str, after: float) -> None:
    seen = run(playing(script), lambda: call(settings=LIMITS))  # type: ignore[arg-type]
    assert seen.seconds == pytest.approx(after, abs=0.01)
    assert seen.records[0].outcome == call_pb2.OUTCOME_TIMEOUT
    assert seen.records[0].provider_code == code


def test_a_providers_own_limits_win() -> None:
    settings = Settings(
        limits=TimeLimits(first_token=Seconds(10)), providers={"p": ProviderSettings(first_token=Seconds(3))}
    )
    assert run(playing([100.0]), lambda: call(settings=settings)).seconds == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("script", [[100.0], [part("a"), 1.0, delta("b"), 100.0]])
def test_nothing_goes_on_past_the_deadline(script: list[object], streaming: bool) -> None:
    seen = run(playing(script), lambda: call(timeout=4, streaming=streaming))  # type: ignore[arg-type]
    assert seen.error is not None
    assert seen.error.reason == call_pb2.ERROR_REASON_DEADLINE_EXCEEDED
    assert seen.seconds == pytest.approx(4, abs=0.01)
    assert seen.error.failure is not None
    assert seen.error.failure.id == "call-1"


def test_first_token_does_not_limit_a_unary_call() -> None:
    seen = run(playing([30.0, *answer("x")]), lambda: call(streaming=False, settings=LIMITS))
    assert seen.error is None


def test_heartbeats_fill_the_silence_and_end_nothing() -> None:
    request = options(heartbeat_interval=Duration(seconds=2))
    seen = run(playing([5.0, part("a"), 5.0, completed()]), lambda: call(request))
    silence = ["heartbeat"] * 2
    assert kinds(seen.events) == [*silence, "started", "part_started", *silence, "completed"]
    assert text_of(seen.events) == "a"


def test_heartbeats_do_not_stretch_the_limits() -> None:
    request = options(heartbeat_interval=Duration(seconds=2))
    seen = run(playing([100.0]), lambda: call(request, settings=LIMITS))
    assert seen.seconds == pytest.approx(10, abs=0.01)


def test_coalescing_gathers_but_never_delays_the_first_piece() -> None:
    request = options(coalesce_window=Duration(nanos=500_000_000))
    script = [part("a"), *[step for letter in "bcdefg" for step in (0.2, delta(letter))], completed()]
    seen = run(playing(script), lambda: call(request))
    texts = [event.part_delta.text for event in seen.events if event.HasField("part_delta")]
    assert texts == ["bcd", "efg"]
    assert seen.events[-1].completed.response.served.time_to_first_token.nanos < 1000


FAILURES = [
    (call_pb2.OUTCOME_RATE_LIMITED, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_OVERLOADED, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_SERVER_ERROR, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_TIMEOUT, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_NOT_CONNECTED, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_INTERRUPTED, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_PROTOCOL_ERROR, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_QUOTA, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    (call_pb2.OUTCOME_AUTH, call_pb2.ERROR_REASON_PROVIDER_AUTH),
    (call_pb2.OUTCOME_CONTENT_FILTER, call_pb2.ERROR_REASON_PROVIDER_REJECTED),
    (call_pb2.OUTCOME_INVALID, call_pb2.ERROR_REASON_PROVIDER_REJECTED),
    (call_pb2.OUTCOME_CONTEXT_LENGTH, call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED),
    (call_pb2.OUTCOME_MODEL_NOT_FOUND, call_pb2.ERROR_REASON_MODEL_NOT_FOUND),
    (call_pb2.OUTCOME_NOT_SENT, call_pb2.ERROR_REASON_OVERLOADED),
]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(("outcome", "reason"), FAILURES)
def test_a_failure_before_anything_was_sent_is_named(
    outcome: call_pb2.Outcome.ValueType, reason: call_pb2.ErrorReason.ValueType, streaming: bool
) -> None:
    failure = UpstreamError(outcome, message="their words", status=418, code="teapot", request_id="req-7")
    seen = run(playing([failure]), lambda: call(streaming=streaming))
    assert seen.error is not None
    assert seen.error.reason == reason
    assert "their words" not in seen.error.message
    assert seen.error.failure is not None
    told = seen.error.failure.served.attempts[0]
    assert (told.provider_status, told.provider_code, told.provider_request_id) == (418, "teapot", "req-7")
    assert seen.records == list(seen.error.failure.served.attempts)


@pytest.mark.parametrize(("outcome", "_"), FAILURES)
def test_a_failure_after_a_piece_was_sent_is_an_interrupted_stream(outcome: call_pb2.Outcome.ValueType, _: int) -> None:
    usage = call_pb2.Usage(output_tokens=3)
    seen = run(playing([part("a"), 1.0, UpstreamError(outcome, usage=usage)]), call)
    assert seen.error is not None
    assert seen.error.reason == call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    assert seen.error.failure is not None
    assert seen.error.failure.usage.output_tokens == 3


def test_a_unary_call_commits_only_at_its_terminal_marker() -> None:
    failure = UpstreamError(call_pb2.OUTCOME_INTERRUPTED)
    seen = run(playing([part("a"), 1.0, delta("b"), failure]), lambda: call(streaming=False))
    assert seen.events == []
    assert seen.error is not None
    assert seen.error.reason == call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("script", [[], [part("a"), delta("b")]])
def test_a_stream_without_its_terminal_marker_is_a_failure(script: list[object], streaming: bool) -> None:
    seen = run(playing(script), lambda: call(streaming=streaming))  # type: ignore[arg-type]
    assert seen.error is not None
    assert "completed" not in kinds(seen.events)
    assert seen.records[0].outcome == call_pb2.OUTCOME_INTERRUPTED


def test_nothing_comes_after_completed() -> None:
    seen = run(playing([part("a"), completed(), delta("more"), UpstreamError(call_pb2.OUTCOME_INTERRUPTED)]), call)
    assert kinds(seen.events)[-1] == "completed"
    assert seen.error is None


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("after", [part("more"), 1000.0, ConnectionError("at tidying up")])
def test_what_its_handler_does_after_an_answer_is_whole_changes_nothing(after: object, *, streaming: bool) -> None:
    handler = guarded(playing([*answer("he", "llo"), after]), build_log(io.BytesIO()))  # type: ignore[list-item]
    seen = run(handler, lambda: call(streaming=streaming))
    assert kinds(seen.events)[-1] == "completed"
    assert [record.outcome for record in seen.records] == [call_pb2.OUTCOME_SUCCESS]
    assert seen.seconds == 0.0


@pytest.mark.parametrize("streaming", [True, False])
def test_a_handler_that_fails_at_closing_has_answered_all_the_same(streaming: bool) -> None:
    async def failing(_: Call) -> Events:
        try:
            for event in answer("he", "llo"):
                yield event
        finally:
            raise ConnectionError("at tidying up")

    written = io.BytesIO()
    seen = run(guarded(failing, build_log(written)), lambda: call(streaming=streaming))
    assert kinds(seen.events)[-1] == "completed"
    assert [record.outcome for record in seen.records] == [call_pb2.OUTCOME_SUCCESS]
    assert b"handler_failed" in written.getvalue()


@pytest.mark.parametrize("streaming", [True, False])
def test_an_answer_is_whole_however_long_its_handler_takes_to_close(streaming: bool) -> None:
    async def slowly(_: Call) -> Events:
        try:
            for event in answer("he", "llo"):
                yield event
        finally:
            await asyncio.sleep(100.0)

    asked = pb.GenerateRequest(model="p/m", prompt="x")
    asked.routing.attempt_timeout.seconds = 2
    seen = run(guarded(slowly, build_log(io.BytesIO())), lambda: call(asked, streaming=streaming))
    assert kinds(seen.events)[-1] == "completed"
    assert [record.outcome for record in seen.records] == [call_pb2.OUTCOME_SUCCESS]


@pytest.mark.parametrize("committed", [True, False])
def test_a_drain_ends_a_call_by_name(committed: bool) -> None:
    registry, errors = TaskRegistry(), []

    async def main() -> None:
        asyncio.get_running_loop().call_later(
            3, registry.interrupt, lambda: CallError(call_pb2.ERROR_REASON_DRAINING, "going")
        )
        layer = attempt(registry, lambda _, __: None, Experience(now))
        try:
            async for _ in layer(playing([part("a"), 100.0] if committed else [100.0]))(call()):
                pass
        except CallError as error:
            errors.append(error)
        await registry.wait_idle()

    run_virtual(main())
    expected = call_pb2.ERROR_REASON_STREAM_INTERRUPTED if committed else call_pb2.ERROR_REASON_DRAINING
    assert errors[0].reason == expected
    assert not committed or errors[0].metadata["cause"] == "DRAINING"


def test_a_caller_that_leaves_closes_what_runs_below() -> None:
    closed, records = [], []

    async def below(_: Call):  # type: ignore[no-untyped-def]
        try:
            yield part("a")
            await asyncio.sleep(1e9)
        finally:
            await asyncio.sleep(0.05)
            closed.append(asyncio.get_running_loop().time())

    async def main() -> None:
        loop, registry = asyncio.get_running_loop(), TaskRegistry()
        events = attempt(registry, lambda _, record: records.append(record), Experience(now))(below)(call())
        await anext(events)
        await events.aclose()
        left = loop.time()
        await registry.wait_idle()
        assert closed[0] - left < 0.1

    run_virtual(main())
    assert records[0].outcome == call_pb2.OUTCOME_CANCELLED


def test_a_bug_below_is_passed_on_and_recorded() -> None:
    records: list[call_pb2.Attempt] = []

    async def main() -> None:
        registry = TaskRegistry()
        events = attempt(registry, lambda _, record: records.append(record), Experience(now))(playing([KeyError("x")]))(
            call()
        )
        with pytest.raises(KeyError):
            await anext(events)
        await registry.wait_idle()

    run_virtual(main())
    assert records[0].outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


@pytest.mark.parametrize("streaming", [True, False])
def test_a_call_that_is_answered_leaves_nothing_for_the_garbage_collector(streaming: bool) -> None:
    """What knew one another would stay until a collection, and make collections more frequent."""
    left: list[object] = []

    async def main() -> None:
        registry = TaskRegistry()
        handler = attempt(registry, lambda _, __: None, Experience(now))(
            account(MemoryLedger(), price_of)(playing(answer("x")))
        )
        for _ in range(2):
            gc.collect()
            async for _ in handler(call(streaming=streaming)):
                pass
            await registry.wait_idle()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()

    gc.disable()
    try:
        run_virtual(main())
        left += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert {type(each).__name__ for each in left}.isdisjoint(
        {"Course", "Shared", "Trial", "Call", "Story", "Fate", "_OpenRow", "Tape", "GenerateRequest"}
    )
