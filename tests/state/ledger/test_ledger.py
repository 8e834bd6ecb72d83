from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ledger_house import House, failing
from ledger_rows import SUBJECT, begun, ended, finished
from msgspec import structs

from trunkline_server.errors import LedgerUnavailable
from trunkline_server.state.ledger import journal, ledger, writer
from trunkline_server.state.ledger.columns import ATTEMPT, attempt_values
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.instances import LEASE
from trunkline_server.state.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ledger_house import Mode


MODES: list[Mode] = ["relaxed", "strict"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture
async def house(url: str, tmp_path: Path, mode: Mode) -> AsyncIterator[House]:
    house = House(url, tmp_path / "journal", mode)
    yield house
    await house.aclose()


async def call(running: Ledger, call_id: str = "c1") -> None:
    await running.begin(begun(call_id))
    await running.finish(finished(call_id))
    running.end_call(ended(call_id))


# --- in peace ---------------------------------------------------------------------------------------------------------


async def test_what_goes_in_is_there_after_a_flush(house: House) -> None:
    running = await house.start()
    await call(running)
    await running.flush()
    assert await house.attempts() == [finished()]
    assert await house.calls() == [ended()]
    assert running.health() == (0, "", None, 0, 0)


async def test_closing_writes_everything_and_leaves_no_journal(house: House) -> None:
    running = await house.start()
    for number in range(600):
        await call(running, f"c{number:03}")
    await house.stop()
    again = await house.start()
    assert len(await house.attempts()) == len(await house.calls()) == 600
    assert len(journal.files(again._slot.folder)) == 1, "only the new one"
    assert house.logged() == []


async def test_relaxed_waits_for_nothing(url: str, tmp_path: Path) -> None:
    house = House(url, tmp_path / "journal", "relaxed")
    running = await house.start()
    failing(running).runs.clear()
    await call(running)
    assert running.health().queued == 2
    failing(running).runs.set()
    await house.aclose()


async def test_rows_in_a_hurry_share_transactions(house: House) -> None:
    running = await house.start()
    await running.tidy()
    before = failing(running).transactions
    await asyncio.gather(*(call(running, f"c{number:03}") for number in range(200)))
    await running.flush()
    # Of 600 rows. How many exactly is a matter of how busy the machine is.
    assert failing(running).transactions - before <= 20


async def test_strict_knows_of_an_attempt_before_it_is_sent_and_of_its_end_before_it_is_told(
    url: str, tmp_path: Path
) -> None:
    house = House(url, tmp_path / "journal", "strict")
    running = await house.start()
    await running.begin(begun())
    assert await house.attempts() == [begun()]
    await running.finish(finished())
    assert await house.attempts() == [finished()]
    await house.aclose()


async def test_a_long_journal_is_forgotten_file_by_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await house.start()
    running._journal._size = running._journal._file.room = 2000
    await running.begin(begun("slow"))
    for number in range(40):
        await call(running, f"c{number:03}")
    await running.flush()
    await running.finish(finished("slow"))
    running.end_call(ended("slow"))
    await running.flush()
    running._journal.tidy()
    await asyncio.get_running_loop().run_in_executor(None, time.monotonic)  # after the deletions, in their pool
    await eventually(lambda: len(journal.files(running._slot.folder)) == 1)
    assert running._journal._calls == {}


async def eventually(done: Any) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


# --- after a death ----------------------------------------------------------------------------------------------------


async def test_a_killed_gateway_loses_only_what_was_in_flight(house: House) -> None:
    running = await house.start()
    await call(running, "done")
    await running.begin(begun("flying", input_tokens=7))
    await running.begin(begun("failed once"))
    await running.finish(finished("failed once", outcome=4, cost=5))
    await running.begin(begun("failed once", 2, provider="groq"))
    await house.kill(running)
    await house.start()
    attempts = {(row.call_id, row.attempt): row for row in await house.attempts()}
    assert attempts["done", 1] == finished("done")
    assert attempts["failed once", 1].cost == 5
    for lost in (attempts["flying", 1], attempts["failed once", 2]):
        assert (lost.outcome, lost.certainty) == (7, 3), "interrupted, and nothing is known of it"
        assert lost.duration is not None
        assert lost.duration > 0
    assert attempts["flying", 1].input_tokens == 7, "what its beginning said stays"
    calls = {row.call_id: row for row in await house.calls()}
    assert calls["done"] == ended("done")
    assert (calls["flying"].result, calls["flying"].reason, calls["flying"].attempts) == ("error", "INTERNAL", 1)
    assert (calls["failed once"].provider, calls["failed once"].attempts, calls["failed once"].fell_back) == (
        "groq",
        2,
        True,
    )
    [told] = house.logged()
    assert (told["event"], told["calls"], told["attempts"]) == ("calls in flight were lost", 2, 2)


async def test_rows_that_the_database_never_got_are_there_after_a_restart(house: House) -> None:
    running = await house.start()
    failing(running).failure = "disk full"
    running.finish(finished())
    running.end_call(ended())
    await house.kill(running)
    await house.start()
    assert await house.attempts() == [finished()]
    assert await house.calls() == [ended()]
    assert house.logged() == [], "none was in flight"


async def test_a_call_between_two_attempts_is_known_when_its_attempt_is_committed(house: House) -> None:
    running = await house.start()
    running._journal._size = running._journal._file.room = 1
    await running.begin(begun())
    await running.finish(finished(outcome=4))
    await running.flush()
    # A file for each record: what is not needed is forgotten now.
    await running.begin(begun("c2"))
    await eventually(lambda: len(journal.files(running._slot.folder)) == 2)
    await house.kill(running)
    await house.start()
    lost, _ = await house.calls()
    assert (lost.call_id, lost.outcome, lost.reason) == ("c1", 4, "INTERNAL")
    assert [row.outcome for row in await house.attempts()] == [4, 7]


async def test_a_torn_record_hides_none_before_it(house: House) -> None:
    running = await house.start()
    failing(running).failure = "failed"
    running.finish(finished("c1"))
    running.finish(finished("c2"))
    file = running._journal._file
    size = file.memory.tell()
    await house.kill(running)
    os.truncate(file.path, size - 3)
    await house.start()
    assert await house.attempts() == [finished("c1")]


async def test_a_recovery_that_is_repeated_changes_nothing(house: House) -> None:
    running = await house.start()
    await call(running)
    await running.begin(begun("c2"))
    await house.kill(running)
    left = {path: path.read_bytes() for path in journal.files(running._slot.folder)}
    second = await house.start()
    once = await house.attempts(), await house.calls()
    await house.kill(second)
    for path, data in left.items():
        path.write_bytes(data)
    await house.start()
    assert (await house.attempts(), await house.calls()) == once
    assert len(house.logged()) == 1


async def test_gateways_work_side_by_side_and_the_living_one_buries_the_dead(house: House) -> None:
    one, other = await house.start(), await house.start()
    assert one._slot.folder != other._slot.folder
    await asyncio.gather(*(call(each, f"{name}{n}") for each, name in ((one, "a"), (other, "b")) for n in range(20)))
    await other.begin(begun("flying"))
    await one.tidy()
    assert [row for row in await house.calls() if row.call_id == "flying"] == [], "it lives"
    await house.kill(other)
    await one.tidy()
    await one.flush()
    assert len(await house.attempts()) == 41
    [lost] = [row for row in await house.calls() if row.call_id == "flying"]
    assert lost.reason == "INTERNAL"
    await one.tidy()
    assert len(house.logged()) == 1


async def test_a_machine_that_never_comes_back_is_taken_for_dead(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(url, tmp_path / "here", "strict")
    here, there = await house.start(), await house.start(tmp_path / "there")
    await there.tidy()
    await there.begin(begun("flying"))
    await house.kill(there)
    await here.tidy()
    assert [row.duration for row in await house.attempts()] == [None]
    later = time.time_ns() // 1000 + LEASE + 10**6
    monkeypatch.setattr(ledger, "_now", lambda: later)
    await here.tidy()
    await here.tidy()
    assert [row.outcome for row in await house.attempts()] == [7]
    assert [row.reason for row in await house.calls()] == ["INTERNAL"]
    assert len(house.logged()) == 1
    await house.aclose()


async def test_what_an_earlier_version_left_open_is_ended(house: House) -> None:
    """It had open attempts among those that have ended."""
    here, dead = await house.start(), await house.start()
    row = {**dict(zip(ATTEMPT, attempt_values(begun("old")), strict=True)), "instance": dead._slot.id}
    insert = f"INSERT INTO attempts ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    await here.database.transact(script(Statement(insert, [[*row.values()]])))
    await house.kill(dead)
    await here.tidy()
    assert [(row.call_id, row.outcome) for row in await house.attempts()] == [("old", 7)]
    assert [row.reason for row in await house.calls()] == ["INTERNAL"]


# --- a database that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "words"), [("disk full", "the disk is full"), ("connection lost", "is lost")])
async def test_what_fails_is_named_and_tried_again(house: House, kind: Any, words: str) -> None:
    running = await house.start()
    failing(running).failure = kind
    kept = running.finish(finished())
    await eventually(lambda: running.health().failing)
    assert words in running.health().failing
    assert running.health().failing_since is not None
    if house.mode == "strict":
        with pytest.raises(LedgerUnavailable, match=words):
            await running.begin(begun("c2"))
    failing(running).failure = None
    await running.flush()
    await kept
    assert await house.attempts() == [finished()]
    await eventually(lambda: running.health() == (0, "", None, 0, 0))
    await call(running, "c3")


async def test_a_queue_that_is_full_refuses_calls_and_drops_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LIMIT", 10)
    running = await house.start()
    failing(running).runs.clear()
    for number in range(10):
        running.finish(finished(f"c{number}"))
    with monkeypatch.context() as impatient, pytest.raises(LedgerUnavailable, match="does not keep up"):
        impatient.setattr(ledger, "PATIENCE", 0.05)
        await running.begin(begun("refused"))
    for number in range(10):
        running.end_call(ended(f"c{number}"))
    refuse(running, 1205)
    assert running.health().queued < 30, "what is refused does not fill the memory"
    failing(running).runs.set()
    await call(running, "d1")
    await running.flush()
    assert len(await house.attempts()) == 11
    assert len(await house.calls()) == 11 + 1205
    assert running.health() == (0, "", None, 0, 0)
    await eventually(lambda: not [*running._slot.folder.glob("overflow-*")])


def refuse(running: Ledger, count: int) -> None:
    """So many calls are refused."""
    for number in range(count):
        running.end_call(ended(f"refused{number}", attempts=0, result="error", reason="LEDGER_UNAVAILABLE"))


async def test_what_the_queue_had_no_room_for_is_not_lost_with_the_gateway(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LIMIT", 10)
    running = await house.start()
    failing(running).runs.clear()
    refuse(running, 700)
    await house.kill(running)
    await house.start()
    assert len(await house.calls()) == 700


async def test_where_the_disk_is_full_too_refused_calls_are_counted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LIMIT", 0)
    running = await house.start()

    def append(path: Path, row: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(journal, "append", append)
        refuse(running, 3)
    assert running.health().unrecorded == 3


async def test_strict_takes_back_what_it_could_not_promise(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.05)
    house = House(url, tmp_path / "journal", "strict")
    running = await house.start()
    await running.tidy()
    failing(running).runs.clear()
    with pytest.raises(LedgerUnavailable, match="does not keep up"):
        await running.begin(begun())
    failing(running).runs.set()
    await running.flush()
    assert await house.attempts() == []
    await house.aclose()


async def test_what_was_refused_is_not_lost_with_the_gateway(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(url, tmp_path / "journal", "strict")
    running = await house.start()
    failing(running).failure = "locked"
    with monkeypatch.context() as impatient, pytest.raises(LedgerUnavailable):
        impatient.setattr(ledger, "PATIENCE", 0.05)
        await running.begin(begun())
    await house.kill(running)
    await house.start()
    assert await house.attempts() == []
    assert await house.calls() == []
    await house.aclose()


async def test_a_full_disk_refuses_calls_before_they_are_sent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await house.start()
    await running.begin(begun("running"))
    first = running._journal._file
    first.room = 0  # it has to begin another

    def write(descriptor: int, *rest: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "posix_fallocate", write, raising=False)
    for number in range(2):
        with pytest.raises(LedgerUnavailable, match="the disk is full"):
            await running.begin(begun(f"c{number}"))
    assert journal.files(first.path.parent) == [first.path], "no file without room is left"
    running.finish(finished("running"))
    running.end_call(ended("running"))
    monkeypatch.undo()
    await call(running, "c3")
    assert [row.call_id for row in journal.read(running._journal._file.path)] == ["c3", "c3", "c3"]
    await running.flush()
    assert len(await house.attempts()) == 2


async def test_a_file_system_that_reserves_nothing_is_written_to(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, *rest: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    running = await house.start()
    file = running._journal._file
    assert file.path.stat().st_blocks * 512 >= file.room
    await call(running, "c1")
    await running.flush()
    assert len(await house.attempts()) == 1


async def test_what_a_database_cannot_hold_is_mended(house: House) -> None:
    running = await house.start()
    subject = structs.replace(SUBJECT, requested_model="a\0b", labels={"k": "v\0w"})
    await running.begin(begun("good"))
    running.finish(finished("good"))
    running.finish(finished("odd", subject=subject, provider_code="\ud800x", cost=2**70))
    await running.flush()
    good, odd = await house.attempts()
    assert good == finished("good")
    assert odd.cost is not None
    assert odd.call_id == "odd"
    assert running.health().set_aside == 0


async def test_what_cannot_be_mended_is_kept_in_a_file_and_stops_nothing(house: House) -> None:
    running = await house.start()
    # Nothing where the database wants something.
    running.finish(finished("bad", saved=None))
    running.finish(finished("good"))
    await running.flush()
    assert [row.call_id for row in await house.attempts()] == ["good"]
    assert running.health().set_aside == 1
    assert b"bad" in (running._slot.folder / "refused").read_bytes()
    assert [line["event"] for line in house.logged()] == ["ledger row refused"]


# --- what leaves ------------------------------------------------------------------------------------------------------


async def test_rows_whose_time_is_over_leave_and_what_they_add_up_to_stays(house: House) -> None:
    running = await house.start()
    now = time.time_ns() // 1000
    for number in range(1200):
        running.finish(finished(f"old{number}"))
        running.end_call(ended(f"old{number}"))
    await running.begin(begun("open"))
    running.finish(finished("new", started=now))
    running.end_call(ended("new", started=now))
    await running.flush()
    assert await running.expire() == 0
    running._retention = 7 * 86400 * 10**6
    assert await running.expire() == 2400
    left = {row.call_id for row in await house.attempts()}
    assert left == ({"new", "open"} if house.mode == "strict" else {"new"})
    assert [row.call_id for row in await house.calls()] == ["new"]
    sums = await house.reader.fetch("SELECT CAST(SUM(attempts) AS BIGINT) FROM attempt_sums WHERE grain = 'day'")
    assert sums == [(1201,)]
    await running.finish(finished("open"))


async def test_health_tells_of_a_database_that_hangs(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails then: there is just no answer."""
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    running = await house.start()
    await running.tidy()
    failing(running).runs.clear()
    running.end_call(ended())
    await eventually(lambda: running.health().failing == "its database does not answer")
    failing(running).runs.set()
    await running.flush()
    assert running.health() == (0, "", None, 0, 0)
