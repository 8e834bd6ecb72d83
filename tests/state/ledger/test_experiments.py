"""What the ledger tells of an experiment's arms, and the command that shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ledger_rows import BEGIN, SUBJECT, begun, ended, finished
from msgspec.structs import replace

from trunkline_server.cli.main import run
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.experiments import arms
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.schema import migrate

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

_SCORE = (
    "INSERT INTO feedback (call_id, metric, score, workspace, started, submitted) VALUES (?, ?, ?, 'default', 1, 1)"
)


async def fill(database: Database) -> None:
    """Two arms of 40 calls: b's are better, dearer and slower; four of a's were answered by others."""
    entries: list[AttemptRow | CallRow] = []
    scores: list[tuple[str, str, float]] = []
    for number in range(40):
        for arm, cost, seconds in (("a", 1000, 1), ("b", 3000, 2)):
            id_ = f"{arm}{number}"
            subject = replace(SUBJECT, arm=f"tone/{arm}", end_user=f"user {id_}")
            entries.append(finished(id_, subject=subject, cost=cost))
            fell_back = arm == "a" and number < 4
            duration = seconds * 1_000_000
            entries.append(ended(id_, subject=subject, fell_back=fell_back, duration=duration))
            if number < 32:
                scores += [(id_, "human_rating", 0.9 if arm == "b" else 0.3), (id_, "relevance", 0.5)]
    gone = replace(SUBJECT, arm="tone/a")
    entries.append(ended("gone", subject=gone, result="cancelled"))
    await database.transact(lambda: take(entries, database.dialect))
    await database.transact(script(Statement(_SCORE, scores)))


async def test_calls_count_for_the_arm_that_they_were_given_to(database: Database) -> None:
    await migrate(database)
    await fill(database)
    first, second = await arms(database, 0)
    assert (first.name, first.calls, first.units, first.failures) == ("tone/a", 40, 40, 4)
    assert (second.name, second.calls, second.failures) == ("tone/b", 40, 0)
    assert (first.scores.n, round(first.scores.mean, 9), round(second.scores.mean, 9)) == (32, 0.4, 0.7)
    assert (first.costs.mean, second.costs.mean, second.seconds.mean) == (1000, 3000, 2.0)
    assert await arms(database, BEGIN + 1) == []


def told(folder: Path, capsys: pytest.CaptureFixture[str], **weights: int) -> str:
    groups = "".join(f"{arm}: [embedded], " for arm in weights)
    shares = "".join(f"{arm}: {weight}, " for arm, weight in weights.items())
    path = folder / "trunkline.yaml"
    path.write_text(
        f"ledger: {{url: 'sqlite:///{folder}/ledger.db'}}\n"
        f"experiments: {{tone: {{arms: {{{shares}}}, groups: {{{groups}}}}}}}\n"
    )
    assert run(["experiments", "--config", str(path)]) == 0
    return capsys.readouterr().out


async def _filled(path: Path) -> None:
    database = open_database(f"sqlite:///{path}")
    await migrate(database)
    await fill(database)
    await database.aclose()


def test_the_command_tells_each_arm_with_intervals_and_who_has_won(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    asyncio.run(_filled(tmp_path / "ledger.db"))
    out = told(tmp_path, capsys, a=1, b=1)
    assert "10.0% [4.0%, 23.1%]" in out
    assert "0.400 [0.400, 0.400]" in out
    assert "tone: b is the best by score (wrong with at most 5.0%)" in out
    assert "rely on no figure" not in out
    assert "rely on no figure" in told(tmp_path, capsys, a=1, b=9)
    assert "too early to say" in told(tmp_path, capsys, a=1, b=1, c=1)


async def test_what_a_call_cost_is_not_known_while_an_attempt_of_it_is_open(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    await migrate(database)
    subject = replace(SUBJECT, arm="tone/a")
    entries: list[AttemptRow | CallRow] = [
        begun("c", 1, subject=subject),
        finished("c", 2, subject=subject),
        ended("c", attempts=2, subject=subject),
    ]
    await database.transact(lambda: take(entries, database.dialect))
    (arm,) = await arms(database, BEGIN - 1)
    assert (arm.calls, arm.costs.n) == (1, 0)
    await database.transact(lambda: take([finished("c", 1, subject=subject)], database.dialect))
    (arm,) = await arms(database, BEGIN - 1)
    assert arm.costs.n == 1
    await database.aclose()
