"""The replay's figures are right, and it takes tables of every kind."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from bench_routing.__main__ import main
from bench_routing.figures import Point, Scale, curve, hull, interval
from bench_routing.replay import Replay
from bench_routing.table import BadTable, read_table

if TYPE_CHECKING:
    from pathlib import Path


def rows(models: int, n: int, *, tasks: bool, latency: bool, split: bool) -> list[dict[str, Any]]:
    """Prompts of two kinds; one half of the models is good at each, and the later ones are dearer and a bit better.

    None is as good as another: who is asked, and so what it costs, would else be chance.
    """
    draw, found = random.Random(models * n), []
    names = [f"m{number:02}" for number in range(models)]
    for number in range(n):
        kind = draw.randrange(2)
        text = f"def f{number}(x):\n  return {{x}}" if kind else f"Who was number {number}?"
        right = [0.75 + 0.2 * place / models if place % 2 == kind else 0.3 for place in range(models)]
        row: dict[str, Any] = {
            "prompt": text,
            "task": ("code" if kind else "people") if tasks else "",
            "score": {name: float(draw.random() < p) for name, p in zip(names, right, strict=True)},
            "cost_nano_usd": {name: 1000 * (place + 1) for place, name in enumerate(names)},
        }
        if latency:
            row["latency_seconds"] = {name: 0.5 + place for place, name in enumerate(names) if draw.random() < 0.7}
        if split:
            row["split"] = "test" if number % 4 == 0 else "train"
        found.append(row)
    return found


def written(folder: Path, lines: list[dict[str, Any]], name: str = "t.jsonl") -> Path:
    path = folder / name
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("models", "tasks", "latency", "split", "name"),
    [(2, True, False, True, "t.jsonl"), (9, False, True, False, "t.jsonl.gz"), (40, True, True, True, "t.jsonl")],
)
def test_tables_of_every_kind_are_replayed(
    models: int, tasks: bool, latency: bool, split: bool, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, rows(models, 600, tasks=tasks, latency=latency, split=split), name)
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    for what in (
        "random",
        "best single",
        "hull of singles",
        "performance_based, no labels",
        "oracle",
        "cost_optimized",
    ):
        assert what in out
    assert ("task-label table" in out) is tasks
    assert ("latency_optimized" in out) is latency


def test_kinds_of_prompts_are_told_apart_without_labels(tmp_path: Path) -> None:
    replay = Replay(read_table(written(tmp_path, rows(4, 2000, tasks=False, latency=False, split=True))))
    name = "performance_based, no labels"
    assert replay.over_best(replay.on_budget[name]).low > 0.1
    assert sum(replay.on_budget[name].costs) <= sum(replay.singles[replay.best].costs) or replay.best == "m00"


def test_test_rows_teach_nothing(tmp_path: Path) -> None:
    lines = rows(3, 800, tasks=True, latency=False, split=True)
    other = [
        {**line, "score": {model: 1 - score for model, score in line["score"].items()}}
        if line["split"] == "test"
        else line
        for line in lines
    ]
    first, second = (Replay(read_table(written(tmp_path, each))) for each in (lines, other))
    for name, swept in first.sweeps.items():
        assert [each.costs for each in swept] == [each.costs for each in second.sweeps[name]]


def test_scores_that_are_missing_are_left_out(tmp_path: Path) -> None:
    lines = rows(3, 300, tasks=True, latency=False, split=True)
    for number, line in enumerate(lines):
        if number % 3 == 0:
            line["score"]["m01"] = None
    replay = Replay(read_table(written(tmp_path, lines)))
    assert all(len(each.scores) == len(replay.table.test) for each in replay.sweeps["performance_based, labels"])


@pytest.mark.parametrize(("train", "without"), [(1, 0), (2, 0), (5, 1), (20, 4)])
def test_tables_may_be_tiny(train: int, without: int, tmp_path: Path) -> None:
    """Of the rows by which a price weight is chosen none may have the best model."""
    lines = rows(3, train + 5, tasks=True, latency=False, split=True)
    for number, line in enumerate(lines):
        line["split"] = "train" if number < train else "test"
        if train > number >= train - without:
            line["score"]["m02"] = None
    assert main([str(written(tmp_path, lines))]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1"),
        ('{"prompt": "x", "score": {"a": 2}, "cost_nano_usd": {"a": 1}}', "not from 0 to 1"),
        ('{"prompt": "x", "score": {"a": 1}}', "line 1: there is no 'cost_nano_usd'; a line is"),
        ('{"prompt": "x", "split": "test", "score": {"a": 1}, "cost_nano_usd": {"a": 1}}', "no two models in common"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_name(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(BadTable, match=said):
        read_table(path)
    assert main([str(path)]) == 1


@pytest.mark.parametrize("useful", [True, False])
def test_a_bar_that_is_missed_is_named_and_ends_with_1(
    useful: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    """Where prompts say nothing of who is right, nothing beats the best single model."""
    lines = rows(4, 2000, tasks=not useful, latency=False, split=True)
    for line in lines if not useful else ():
        line["prompt"], line["task"] = "the same", "the same"
        line["score"] = {name: float(place == 3) for place, name in enumerate(line["score"])}
    path = written(tmp_path, lines)
    monkeypatch.setattr("bench_routing.__main__.SHARED", tmp_path)
    assert main([]) == (0 if useful else 1)
    out = capsys.readouterr().out
    assert ("every bar is met" in out) is useful
    assert ("missed: t: performance_based, no labels: better than" in out) is not useful
    assert main([str(path)]) == 0


def test_without_tables_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr("bench_routing.__main__.SHARED", tmp_path)
    assert main([]) == 0
    assert "Nothing was replayed" in capsys.readouterr().out


def test_the_figures_of_a_curve() -> None:
    scale = Scale(Point(0.0, 0.5), 10.0, Point(10.0, 0.9))
    straight = curve([Point(0, 0.5), Point(10, 0.9)], scale)
    assert straight == pytest.approx((0.7, 0.5, 0.5, 0.8, 1.0))
    better = curve([Point(0, 0.5), Point(5, 0.9), Point(10, 0.9), Point(7, 0.6)], scale)
    assert better == pytest.approx((0.8, 0.75, 0.25, 0.4, 0.5))
    assert curve([Point(0, 0.5)], scale).match is None


def test_a_hull_neither_falls_nor_bends_outward() -> None:
    points = [Point(0, 0.2), Point(1, 0.1), Point(2, 0.3), Point(3, 0.9), Point(4, 0.8)]
    assert hull(points) == [Point(0, 0.2), Point(3, 0.9)]


def test_the_interval_holds_the_mean_and_narrows() -> None:
    draw = random.Random(1)
    values = [draw.gauss(0.1, 1) for _ in range(400)]
    low, high = interval(values)
    assert low < sum(values) / 400 < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert interval([0.5] * 10) == (0.5, 0.5)
