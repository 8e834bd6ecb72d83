"""What the gateway learns from calls outlives it: told by real calls over gRPC, and by what a successor knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from databases import Failing
from ledger_rows import SUBJECT, ended, finished
from msgspec.structs import replace

from trunkline.v1 import call_pb2
from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline_server.core import ANYBODY
from trunkline_server.routing.learned.lesson import Lesson
from trunkline_server.routing.learned.shape import NO_SHAPE, Shape, shape_of
from trunkline_server.state.learned.learner import Learner
from trunkline_server.state.learned.seal import Seal
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.reports import LedgerReports
from trunkline_server.state.ledger.retention import erase, expire
from trunkline_server.state.ledger.schema import MIGRATIONS, SEALED, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

SHAPE = shape_of("Who was Ada Lovelace?")
MODEL = "openai/gpt-4o"
SEAL = Seal(b"p" * 32)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/ledger.db")
    await migrate(opened)
    yield opened
    await opened.aclose()


async def _nothing() -> None:
    """No rows are queued."""


class House:
    """A ledger whose scores a learner is told of."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.learner = Learner(database, SEAL, lambda: 2e9)
        self._clock = 1.9e9
        self._reports = LedgerReports(database, _nothing, lambda: self._clock, learner=self.learner)

    async def call(self, call_id: str, *, lesson: bool, task: str = "review", shape: Shape = SHAPE) -> None:
        subject = replace(SUBJECT, task=task)
        entries: list[AttemptRow | CallRow] = [finished(call_id, subject=subject), ended(call_id, subject=subject)]
        await self.database.transact(lambda: take(entries, self.database.dialect))
        self.learner.attempted(task, MODEL, call_pb2.OUTCOME_SUCCESS)
        if lesson:
            made = Lesson(task, shape, (MODEL, "openai/o3"), (0.9, 0.1), MODEL)
            self.learner.ended(call_id, made, MODEL, 0.0, 3000)

    async def score(self, call_id: str, score: float, metric: str = "human_rating") -> None:
        self._clock += 1
        request = SubmitFeedbackRequest(call_id=call_id, metric=metric, score=score)
        await self._reports.submit_feedback(request, ANYBODY)


async def test_scores_teach_the_task_and_what_the_prompt_looked_like_and_a_successor_knows_it(
    database: Database,
) -> None:
    house = House(database)
    for number in range(30):
        await house.call(f"c{number}", lesson=True)
        await house.score(f"c{number}", 0.9)
    known = house.learner.qualities("review", SHAPE, [MODEL, "openai/o3"], {})
    assert known[0].mean > 0.8
    assert known[0].n > 29
    assert known[1].mean == 0.5
    by_task = house.learner.qualities("review", NO_SHAPE, [MODEL], {})[0]
    assert by_task.mean < known[0].mean, "the look of the prompt says more than the task alone"
    successor = Learner(database, SEAL)
    await successor.start()
    again = successor.qualities("review", SHAPE, [MODEL, "openai/o3"], {})
    assert [*again[0], *again[1]] == pytest.approx([*known[0], *known[1]])


async def test_words_teach_and_a_successor_knows_them(database: Database) -> None:
    house, good, bad = House(database), Shape(SHAPE.views, (1, 2)), Shape(SHAPE.views, (1, 3))
    for number in range(60):
        await house.call(f"c{number}", lesson=True, shape=good if number % 2 else bad)
        await house.score(f"c{number}", 0.9 if number % 2 else 0.1)
    known = [house.learner.qualities("review", shape, [MODEL], {})[0].mean for shape in (good, bad)]
    assert known[0] > known[1] + 0.2
    successor = Learner(database, SEAL)
    await successor.start()
    assert [successor.qualities("review", shape, [MODEL], {})[0].mean for shape in (good, bad)] == pytest.approx(known)


