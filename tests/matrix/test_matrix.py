"""The README shows what the examples do, doctored results are seen, and the Python client passes every case."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from chaos.records import Held
from matrix import readme
from matrix.__main__ import try_out
from matrix.cases import EXPECTED, LOAD
from matrix.load import growth, leaks, results
from matrix.programs import TOOLCHAINS, Said, missing, read
from matrix.verdicts import judge, table

MIB = 1 << 20


def said(**doctored: Any) -> Said:
    rows = [{"case": case, "ok": True, "value": copy.deepcopy(value)} for case, value in EXPECTED.items()]
    for row in rows:
        row.update(doctored.get(str(row["case"]), {}))
    return read("\n".join(json.dumps(row) for row in rows))


def wrong(told: dict[str, str]) -> set[str]:
    return {case for case, why in told.items() if why}


def test_what_was_expected_passes() -> None:
    told = judge(said(), [0.1, 0.2])
    assert wrong(told) == set()
    assert "FAILED" not in table({"python": told}, {})


@pytest.mark.parametrize(
    ("case", "row"),
    [
        ("unary", {"ok": False}),
        ("stream", {"value": {"text": "Hello", "completed": 1}}),
        ("usage", {"value": {"calls": 1}}),
        ("tools", {"value": {}}),
        ("golden", {"value": EXPECTED["golden"] | {"event_heartbeat": {"heartbeat": {"x": 1}}}}),
        ("error_details", {"value": EXPECTED["error_details"][:1]}),
    ],
)
def test_what_differs_is_seen(case: str, row: dict[str, Any]) -> None:
    told = judge(said(**{case: row}), [0.1])
    assert wrong(told) == {case}
    assert "FAILED python " + case in table({"python": told}, {"cobol": "not installed"})


def test_a_case_that_is_missing_or_comes_twice_is_seen() -> None:
    once = said()
    assert wrong(judge(Said([row for row in once.rows if row.case != "tls"]), [0.1])) == {"tls"}
    assert wrong(judge(Said([*once.rows, once.rows[0]]), [0.1])) == {"unary"}
    assert wrong(judge(read("panic: no"), [0.1])) == EXPECTED.keys()


@pytest.mark.parametrize("closings", [[], [None], [0.201], [0.1, None]])
def test_a_connection_that_stays_open_is_seen(closings: list[float | None]) -> None:
    assert wrong(judge(said(), closings)) == {"cancel"}


def loaded(**row: Any) -> Said:
    return read(json.dumps({"case": "load", "ok": True, "value": LOAD, "calls": 9} | row))


def test_a_load_is_judged() -> None:
    assert results(loaded()) == ""
    assert results(loaded(ok=False, why="no"))
    assert results(loaded(value=LOAD | {"unary": ["a", "b"]}))
    assert results(Said(broken="killed"))


def test_what_is_left_behind_is_seen() -> None:
    before = Held(tasks={"a": 2}, registered=1, files=9, sockets=4, queued=0, memory=1)
    assert leaks(before, before) == []
    for more in ({"tasks": {"a": 3}}, {"registered": 2}, {"sockets": 5}):
        assert len(leaks(before, before._replace(**more))) == 1


def test_memory_that_grows_is_seen() -> None:
    assert growth([50 * MIB] * 10 + [90 * MIB] * 50) == []
    assert growth([90 * MIB + second * MIB for second in range(60)])


@pytest.mark.parametrize("language", [each for each in TOOLCHAINS if readme.section(each)])
def test_the_readme_shows_the_examples_as_they_are(language: str) -> None:
    shown = list(readme.pieces(language))
    assert len(shown) >= 6
    assert [piece for path, piece in shown if not readme.is_shown_as_it_is(path, piece)] == []
    assert readme.project(language).lines() <= readme.LINES


def test_every_client_is_in_the_readme() -> None:
    there = [each for each in TOOLCHAINS if not missing(each).startswith("there is no")]
    assert [each for each in there if not readme.section(each)] == []


async def test_the_python_client_passes_every_case() -> None:
    told = await try_out("python")
    assert wrong(told) == set(), table({"python": told}, {})
