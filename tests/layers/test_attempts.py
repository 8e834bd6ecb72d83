"""Attempts in the plural: retries, fallbacks and hedges share one deadline and one budget. All in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from ledgers import MemoryLedger, price_of
from make import answer, call, completed, delta, kinds, part, text_of
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Choice, now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.fold import fold
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.registry import TaskRegistry
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.reliability import RetrySettings
from trunkline_server.settings.routing import RoutingSettings, StrategySettings
from trunkline_server.state.endpoint.experience import Experience

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.core import Call, Events

    Step = pb.StreamGenerateResponse | float | BaseException
    Script = Sequence[Step]

NAMES = ("a", "b", "c")
TARGETS = tuple(call_pb2.Target(provider=name, model="m") for name in NAMES)
SETTINGS = Settings(
    providers={
        name: ProviderSettings(hedge_after=Seconds(1), prefill=("m",), first_token=Seconds(20)) for name in NAMES
    }
)
USAGE = call_pb2.Usage(input_tokens=10, output_tokens=4)
RATE, DOWN, AUTH, QUOTA, MISSING, INVALID, FILTER, LONG, CUT, TIMEOUT, FULL = (
    call_pb2.OUTCOME_RATE_LIMITED,
    call_pb2.OUTCOME_SERVER_ERROR,
    call_pb2.OUTCOME_AUTH,
    call_pb2.OUTCOME_QUOTA,
    call_pb2.OUTCOME_MODEL_NOT_FOUND,
    call_pb2.OUTCOME_INVALID,
    call_pb2.OUTCOME_CONTENT_FILTER,
    call_pb2.OUTCOME_CONTEXT_LENGTH,
    call_pb2.OUTCOME_INTERRUPTED,
    call_pb2.OUTCOME_TIMEOUT,
    call_pb2.OUTCOME_NOT_SENT,
)
OK, CANCELLED = call_pb2.OUTCOME_SUCCESS, call_pb2.OUTCOME_CANCELLED
RESTART, CONTINUE = call_pb2.ON_INTERRUPTION_RESTART, call_pb2.ON_INTERRUPTION_CONTINUE


def said(*texts: str) -> list[Step]:
    return [*answer(*texts)[:-1], completed(usage=USAGE)]


@dataclass
class World:
    """Targets that play their scripts, one after the other; the last one again and again."""

    scripts: dict[str, Sequence[Script]]
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    # (seconds since the call's arrival, provider) of each attempt, and what was asked.
    asked: list[tuple[float, str]] = field(default_factory=list)
    requests: list[pb.GenerateRequest] = field(default_factory=list)
    closed: int = 0
    # Seconds since the call's arrival, by provider.
    closed_at: dict[str, float] = field(default_factory=dict)
    events: list[pb.StreamGenerateResponse] = field(default_factory=list)
    error: CallError | None = None
    records: list[call_pb2.Attempt] = field(default_factory=list)
    took: float = 0.0
    story: Any = None

    async def below(self, it: Call) -> Events:
        name = it.target.provider
        number = sum(1 for _, asked in self.asked if asked == name)
        self.asked.append((now() - it.arrival, name))
        self.requests.append(it.request)
        try:
            for step in self.scripts[name][min(number, len(self.scripts[name]) - 1)]:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed += 1
            self.closed_at[name] = now() - it.arrival

    @property
    def outcomes(self) -> list[int]:
        return [record.outcome for record in self.served.attempts]

    @property
    def served(self) -> call_pb2.Served:
        if self.error is None:
            return self.events[-1].completed.response.served
        assert self.error.failure is not None
        return self.error.failure.served

    @property
    def last(self) -> pb.GenerateResponse:
        return self.events[-1].completed.response


def fail(outcome: call_pb2.Outcome.ValueType, **more: Any) -> list[Step]:
    return [UpstreamError(outcome, **more)]


def run(
    *scripts: Sequence[Script],
    streaming: bool = True,
    timeout: float = 60.0,
    settings: Settings = SETTINGS,
    options: pb.StreamOptions | None = None,
    tools: Sequence[Any] = (),
    experience: Experience | None = None,
    plan: tuple[call_pb2.Target, ...] | None = None,
    budget: int = 4,
    strategy: str = "named",
    **routing: Any,
) -> World:
    """One call to as many targets as there are scripts; everything that must hold of any call is checked."""
    world = World(dict(zip(NAMES, scripts, strict=False)))
    request = pb.GenerateRequest(
        model="m", prompt="x", routing=call_pb2.Routing(**routing), stream_options=options, tools=tools
    )

    async def main() -> None:
        registry = TaskRegistry()
        layer = attempt(registry, lambda _, record: world.records.append(record), experience or Experience(now))
        it = call(
            request, streaming=streaming, timeout=timeout, settings=settings, plan=plan or TARGETS[: len(scripts)]
        )
        world.story = it.story
        it.story.choice = Choice(strategy, "")
        try:
            async for event in layer(account(world.ledger, price_of)(world.below))(it):
                world.events.append(event)
        except CallError as error:
            world.error = error
        world.took = now() - it.arrival
        await registry.wait_idle()

    run_virtual(main())
    check(world, timeout, routing.get("max_attempts", budget))
    return world


def check(world: World, timeout: float, budget: int) -> None:
    """What holds of every call."""
    sent = [record for record in world.records if record.outcome != FULL]
    assert len(sent) <= budget
    assert world.took <= timeout + 0.01
    assert all(when <= timeout for when, _ in world.asked)
    assert world.closed == len(world.asked)
    assert kinds(world.events).count("completed") == (0 if world.error else 1)
    assert sorted((row.call_id, row.attempt) for row in world.ledger.begun) == sorted(
        (row.call_id, row.attempt) for row in world.ledger.finished
    )
    assert len(world.ledger.begun) == len(world.asked) == len(world.records)
    assert sorted(record.outcome for record in world.records) == sorted(row.outcome for row in world.ledger.finished)
    assert {
        (record.cost.total_nano_usd, record.outcome, record.retry, record.hedge) for record in world.served.attempts
    } == {(row.cost, row.outcome, row.retry, row.hedge) for row in world.ledger.finished}
    cost = world.error.failure.cost if world.error and world.error.failure else world.last.cost
    assert cost.total_nano_usd == sum(row.cost or 0 for row in world.ledger.finished)
    folded(world.events)


def folded(events: list[pb.StreamGenerateResponse]) -> None:
    """Parts are gapless and nothing comes twice."""
    assert kinds(events).count("started") <= 1
    open_parts, count = 0, 0
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "restarted" and event.restarted.discard:
            count = 0
        elif kind == "part_started":
            assert event.part_started.part_index == count
            count += 1
        elif kind in ("part_delta", "part_completed"):
            assert getattr(event, kind).part_index < count
    assert open_parts == 0


# --- every combination ------------------------------------------------------------------------------------------------

OUTCOMES: dict[str, Script] = {
    "ok": said("hello"),
    "late": [3.0, *said("hello")],
    "down": fail(DOWN),
    "rate": fail(RATE, retry_after=2.0),
    "auth": fail(AUTH),
    "filter": fail(FILTER),
    "full": fail(FULL, code="circuit_open", retry_after=9.0),
    "cut": [part("hel"), UpstreamError(CUT)],
    "hang": [1000.0],
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("budget", [1, 2, 3])
@pytest.mark.parametrize("hedging", [True, False])
def test_the_budget_bounds_every_combination(streaming: bool, budget: int, hedging: bool) -> None:
    """Two targets, of each the first two attempts and all further ones: 9^3 worlds each way."""
    for first, second, other in product(OUTCOMES, repeat=3):
        modes = (0, RESTART) if streaming and "cut" in (first, second, other) else (0,)
        for mode in modes:
            world = run(
                [OUTCOMES[first], OUTCOMES[second]],
                [OUTCOMES[other]],
                streaming=streaming,
                timeout=30.0,
                max_attempts=budget,
                allow_hedging=hedging,
                on_interruption=mode,
            )
            if not hedging:
                assert world.outcomes.count(CANCELLED) == 0
            assert sum(record.outcome == OK for record in world.records) == (world.error is None)


# --- which way --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("outcome", [RATE, DOWN, AUTH, QUOTA, MISSING, TIMEOUT, CUT, FULL])
def test_another_target_is_asked_at_once(outcome: Any, streaming: bool) -> None:
    world = run([fail(outcome, retry_after=30.0)], [said("hello")], streaming=streaming)
    assert world.asked == [(0.0, "a"), (0.0, "b")]
    assert world.outcomes == [outcome, OK]
    assert world.story.fell_back
    assert world.served.target.provider == "b"


@pytest.mark.parametrize("outcome", [INVALID, FILTER])
def test_what_fails_everywhere_is_asked_once(outcome: Any) -> None:
    world = run([fail(outcome)], [said("hello")])
    assert [name for _, name in world.asked] == ["a"]
    assert world.error is not None
    assert world.error.reason == call_pb2.ERROR_REASON_PROVIDER_REJECTED


@pytest.mark.parametrize("outcome", [AUTH, QUOTA, MISSING, TIMEOUT, CUT])
def test_what_fails_here_again_is_not_asked_here_again(outcome: Any) -> None:
    assert len(run([fail(outcome), said("hello")]).asked) == 1


def test_a_retry_waits_and_the_providers_word_is_the_least() -> None:
    world = run([fail(RATE, retry_after=5.0), said("hello")])
    assert world.error is None
    assert 5.0 <= world.asked[1][0] <= 5.01
    world = run([fail(DOWN), fail(DOWN), fail(DOWN), fail(DOWN)])
    waits = [later - sooner for (sooner, _), (later, _) in zip(world.asked, world.asked[1:], strict=False)]
    assert len(waits) == 3
    assert all(wait <= most for wait, most in zip(waits, (0.5, 1.0, 2.0), strict=True))


@pytest.mark.parametrize(("configured", "asked", "made"), [(6, None, 6), (6, 2, 2), (2, None, 2), (10, 10, 10)])
def test_as_many_retries_as_are_configured(configured: int, asked: int | None, made: int) -> None:
    """5 retries, 2 s, 60 s, doubled, 30 s an attempt, and others."""
    often = RetrySettings(
        max_attempts=configured, base=Seconds(2), cap=Seconds(60), multiplier=2.0, attempt_timeout=Seconds(30)
    )
    settings = Settings(providers={"a": ProviderSettings(retry=often), "b": ProviderSettings()})
    routing: Any = {} if asked is None else {"max_attempts": asked}
    alone = run([fail(DOWN)], timeout=2000.0, settings=settings, budget=10, **routing)
    assert len(alone.asked) == made
    if configured == 2:
        assert len(run([fail(DOWN)], [fail(DOWN)], timeout=2000.0, settings=settings).asked) == 4


@pytest.mark.parametrize(
    ("retryable", "asked"),
    [
        (("timeout",), {DOWN: 1, TIMEOUT: 2}),
        (("server_error", "interrupted"), {DOWN: 2, CUT: 2, TIMEOUT: 1, RATE: 1}),
        ((), {DOWN: 1, TIMEOUT: 1, RATE: 1}),
    ],
)
def test_a_provider_says_which_failures_are_tried_again(retryable: Any, asked: dict[Any, int]) -> None:
    settings = Settings(providers={"a": ProviderSettings(retry=RetrySettings(retryable=retryable))})
    for outcome, times in asked.items():
        assert len(run([fail(outcome), said("hello")], settings=settings).asked) == times


def test_nothing_waits_that_cannot_begin_in_time() -> None:
    world = run([fail(RATE, retry_after=70.0), said("hello")])
    assert world.took < 0.01
    assert world.error is not None
    assert world.error.retry_after == 70.0


def test_of_targets_that_were_all_asked_the_one_that_is_back_first_is_asked_again() -> None:
    world = run([fail(RATE, retry_after=3.0), said("hello")], [fail(RATE, retry_after=20.0)], [fail(AUTH)])
    assert [name for _, name in world.asked] == ["a", "b", "c", "a"]
    assert [record.retry for record in world.served.attempts] == [False, False, False, True]
    assert world.asked[3][0] == pytest.approx(3.0, abs=0.6)


def test_retries_have_a_budget_of_their_own_and_fallbacks_need_none() -> None:
    poor = Experience(lambda: 1000.0, retry=lambda _: None)
    assert len(run([fail(DOWN), said("hello")], experience=poor).asked) == 1
    assert run([fail(DOWN)], [said("hello")], experience=poor).error is None


def test_heartbeats_go_on_while_a_retry_waits() -> None:
    options = pb.StreamOptions(heartbeat_interval=Duration(seconds=1))
    world = run([fail(RATE, retry_after=3.5), said("hello")], options=options)
    assert kinds(world.events)[:4] == ["heartbeat"] * 3 + ["started"]


def test_an_attempt_has_its_own_time() -> None:
    limit = Duration(seconds=2)
    for streaming in (True, False):
        world = run([[100.0]], [said("hello")], streaming=streaming, attempt_timeout=limit)
        when, name = world.asked[1]
        assert name == "b"
        assert 1.99 < when < 2.01
        assert world.served.attempts[0].provider_code == "attempt_timeout"
    slow: Script = [part("a"), 4.0, delta("b"), completed(usage=USAGE)]
    assert run([slow], attempt_timeout=limit).error is None


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        ((AUTH, AUTH), call_pb2.ERROR_REASON_PROVIDER_AUTH),
        ((AUTH, DOWN), call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
        ((DOWN, AUTH), call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
        ((MISSING, MISSING), call_pb2.ERROR_REASON_MODEL_NOT_FOUND),
        ((MISSING, AUTH), call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
        ((DOWN, INVALID), call_pb2.ERROR_REASON_PROVIDER_REJECTED),
        ((DOWN, LONG), call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED),
    ],
)
def test_the_reason_is_what_all_targets_say(outcomes: Any, reason: Any) -> None:
    world = run(*([fail(outcome)] for outcome in outcomes), max_attempts=2)
    assert world.error is not None
    assert world.error.reason == reason


def test_open_circuits_cost_no_attempt_and_tell_when_the_first_closes() -> None:
    def opened(seconds: float) -> list[Step]:
        return fail(FULL, code="circuit_open", retry_after=seconds)

    world = run([opened(9.0)], [opened(4.0)], [said("hello")], max_attempts=1)
    assert world.error is None
    world = run([opened(9.0)], [opened(4.0)])
    assert world.error is not None
    assert (world.error.reason, world.error.retry_after) == (call_pb2.ERROR_REASON_CIRCUIT_OPEN, 4.0)
    assert world.took == 0.0


def test_grpc_is_told_not_to_repeat_what_may_have_been_done() -> None:
    for outcome, repeatable in ((CUT, False), (TIMEOUT, False), (DOWN, True)):
        world = run([fail(outcome)], max_attempts=1)
        assert world.error is not None
        assert world.error.repeatable is repeatable


def test_what_may_not_be_done_twice_is_not() -> None:
    tool = pb.GenerateRequest().tools.add()
    tool.provider_tool.type = "web_search"
    assert len(run([fail(CUT)], [said("x")], streaming=False, tools=[tool]).asked) == 1
    assert len(run([fail(DOWN)], [said("x")], streaming=False, tools=[tool]).asked) == 2


def test_the_cost_of_what_failed_is_in_the_answers() -> None:
    billed = UpstreamError(DOWN, usage=USAGE)
    world = run([[billed]], [said("hello")])
    assert world.last.cost.total_nano_usd == 2 * 18_000
    assert world.last.usage == USAGE
    assert [each.cost.total_nano_usd for each in world.served.attempts] == [18_000, 18_000]


# --- hedges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
def test_a_late_answer_is_raced_and_one_is_served(streaming: bool) -> None:
    world = run([[9.0, *said("slow")]], [[0.5, *said("fast")]], streaming=streaming, allow_hedging=True)
    assert world.asked == [(0.0, "a"), (1.0, "b")]
    assert [(each.outcome, each.hedge) for each in world.served.attempts] == [(CANCELLED, False), (OK, True)]
    assert world.took == pytest.approx(1.5)
    assert fold(world.events).message.parts[0].text == "fast"
    row = next(row for row in world.ledger.finished if row.outcome == CANCELLED)
    assert row.certainty == call_pb2.CERTAINTY_UNKNOWN
    assert row.duration == pytest.approx(1.5e6)
    assert world.story.fell_back


def test_the_loser_is_closed_at_once() -> None:
    winner: Script = [0.5, part("a"), 5.0, delta("b"), completed(usage=USAGE)]
    world = run([[100.0]], [winner], allow_hedging=True)
    assert world.closed_at == {"a": pytest.approx(1.5), "b": pytest.approx(6.5)}


def test_the_first_one_may_win_all_the_same() -> None:
    world = run([[1.2, *said("first")]], [[0.5, *said("second")]], allow_hedging=True)
    assert [(each.outcome, each.hedge) for each in world.served.attempts] == [(OK, False), (CANCELLED, True)]
    assert text_of(world.events) == "first"
    assert not world.story.fell_back


def test_a_racer_that_fails_leaves_the_other() -> None:
    for scripts in (([[1.2, UpstreamError(DOWN)]], [[1.0, *said("x")]]), ([[3.0, *said("x")]], [fail(DOWN)])):
        world = run(*scripts, allow_hedging=True, max_attempts=2)
        assert sorted(world.outcomes) == [OK, DOWN]
    both = run([[1.2, UpstreamError(DOWN)]], [[1.0, UpstreamError(DOWN)]], [said("x")], allow_hedging=True)
    assert both.outcomes == [DOWN, DOWN, OK]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("refusing", [0, 1])
@pytest.mark.parametrize("outcome", [FILTER, INVALID])
def test_what_is_refused_everywhere_is_not_made_good_by_the_other_racer(
    outcome: Any, refusing: int, streaming: bool
) -> None:
    scripts: list[list[Script]] = [[[9.0, *said("x")]], [[8.0, *said("y")]]]
    scripts[refusing] = [[1.5, UpstreamError(outcome)]]
    world = run(*scripts, streaming=streaming, allow_hedging=True)
    assert world.error is not None
    assert world.error.reason == call_pb2.ERROR_REASON_PROVIDER_REJECTED
    assert world.served.target.provider == "ab"[refusing]
    assert sorted(world.outcomes) == sorted([outcome, CANCELLED])
    assert world.took == pytest.approx(1.5 if refusing == 0 else 2.5)


@pytest.mark.parametrize("how", ["not asked for", "soon enough", "no budget", "one target", "one provider"])
def test_nobody_is_raced_without_need_and_leave(how: str) -> None:
    routing: dict[str, Any] = {"allow_hedging": how != "not asked for"}
    if how == "no budget":
        routing["max_attempts"] = 1
    wait = 0.9 if how == "soon enough" else 5.0
    scripts: list[list[Script]] = [[[wait, *said("x")]], [said("y")]]
    plan = (TARGETS[0], call_pb2.Target(provider="a", model="n")) if how == "one provider" else None
    world = run(*(scripts[:1] if how == "one target" else scripts), plan=plan, **routing)
    assert world.outcomes == [OK]


HEDGING = structs.replace(
    SETTINGS,
    routing=RoutingSettings(
        strategies={"quick": StrategySettings(order=("a",), hedge=True), "calm": StrategySettings(order=("a",))}
    ),
)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("strategy", "said_by_call", "raced"),
    [
        ("quick", None, True),
        ("quick", False, False),
        ("quick", True, True),
        ("calm", None, False),
        ("calm", True, True),
        ("named", None, False),
    ],
)
def test_a_strategy_may_have_late_answers_raced_and_the_call_has_the_last_word(
    strategy: str, said_by_call: bool | None, raced: bool, streaming: bool
) -> None:
    routing: Any = {} if said_by_call is None else {"allow_hedging": said_by_call}
    world = run(
        [[9.0, *said("slow")]],
        [[0.5, *said("fast")]],
        streaming=streaming,
        settings=HEDGING,
        strategy=strategy,
        **routing,
    )
    assert (world.asked == [(0.0, "a"), (1.0, "b")]) == raced
    assert [each.hedge for each in world.served.attempts] == ([False, True] if raced else [False])


def test_at_most_one_call_in_twenty_is_raced() -> None:
    experience = Experience(lambda: 1000.0)
    raced = sum(
        len(run([[2.0, *said("x")]], [said("y")], allow_hedging=True, experience=experience).asked) == 2
        for _ in range(100)
    )
    assert 5 <= raced <= 6


# --- streams that break off -------------------------------------------------------------------------------------------

BROKEN: list[Script] = [
    [part("hel"), delta("lo "), UpstreamError(CUT)],
    [part("hel"), delta("lo "), 100.0],
    [part("hel"), delta("lo ")],
]


@pytest.mark.parametrize("script", BROKEN)
def test_a_broken_stream_fails_and_tells_what_it_cost(script: Script) -> None:
    world = run([script], [said("x")], timeout=600.0)
    assert world.error is not None
    assert world.error.reason == call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    assert world.error.failure is not None
    assert world.error.failure.cost.total_nano_usd > 0
    assert len(world.asked) == 1


def test_the_deadline_tells_what_it_cost() -> None:
    world = run([[part("hel"), delta("lo"), 100.0]], timeout=5.0)
    assert world.error is not None
    assert world.error.reason == call_pb2.ERROR_REASON_DEADLINE_EXCEEDED
    assert world.error.failure is not None
    assert world.error.failure.cost.total_nano_usd > 0


@pytest.mark.parametrize("script", BROKEN)
def test_a_broken_stream_begins_again(script: Script) -> None:
    options = pb.StreamOptions(include_final_message=True)
    world = run([script], [said("fre", "sh")], timeout=600.0, on_interruption=RESTART, options=options)
    (restarted,) = [event.restarted for event in world.events if event.HasField("restarted")]
    assert (restarted.discard, restarted.target.provider) == (True, "b")
    assert restarted.cause == world.outcomes[0]
    assert fold(world.events).message.parts[0].text == "fresh"
    assert world.last.message.parts[0].text == "fresh"
    assert world.last.served.time_to_first_token.seconds == 0


def test_a_single_target_begins_again_too_and_gives_up_in_the_end() -> None:
    world = run([BROKEN[0], said("fresh")], on_interruption=RESTART)
    assert world.error is None
    world = run([BROKEN[0]], on_interruption=RESTART)
    assert world.error is not None
    assert world.error.reason == call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    assert kinds(world.events).count("restarted") == 3


@pytest.mark.parametrize(
    ("sent", "more", "whole"),
    [
        (["The cat "], ["sat."], "The cat sat."),
        (["The cat "], [" sat."], "The cat sat."),
        (["The cat"], ["The cat sat."], "The cat sat."),
        (["The ", "cat"], ["c", "at", " sat", "."], "The cat sat."),
        (["abc" * 30], ["abc" * 30 + "d"], ""),
        (["The cat"], ["dog"], "The catdog"),
    ],
)
def test_a_broken_stream_goes_on_without_saying_again_what_was_said(sent: Any, more: Any, whole: str) -> None:
    options = pb.StreamOptions(include_final_message=True)
    first: Script = [part(sent[0]), *(delta(text) for text in sent[1:]), UpstreamError(CUT)]
    world = run([first], [said(*more)], on_interruption=CONTINUE, options=options)
    asked = world.requests[1].messages[-1]
    assert asked.parts[0].text == "".join(sent).rstrip()
    text = fold(world.events).message.parts[0].text
    assert world.last.message.parts[0].text == text
    if whole:
        assert text == whole
    assert [event.restarted.discard for event in world.events if event.HasField("restarted")] == [False]


def test_only_what_can_be_continued_is() -> None:
    tool = pb.StreamGenerateResponse(part_started=pb.PartStarted(part_index=0))
    tool.part_started.part.tool_call.name = "f"
    second = [part("a"), pb.StreamGenerateResponse(part_completed=pb.PartCompleted()), part("b", index=1)]
    for script in ([tool], second):
        assert len(run([[*script, UpstreamError(CUT)]], [said("x")], on_interruption=CONTINUE).asked) == 1
    unable = Settings(providers={name: ProviderSettings() for name in NAMES})
    world = run([BROKEN[0]], [said("x")], on_interruption=CONTINUE, settings=unable)
    assert world.error is not None
    world = run([said("x")], on_interruption=CONTINUE, settings=unable)
    assert [warning.field for warning in world.last.warnings] == ["routing.on_interruption"]


def test_a_continuation_that_is_no_text_fails() -> None:
    tool = pb.StreamGenerateResponse(part_started=pb.PartStarted(part_index=0))
    tool.part_started.part.tool_call.name = "f"
    rest = pb.StreamGenerateResponse(part_completed=pb.PartCompleted())
    # Even one that is whole: nobody can use it.
    unfit: list[Script] = [
        [tool, 100.0],
        [tool, rest, completed(usage=USAGE)],
        [*said("on")[:-1], part("b", index=1), *said()],
    ]
    for script in unfit:
        world = run([BROKEN[0]], [script], on_interruption=CONTINUE, max_attempts=2)
        assert world.error is not None
        assert world.served.attempts[1].provider_code == "cannot_continue"
        assert [row.outcome for row in world.ledger.finished][1] == call_pb2.OUTCOME_PROTOCOL_ERROR


def test_a_unary_call_begins_again_unseen() -> None:
    world = run([BROKEN[0]], [said("fresh")], streaming=False)
    assert fold(world.events).message.parts[0].text == "fresh"
    assert "restarted" not in kinds(world.events)


# --- cancelled anywhere -----------------------------------------------------------------------------------------------

WORLDS: dict[str, tuple[list[list[Script]], dict[str, Any]]] = {
    "fallback": ([[fail(DOWN)], [said("a", "b")]], {}),
    "retry": ([[fail(RATE, retry_after=0.3), said("a", "b")]], {}),
    "hedge": ([[[3.0, *said("a")]], [[0.2, *said("a", "b")]]], {"allow_hedging": True}),
    "restart": ([[BROKEN[0]], [said("a", "b")]], {"on_interruption": RESTART}),
    "continue": ([[BROKEN[0]], [said("a", "b")]], {"on_interruption": CONTINUE}),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_call_that_is_cancelled_anywhere_leaves_a_row_an_attempt(name: str, streaming: bool) -> None:
    turns = 0
    while not cancelled_after(turns, name, streaming=streaming):
        turns += 1
    assert turns > 10


def cancelled_after(turns: int, name: str, *, streaming: bool) -> bool:
    """Whether the call had ended by itself by then."""
    scripts, routing = WORLDS[name]
    world = World(dict(zip(NAMES, scripts, strict=False)))

    async def main() -> bool:
        registry = TaskRegistry()
        layer = attempt(registry, lambda _, record: world.records.append(record), Experience(now))
        request = pb.GenerateRequest(model="m", prompt="x", routing=call_pb2.Routing(**routing))
        it = call(request, streaming=streaming, settings=SETTINGS, plan=TARGETS[: len(scripts)])

        async def read() -> None:
            async with aclosing(layer(account(world.ledger, price_of)(world.below))(it)) as events:
                async for _ in events:
                    await asyncio.sleep(0)

        reading = asyncio.create_task(read())
        for _ in range(turns):
            await asyncio.sleep({"hedge": 0.05, "retry": 0.01}.get(name, 0))
        ended = reading.done()
        reading.cancel()
        await asyncio.wait([reading])
        await registry.wait_idle()
        return ended

    ended = run_virtual(main())
    begun, finished = [
        sorted((row.call_id, row.attempt) for row in rows) for rows in (world.ledger.begun, world.ledger.finished)
    ]
    assert begun == finished
    assert world.closed == len(world.asked)
    return ended
