"""The benchmark's own parts: what it compares, and that it can tell a difference."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import make
import pytest
from bench import answers, steps
from bench.callers import GrpcCaller, HttpCaller, normal_form
from bench.figures import BARS, EXACT, Figure, Pair, missed, table
from bench.gateway import GUARDS, make_key, settings_for
from bench.load import percentile
from bench.upstream import Connection

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.cli.gateway import running
from trunkline_server.dialects import openai_chat
from trunkline_server.fold import merge
from trunkline_server.logs import build_log

MIXED = "mixed-700"


def unmerged(model: str) -> list[pb.StreamGenerateResponse]:
    decoder = openai_chat.stream_decoder()
    events = [event for data in answers.events(model) for event in decoder.feed(data)]
    return events + decoder.finish()


async def test_a_merged_stream_says_what_the_unmerged_one_says(tmp_path: Path) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(settings_for(f"http://127.0.0.1:{port}/v1", tmp_path), build_log(io.BytesIO())) as address:
        caller = GrpcCaller(int(address.rpartition(":")[2]))
        events = await caller.events(MIXED)
        await caller.aclose()
    server.close()
    assert normal_form(events) == normal_form(unmerged(MIXED))
    assert len(events) < len(unmerged(MIXED)) / 10


@pytest.mark.parametrize("guard", GUARDS)
async def test_every_gateway_answers_whoever_has_a_key(tmp_path: Path, guard: str) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    settings = settings_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", tmp_path, guard)
    key = await make_key(settings)
    async with running(settings, build_log(io.BytesIO())) as address:
        caller = GrpcCaller(int(address.rpartition(":")[2]), key)
        for model in ("unary", "burst-3"):
            assert await caller.call(model) > 0
        await caller.aclose()
    server.close()


async def test_the_upstream_answers_requests_that_come_in_pieces_and_one_after_the_other() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(2):
        for piece in (b"POST / HTTP/1.1\r\nContent-Le", b"ngth: 17\r\n\r\n", b'{"model":', b'"unary"}'):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        answer = answers.answer_of("unary").head
        assert await reader.readexactly(len(answer)) == answer
    writer.close()
    server.close()


async def test_the_bare_upstream_can_be_called_in_every_way() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    caller = HttpCaller(server.sockets[0].getsockname()[1])
    for model in ("unary", "burst-3", "paced-3-1000"):
        assert await caller.call(model) > 0
    await caller.aclose()
    server.close()


def test_merging_leaves_the_normal_form_and_any_change_shows() -> None:
    events = [make.part("a"), make.delta("b"), make.delta("c"), make.tool_part("f", 1), make.arguments("{", 1)]
    events += [make.arguments("}", 1), make.part_completed(1), make.completed()]
    assert normal_form(merge(events)) == normal_form(events)
    swapped = [events[0], events[2], events[1], *events[3:]]
    lost = events[:4] + events[5:]
    assert normal_form(events) not in (normal_form(swapped), normal_form(lost))


def test_what_is_over_its_bar_is_named_and_so_is_what_is_no_number() -> None:
    met = dict.fromkeys(BARS, 0.0)
    assert missed(met) == {}
    told = missed({**met, "unary_cpu_ratio": 1.71, "merged_us_per_token": float("nan")})
    assert list(told) == ["unary_cpu_ratio", "merged_us_per_token"]
    assert told["unary_cpu_ratio"] == "unary_cpu_ratio is 1.71: at most 1.7"
    assert set(BARS) >= EXACT


def test_a_drift_of_the_machine_cancels() -> None:
    pair = Pair(floor=100.0, gateway=150.0, again=200.0)
    assert (pair.ratio, pair.noise) == (1.0, 2.0)


def test_the_table_has_medians_and_ratios() -> None:
    figure = Figure("a figure, us", [Pair(100.0, 110.0), Pair(100.0, 130.0), Pair(2000.0, 3000.0)])
    assert table([figure]).splitlines()[1].split() == ["a", "figure,", "us", "100", "130", "1.10", "1.30", "1.50"]


def test_percentiles_are_values_that_came() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values[:1], 0.99)) == (50.0, 99.0, 1.0)


async def test_the_steps_of_what_runs_are_counted_and_no_others() -> None:
    def loop(times: int) -> None:
        for _ in range(times):
            pass

    async def counted(times: int) -> int:
        await steps.begin_steps()
        loop(times)
        told = await steps.end_steps()
        loop(times)
        return next(count for name, count in told.items() if "loop" in name)

    once, *more = [await counted(times) for times in (1, 2, 3, 3)]
    each = more[0] - once
    assert each > 0
    assert more == [once + each, once + 2 * each, once + 2 * each]
    shown = steps.table({"a": 2.0, "b": 1.0}, {"a": 3.0, "c": 5.0})
    assert [line.split() for line in shown.splitlines()[2:]] == [["5.0", "c"], ["1.0", "a"]]
