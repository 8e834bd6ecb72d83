"""The limit layer: who is refused, what is reserved and settled, and what the caller is told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from math import ceil
from typing import TYPE_CHECKING, Any

import make
import pytest
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Call, Events, Handler, Identity, Story, now
from trunkline_server.errors import CallerLimited, CallError, InvalidRequest
from trunkline_server.layers.limit import limit
from trunkline_server.routing.tokens import count_tokens
from trunkline_server.settings.limits import CallerLimit, CallerLimits
from trunkline_server.state.limits.local import LocalLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ALICE = Identity(workspace="research", key="alice")
BOB = Identity(workspace="research", key="bob")
USED = call_pb2.Usage(input_tokens=10, output_tokens=20)


def call(identity: Identity = ALICE, prompt: str = "hello", most: int = 0) -> Call:
    request = pb.GenerateRequest(prompt=prompt)
    if most:
        request.config.max_output_tokens = most
    return structs.replace(make.call(request), identity=identity, story=Story())


def answering(usage: call_pb2.Usage | None = USED) -> Handler:
    fields = {"usage": usage} if usage else {}
    return make.playing([make.part("a"), make.part_completed(), make.completed(**fields)])


async def read(handler: Handler, made: Call) -> dict[str, str]:
    """Read an answer to its end; what its caller is told."""
    async with aclosing(handler(made)) as events:
        async for _ in events:
            pass
    return dict(made.story.told)


def policy(told: dict[str, str]) -> str:
    return told["ratelimit-policy"]


def limited(below: Handler, **settings: Any) -> Handler:
    return limit(CallerLimits(**settings), LocalLimits(now))(below)


def test_each_key_has_its_own_and_a_workspace_one_for_all_of_its_keys() -> None:
    async def main() -> None:
        handler = limited(
            answering(),
            each_key=CallerLimit(requests_per_minute=2),
            workspaces={"research": CallerLimit(requests_per_minute=3)},
        )
        for identity in (ALICE, ALICE, BOB):
            await read(handler, call(identity))
        with pytest.raises(CallerLimited, match="workspace research may have 3 requests a minute") as refused:
            await read(handler, call(BOB))
        assert refused.value.retry_after == 20
        assert refused.value.quota is not None
        assert refused.value.quota.field == "workspace:research"
        await asyncio.sleep(20)
        await read(handler, call(BOB))
        elsewhere = Identity(workspace="sales", key="carol")
        await read(handler, call(elsewhere))
        await read(handler, call(elsewhere))
        with pytest.raises(CallerLimited, match="key carol may have 2 requests a minute"):
            await read(handler, call(elsewhere))

    run_virtual(main())


def test_what_stands_under_a_key_goes_before_what_holds_for_each_number_by_number() -> None:
    async def main() -> None:
        handler = limited(
            answering(),
            each_key=CallerLimit(requests_per_minute=100, concurrency=7),
            keys={"alice": CallerLimit(requests_per_minute=1)},
        )
        assert policy(await read(handler, call())) == '"requests";q=1;w=60, "concurrency";q=7;qu="concurrent-requests"'
        assert policy(await read(handler, call(BOB))).startswith('"requests";q=100;w=60, ')

    run_virtual(main())


def test_a_caller_is_told_what_is_left() -> None:
    async def main() -> None:
        handler = limited(answering(), each_key=CallerLimit(requests_per_minute=60, tokens_per_minute=1000))
        told = await read(handler, call(most=100))
        given = count_tokens(call().request).tokens
        assert told == {
            "ratelimit-policy": '"requests";q=60;w=60, "tokens";q=1000;w=60;qu="tokens"',
            "ratelimit": f'"requests";r=59;t=1, "tokens";r={900 - given};t={ceil((100 + given) * 0.06)}',
        }

    run_virtual(main())


def test_a_refusal_tells_what_is_left_of_the_limit_that_refuses_and_when_it_is_whole() -> None:
    """Not when the call may come back, which the error says."""

    async def main() -> None:
        handler = limited(answering(), each_key=CallerLimit(requests_per_minute=60, tokens_per_minute=1000))
        await read(handler, call(most=100))
        made = call(most=1000 - count_tokens(call().request).tokens)
        with pytest.raises(CallerLimited) as refused:
            await read(handler, made)
        # 30 of those that were reserved were used.
        assert refused.value.retry_after == pytest.approx(1.8)
        assert dict(made.story.told) == {
            "ratelimit-policy": '"tokens";q=1000;w=60;qu="tokens"',
            "ratelimit": '"tokens";r=970;t=2',
        }

    run_virtual(main())


def test_calls_at_once_have_no_time_to_wait_for() -> None:
    async def main() -> None:
        limits = LocalLimits(now)
        handler = limit(CallerLimits(each_key=CallerLimit(concurrency=1)), limits)(answering())
        running = handler(call())
        await anext(running)
        made = call()
        with pytest.raises(CallerLimited):
            await read(handler, made)
        assert dict(made.story.told)["ratelimit"] == '"concurrency";r=0'
        await running.aclose()
        assert await read(handler, call()) == {
            "ratelimit-policy": '"concurrency";q=1;qu="concurrent-requests"',
            "ratelimit": '"concurrency";r=0',
        }

    run_virtual(main())


def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_owed() -> None:
    async def main() -> None:
        settings: dict[str, Any] = {"each_key": CallerLimit(tokens_per_minute=1000)}
        handler = limited(answering(), **settings)
        for _ in range(8):
            await read(handler, call(most=700))
        over = limited(answering(call_pb2.Usage(input_tokens=10, output_tokens=3000)), **settings)
        await read(over, call(most=10))
        with pytest.raises(CallerLimited) as refused:
            await read(over, call(most=10))
        assert refused.value.retry_after is not None
        assert 120 < refused.value.retry_after < 125

    run_virtual(main())


def test_without_usage_what_was_reserved_is_used() -> None:
    async def main() -> None:
        handler = limited(answering(None), each_key=CallerLimit(tokens_per_minute=1000))
        await read(handler, call(most=700))
        with pytest.raises(CallerLimited):
            await read(handler, call(most=700))

    run_virtual(main())


@pytest.mark.parametrize(
    ("prompt", "most", "field"), [("hi", 2000, "config.max_output_tokens"), ("a b " * 3000, 9, "messages")]
)
def test_what_never_fits_is_invalid_and_takes_nothing(prompt: str, most: int, field: str) -> None:
    async def main() -> None:
        handler = limited(answering(), each_key=CallerLimit(requests_per_minute=1, tokens_per_minute=1000))
        with pytest.raises(InvalidRequest, match="key alice has 1000 tokens a minute") as refused:
            await read(handler, call(prompt=prompt, most=most))
        assert [each.field for each in refused.value.violations] == [field]
        await read(handler, call())

    run_virtual(main())


def test_a_small_limit_is_of_use_to_requests_that_do_not_say_how_much_they_want() -> None:
    async def main() -> None:
        await read(limited(answering(), each_key=CallerLimit(tokens_per_minute=50)), call())

    run_virtual(main())


def failing(error: Callable[[], BaseException]) -> Handler:
    async def handle(_: Call) -> Events:
        for event in make.answer()[:0]:
            yield event
        raise error()

    return handle


def failed(*outcomes: call_pb2.Outcome.ValueType, usage: call_pb2.Usage | None = None) -> CallError:
    attempts = [call_pb2.Attempt(outcome=each) for each in outcomes]
    failure = call_pb2.CallFailure(served=call_pb2.Served(attempts=attempts), usage=usage)
    return CallError(call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED, "no", failure=failure)


@pytest.mark.parametrize(
    ("error", "comes_back"),
    [
        (lambda: failed(call_pb2.OUTCOME_OVERLOADED, call_pb2.OUTCOME_NOT_CONNECTED), True),
        (lambda: CallError(call_pb2.ERROR_REASON_NO_CANDIDATE, "no"), True),
        (lambda: failed(call_pb2.OUTCOME_SERVER_ERROR), False),
        (lambda: failed(call_pb2.OUTCOME_OVERLOADED, call_pb2.OUTCOME_TIMEOUT), False),
        (lambda: failed(call_pb2.OUTCOME_INTERRUPTED, usage=USED), True),
        (RuntimeError, False),
        (asyncio.CancelledError, False),
    ],
)
def test_what_a_failure_used(error: Callable[[], BaseException], comes_back: bool) -> None:
    """The request counts in any case, and its place is free."""

    async def main() -> None:
        handler = limited(
            failing(error), each_key=CallerLimit(requests_per_minute=2, tokens_per_minute=1000, concurrency=1)
        )
        with pytest.raises(type(error())):
            await read(handler, call(most=700))
        again: type[BaseException] = type(error()) if comes_back else CallerLimited
        with pytest.raises(again):
            await read(handler, call(most=700))
        if comes_back:
            with pytest.raises(CallerLimited, match="requests"):
                await read(handler, call(most=700))

    run_virtual(main())


def test_so_many_at_once() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def waiting(_: Call) -> Events:
            await gate.wait()
            yield make.completed(usage=USED)

        handler = limited(waiting, each_key=CallerLimit(concurrency=5))
        running = [asyncio.create_task(read(handler, call())) for _ in range(64)]
        await asyncio.sleep(1)
        refused = [each for each in running if each.done()]
        assert len(refused) == 59
        assert all(isinstance(each.exception(), CallerLimited) for each in refused)
        gate.set()
        await asyncio.wait(running)
        await read(handler, call())

    run_virtual(main())


def _cancelled_at(turn: int) -> Coroutine[object, object, bool]:
    """Cancel a call after so many turns of the loop. Whether it had ended by itself."""

    async def slow(_: Call) -> Events:
        try:
            for event in make.answer("a", "b"):
                await asyncio.sleep(0)
                yield event
        finally:
            await asyncio.sleep(0)

    async def main() -> bool:
        limits = LocalLimits(now)
        handler = limit(CallerLimits(each_key=CallerLimit(tokens_per_minute=1000, concurrency=1)), limits)(slow)
        task = asyncio.create_task(read(handler, call(most=100)))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert not any(each.calls for each in limits._running.values())
        assert not any(each.calls for each in limits._known.values())
        return not task.cancelled()

    return main()


def test_a_call_that_is_cancelled_holds_nothing_whenever_that_is() -> None:
    turn = 0
    while not run_virtual(_cancelled_at(turn)):
        turn += 1
    assert turn > 5


def test_who_has_no_limit_pays_nothing() -> None:
    async def main() -> None:
        below = answering()
        given: list[Events] = []

        def noted(made: Call) -> Events:
            given.append(below(made))
            return given[-1]

        handler = limited(noted, keys={"bob": CallerLimit(requests_per_minute=1)})
        made = call()
        assert handler(made) is given[0]
        await given[0].aclose()
        assert made.story.told == ()

    run_virtual(main())
