"""The log: lines in their order, gathered where that may be, and none lost at the end."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import chain

import pytest
from virtual_time import run_virtual

from trunkline_server.logs import LINGER, _Lines, build_log


class Stream(io.BytesIO):
    """Counts how often it was written to."""

    writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type]

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.getvalue().splitlines()]


def test_lines_are_written_at_once_unless_they_may_linger() -> None:
    stream = Stream()
    log = build_log(stream)
    log.info("a", number=1)
    assert json.loads(stream.getvalue()) | {"timestamp": ""} == {
        "event": "a", "number": 1, "level": "info", "timestamp": "",
    }  # fmt: skip


def test_what_lingers_is_written_together_in_a_moment() -> None:
    async def main() -> None:
        stream = Stream()
        log = build_log(stream, linger=LINGER)
        for name in "abc":
            log.info(name)
        assert not stream.writes
        await asyncio.sleep(LINGER)
        assert (stream.events(), stream.writes) == (["a", "b", "c"], 1)
        log.info("d")
        await asyncio.sleep(LINGER)
        assert stream.events() == ["a", "b", "c", "d"]

    run_virtual(main())


def test_a_warning_is_written_at_once_after_what_came_before_it() -> None:
    async def main() -> None:
        stream = Stream()
        log = build_log(stream, linger=LINGER)
        log.info("a")
        log.warning("b")
        assert stream.events() == ["a", "b"]
        log.info("c")
        log.error("d")
        assert stream.events() == ["a", "b", "c", "d"]
        await asyncio.sleep(1)
        assert stream.writes == 2

    run_virtual(main())


def test_what_is_gathered_is_bounded() -> None:
    async def main() -> None:
        stream = Stream()
        log = build_log(stream, linger=LINGER)
        for number in range(1000):
            log.info(str(number))
        assert 1000 - len(stream.events()) < 300
        assert stream.writes < 10
        await asyncio.sleep(LINGER)
        assert stream.events() == [str(number) for number in range(1000)]

    run_virtual(main())


class Full(io.RawIOBase):
    """A disk without room."""

    def write(self, data: object, /) -> int:
        raise OSError(errno.ENOSPC, "no room")


@pytest.mark.parametrize("closed", [True, False])
def test_lines_that_cannot_be_written_do_not_fill_the_memory(closed: bool) -> None:
    async def main() -> None:
        stream = Full()
        lines = _Lines(stream, LINGER)  # type: ignore[arg-type]
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        if closed:
            stream.close()
        for _ in range(1000):
            with suppress(OSError):
                lines.info(b"line")
        await asyncio.sleep(1)
        assert not lines._gathered

    run_virtual(main())


def test_lines_of_many_threads_are_whole_and_all_there() -> None:
    stream = Stream()
    log = build_log(stream, linger=LINGER)

    def write(number: int) -> None:
        for i in range(200):
            log.info(f"{number}-{i}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stream.events()) == sorted(chain(*([f"{n}-{i}" for i in range(200)] for n in range(4))))


def test_the_end_of_the_process_loses_nothing() -> None:
    program = """
import asyncio
from trunkline_server.logs import build_log
async def main():
    build_log(linger=60.0).info("the last")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stderr)["event"] == "the last"