async def test_what_was_kept_of_prompts_in_the_clear_is_taken_out(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/old.db")
    await migrate(database, MIGRATIONS[: MIGRATIONS.index(SEALED)])
    await database.transact(
        script(
            Statement("INSERT INTO decisions VALUES ('c', 1, ?, '[]', '[]', 'm', 'm')", [(str([[1, 2], [3]]),)]),
            Statement("INSERT INTO feedback VALUES ('c', 'human_rating', 1.0, 'default', 1, 1)"),
        )
    )
    await migrate(database)
    entries: list[AttemptRow | CallRow] = [finished("c", subject=SUBJECT), ended("c", subject=SUBJECT)]
    await database.transact(lambda: take(entries, database.dialect))
    assert await database.fetch("SELECT call_id, shape, sealed FROM decisions") == [("c", "[]", "")]
    learner = Learner(database, SEAL)
    await learner.start()
    (known,) = learner.qualities(SUBJECT.task, Shape(((1, 2), (3,)), ()), [MODEL], {})
    (other,) = learner.qualities(SUBJECT.task, NO_SHAPE, [MODEL], {})
    assert known == other
    assert known.mean > 0.5
    await database.aclose()


async def test_without_the_pepper_nothing_can_be_told_of_prompts(database: Database) -> None:
    house = House(database)
    for number in range(2):
        await house.call(f"c{number}", lesson=True)
        await house.score(f"c{number}", 0.9)
    rows = await database.fetch("SELECT shape, sealed FROM decisions")
    assert [shape for shape, _ in rows] == ["[]", "[]"]
    assert len({sealed for _, sealed in rows}) == 2, "not even that the same was asked twice"
    assert [SEAL.opened(sealed) for _, sealed in rows] == [SHAPE, SHAPE]
    assert [Seal(b"q" * 32).opened(sealed) for _, sealed in rows] == [NO_SHAPE, NO_SHAPE]
    assert [SEAL.opened(damaged) for damaged in ("", "A", "AAAA", rows[0][1][:-8])] == [NO_SHAPE] * 4
    stranger = Learner(database, Seal(b"q" * 32))
    await stranger.start()
    looked, task = (stranger.qualities("review", shape, [MODEL], {})[0] for shape in (SHAPE, NO_SHAPE))
    assert looked == task
    assert task.n > 1, "the task is no secret"


async def test_erasing_a_person_forgets_what_was_kept_of_their_prompts(database: Database) -> None:
    house = House(database)
    for call_id, person in (("a", "ann"), ("b", "bob"), ("n", "")):
        subject = replace(SUBJECT, end_user=person)
        entries: list[AttemptRow | CallRow] = [finished(call_id, subject=subject), ended(call_id, subject=subject)]
        await database.transact(lambda entries=entries: take(entries, database.dialect))  # type: ignore[misc]
        house.learner.ended(call_id, Lesson("t", SHAPE, (MODEL,), (1.0,), MODEL), MODEL, 0.0, 1)
    await house.learner.flush()
    await erase(database, "ann")
    assert await database.fetch("SELECT call_id FROM decisions ORDER BY call_id") == [("b",), ("n",)]


async def test_a_score_counts_once_and_the_last_one_holds(database: Database) -> None:
    once, often = House(database), None
    await once.call("c", lesson=True)
    for score in (0.2, 0.2, 0.8, 0.8):
        await once.score("c", score)
    often = once.learner.qualities("review", SHAPE, [MODEL], {})[0]
    assert often.n == 1
    successor = Learner(database, SEAL)
    await successor.start()
    assert successor.qualities("review", SHAPE, [MODEL], {})[0] == pytest.approx(often)


async def test_a_call_is_worth_the_mean_of_its_metrics(database: Database) -> None:
    house = House(database)
    await house.call("c", lesson=False)
    await house.score("c", 1.0, "relevance")
    await house.score("c", 0.0, "task_success")
    plain = House(database)
    await plain.call("d", lesson=False, task="other")
    await plain.score("d", 0.5)
    halves = [h.learner.qualities(t, NO_SHAPE, [MODEL], {})[0].mean for h, t in ((house, "review"), (plain, "other"))]
    assert halves[0] == pytest.approx(halves[1])


async def test_failed_attempts_teach_that_a_model_fails_and_cancelled_ones_nothing(database: Database) -> None:
    learner = Learner(database, SEAL)
    for _ in range(50):
        learner.attempted("t", "p/bad", call_pb2.OUTCOME_SERVER_ERROR)
        learner.attempted("t", "p/gone", call_pb2.OUTCOME_CANCELLED)
    bad, gone = learner.qualities("t", NO_SHAPE, ["p/bad", "p/gone"], {"p/bad": 0.8, "p/gone": 0.8})
    assert bad.mean < 0.4
    assert gone.mean == 0.8


async def test_price_counts_by_what_calls_cost(database: Database) -> None:
    learner = Learner(database, SEAL)
    assert learner.price_weight(1000.0) == 0.0
    lesson = Lesson("", NO_SHAPE, (MODEL,), (1.0,), MODEL)
    for number in range(100):
        learner.ended(f"c{number}", lesson, MODEL, 1000.0, 3000)
    assert learner.price_weight(1000.0) == pytest.approx(1.0)
    assert learner.price_weight(2000.0) == 0.0, "another target begins anew"


async def test_decisions_are_kept_for_the_retention(database: Database) -> None:
    house = House(database)
    await house.call("c", lesson=True)
    await house.learner.aclose()
    ((candidates, propensities, assigned, served),) = await database.fetch(
        "SELECT candidates, propensities, assigned, served FROM decisions"
    )
    assert (candidates, propensities) == ('["openai/gpt-4o","openai/o3"]', "[0.9,0.1]")
    assert (assigned, served) == (MODEL, MODEL)
    await expire(database, round(2.1e9 * 1e6))
    assert await database.fetch("SELECT call_id FROM decisions") == []


async def test_what_waits_is_written_down_while_the_gateway_runs(database: Database) -> None:
    house = House(database)
    await house.call("c", lesson=True)
    following = asyncio.create_task(house.learner.follow())
    for _ in range(300):
        if await database.fetch("SELECT call_id FROM decisions"):
            break
        await asyncio.sleep(0.01)
    following.cancel()
    assert await database.fetch("SELECT call_id FROM decisions") == [("c",)]


async def test_decisions_wait_for_a_database_that_fails(database: Database) -> None:
    failing = Failing(database)
    learner = Learner(failing, SEAL)
    failing.failure = "locked"
    learner.ended("c", Lesson("", SHAPE, (MODEL,), (1.0,), MODEL), MODEL, 0.0, None)
    await learner.flush()
    assert await database.fetch("SELECT call_id FROM decisions") == []
    failing.failure = None
    await learner.flush()
    assert await database.fetch("SELECT call_id FROM decisions") == [("c",)]
