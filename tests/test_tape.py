"""The task boundary: what a reader sees of a generator that runs in another task."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from make import call, delta, playing, text_of
from virtual_time import run_virtual

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Events, now
from trunkline_server.registry import TaskRegistry
from trunkline_server.tape import Tape

FAR = 1e12


async def read_all(tape: Tape) -> list[list[pb.StreamGenerateResponse]]:
    batches: list[list[pb.StreamGenerateResponse]] = []
    while True:
        assert await tape.wait(FAR)
        batch = tape.take()
        if not batch:
            return batches
        batches.append(batch)


def test_the_clock_is_precise_on_uvloop_and_the_loops_own() -> None:
    async def main() -> tuple[float, float, float]:
        return asyncio.get_running_loop().time(), now(), now()

    own, first, second = uvloop.run(main())
    assert abs(first - own) < 0.05
    assert 0 < second - first < 0.05
    assert run_virtual(main()) == (1000.0, 1000.0, 1000.0)


def test_what_is_ready_together_is_taken_together() -> None:
    async def main() -> None:
        registry = TaskRegistry()
        with registry.play(playing([delta("a"), delta("b"), 1.0, delta("c")])(call())) as tape:
            batches = await read_all(tape)
        assert [text_of(batch) for batch in batches] == ["ab", "c"]
        await registry.wait_idle()

    run_virtual(main())


def test_waiting_does_not_end_the_stream() -> None:
    async def main() -> None:
        registry, loop = TaskRegistry(), asyncio.get_running_loop()
        with registry.play(playing([5.0, delta("late")])(call())) as tape:
            for _ in range(4):
                assert not await tape.wait(loop.time() + 1)
            assert await tape.wait(FAR)
            assert text_of(tape.take()) == "late"
        await registry.wait_idle()

    run_virtual(main())


def test_a_failure_comes_after_the_last_event() -> None:
    async def main() -> None:
        registry = TaskRegistry()
        with registry.play(playing([delta("a"), RuntimeError("boom")])(call())) as tape:
            await tape.wait(FAR)
            assert text_of(tape.take()) == "a"
            assert await tape.wait(FAR)
            with pytest.raises(RuntimeError, match="boom"):
                tape.take()
        await registry.wait_idle()

    run_virtual(main())


def test_the_buffer_is_bounded_and_nothing_is_lost() -> None:
    produced = 0

    async def source() -> Events:
        nonlocal produced
        for index in range(1000):
            produced += 1
            yield delta(f"{index} ")

    async def main() -> None:
        registry = TaskRegistry()
        with registry.play(source()) as tape:
            await tape.wait(FAR)
            for _ in range(10):
                await asyncio.sleep(0)
            assert produced == 256
            assert text_of([event for batch in await read_all(tape) for event in batch]) == "".join(
                f"{index} " for index in range(1000)
            )
        await registry.wait_idle()

    run_virtual(main())


def test_leaving_closes_the_generator_in_the_registrys_task() -> None:
    closed: list[asyncio.Task[None] | None] = []

    async def source() -> Events:
        try:
            yield delta("a")
            await asyncio.sleep(FAR)
        finally:
            await asyncio.sleep(0.01)  # clean-up may await: it is not the reader's task that is cancelled
            closed.append(asyncio.current_task())

    async def main() -> None:
        registry = TaskRegistry()
        with registry.play(source()) as tape:
            await tape.wait(FAR)
        assert not closed
        await registry.wait_idle()
        assert closed
        assert closed[0] is not asyncio.current_task()
        assert len(registry) == 0

    run_virtual(main())


def test_interrupt_ends_what_plays() -> None:
    async def main() -> None:
        registry = TaskRegistry()
        with registry.play(playing([delta("a"), FAR, delta("b")])(call())) as tape:
            await tape.wait(FAR)
            tape.take()
            asyncio.get_running_loop().call_later(3, registry.interrupt, lambda: KeyError("drain"))
            assert await tape.wait(FAR)
            with pytest.raises(KeyError, match="drain"):
                tape.take()
        await registry.wait_idle()

    run_virtual(main())


def test_gather_lets_more_arrive_but_not_past_the_end() -> None:
    async def main() -> None:
        registry, loop = TaskRegistry(), asyncio.get_running_loop()
        with registry.play(playing([delta("a"), 0.1, delta("b"), 0.1, delta("c"), 1.0, delta("d")])(call())) as tape:
            await tape.wait(FAR)
            await tape.gather(loop.time() + 0.5)
            assert text_of(tape.take()) == "abc"
            before = loop.time()
            await tape.wait(FAR)
            await tape.gather(loop.time() + 50)
            assert text_of(tape.take()) == "d"
            assert loop.time() - before < 2
        await registry.wait_idle()

    run_virtual(main())


def test_a_stray_cancellation_reaches_the_reader() -> None:
    async def main() -> None:
        registry = TaskRegistry()
        with registry.play(playing([delta("a"), asyncio.CancelledError()])(call())) as tape:
            await tape.wait(FAR)
            tape.take()
            await tape.wait(FAR)
            with pytest.raises(asyncio.CancelledError):
                tape.take()
        await registry.wait_idle()

    run_virtual(main())


@given(st.lists(st.one_of(st.just("x"), st.floats(0.001, 2)), max_size=40), st.floats(0.01, 3))
def test_any_rhythm_of_writer_and_reader_gives_every_event_once(steps: list[str | float], pause: float) -> None:
    script = [step if isinstance(step, float) else delta(f"{index} ") for index, step in enumerate(steps)]

    async def main() -> None:
        registry, loop, seen = TaskRegistry(), asyncio.get_running_loop(), ""
        with registry.play(playing(script)(call())) as tape:
            while True:
                if not await tape.wait(loop.time() + pause):
                    continue
                batch = tape.take()
                if not batch:
                    break
                seen += text_of(batch)
        await registry.wait_idle()
        assert seen == "".join(f"{index} " for index, step in enumerate(steps) if step == "x")

    run_virtual(main())
