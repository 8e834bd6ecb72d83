"""Scores of models that nobody measured: from those whose place they took, and never against a measurement."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from modelbook.inherited import inherit
from trunkline_server.models.data import Score, entry_of, read_data

LINES = tomllib.loads((Path(__file__).parents[2] / "server" / "modelbook" / "lines.toml").read_text())
BOARD = "a board"


def measured(value: float) -> dict[str, Any]:
    return {"family": "x", "scores": {"coding": Score(value, BOARD)}}


def known(models: dict[str, dict[str, Any]], unlisted: dict[str, float] | None = None) -> dict[str, Score | None]:
    """What each of "table/id" has after it."""
    drafts: dict[str, dict[str, dict[str, Any]]] = {}
    for name, draft in models.items():
        table, _, id_ = name.partition("/")
        drafts.setdefault(table, {})[id_] = {"family": "x", **copy.deepcopy(draft)}
    inherit(drafts, {"coding": {name: Score(value, BOARD) for name, value in (unlisted or {}).items()}}, LINES)
    return {
        f"{table}/{id_}": draft.get("scores", {}).get("coding")
        for table, of in drafts.items()
        for id_, draft in of.items()
    }


@pytest.mark.parametrize(
    ("heir", "models", "value", "source"),
    [
        ("o/gpt-4.1-2025-04-14", {"o/gpt-4.1": measured(0.5)}, 0.5, "inherited from o/gpt-4.1"),
        (
            "b/us.anthropic.claude-opus-4-v1:0",
            {"a/claude-opus-4": measured(0.7)},
            0.7,
            "the same model as a/claude-opus-4",
        ),
        (
            "r/claude-4-opus",
            {"a/claude-opus-4-20250514": measured(0.7)},
            0.7,
            "inherited from a/claude-opus-4-20250514",
        ),
        ("f/accounts/fireworks/models/kimi-k2p5", {"m/kimi-k2": measured(0.6)}, 0.6, "inherited from m/kimi-k2"),
        (
            "g/gemini-2.5-pro",
            {"r/gemini-2.5-pro-preview-06-05": measured(0.8)},
            0.8,
            "inherited from r/gemini-2.5-pro-preview-06-05",
        ),
        # The nearest earlier generation of the same tier, over as many as there are.
        (
            "a/claude-opus-5",
            {"a/claude-opus-4": measured(0.7), "a/claude-opus-4-5": {}},
            0.7,
            "inherited from a/claude-opus-4",
        ),
        (
            "a/claude-opus-5",
            {"a/claude-opus-4": measured(0.7), "a/claude-opus-4-5": measured(0.6)},
            0.6,
            "inherited from a/claude-opus-4-5",
        ),
        # What it replaces, if that was better.
        (
            "o/gpt-6-luna",
            {"o/gpt-4.1": {**measured(0.5), "replacement": "gpt-6-luna"}, "o/gpt-5-luna": measured(0.1)},
            0.5,
            "inherited from o/gpt-4.1",
        ),
    ],
)
def test_a_model_has_the_score_of_the_one_that_it_succeeds(
    heir: str, models: dict[str, dict[str, Any]], value: float, source: str
) -> None:
    assert known({**models, heir: {}})[heir] == Score(value, f"{source}: {BOARD}")


@pytest.mark.parametrize(
    ("other", "models"),
    [
        ("o/gpt-4o-2024-05-13", {"o/gpt-4o": measured(0.2), "o/gpt-4o-2024-08-06": measured(0.2)}),  # it was before
        ("a/claude-opus-3", {"a/claude-opus-4": measured(0.7)}),  # so was this
        ("a/claude-haiku-5", {"a/claude-opus-4": measured(0.7)}),  # another tier
        ("o/gpt-5-pro", {"o/gpt-5": measured(0.8)}),
        ("r/deepseek-r1-distill-qwen-14b", {"d/deepseek-r1": measured(0.5)}),
        ("o/gpt-oss-20b", {"o/llama-3-70b": {**measured(0.5), "family": "llama", "replacement": "gpt-oss-20b"}}),
    ],
)
def test_a_model_that_succeeds_nobody_has_none(other: str, models: dict[str, dict[str, Any]]) -> None:
    assert known({**models, other: {}})[other] is None


def test_what_was_measured_of_a_model_stands() -> None:
    found = known({"a/claude-opus-4": measured(0.7), "a/claude-opus-5": measured(0.4), "a/claude-opus-5-5": {}})
    assert found["a/claude-opus-5"] == Score(0.4, BOARD)
    assert found["a/claude-opus-5-5"] == Score(0.4, "inherited from a/claude-opus-5: a board")


def test_models_that_nobody_sells_any_more_have_heirs() -> None:
    found = known({"g/gemini-2.5-pro": {}}, {"g/gemini-2.5-pro-preview-06-05": 0.8})
    assert found["g/gemini-2.5-pro"] == Score(0.8, "inherited from g/gemini-2.5-pro-preview-06-05: a board")


def test_replacements_in_a_circle_end() -> None:
    found = known({"o/a": {"replacement": "b"}, "o/b": {"replacement": "a"}, "o/gpt-5": measured(0.8)})
    assert found == {"o/a": None, "o/b": None, "o/gpt-5": Score(0.8, BOARD)}


@pytest.mark.parametrize(
    ("kind", "model", "of"),
    [
        ("openai", "gpt-6-sol", "openai/gpt-5"),
        ("openai", "gpt-6.1-terra", "openai/o4-mini"),
        ("anthropic", "claude-opus-5-5", "anthropic/claude-opus-4-20250514"),
        ("anthropic", "claude-haiku-5-5", "anthropic/claude-3-5-haiku-20241022"),
        ("gemini", "gemini-3.8-flash", "gemini/gemini-2.5-pro-preview-06-05"),
        ("xai", "grok-4.7", "xai/grok-4-0709"),
        ("bedrock", "us.anthropic.claude-opus-5-5", "anthropic/claude-opus-4-20250514"),
        ("openrouter", "moonshotai/kimi-k3", "moonshot/kimi-k2"),
    ],
)
def test_what_is_current_is_scored(kind: str, model: str, of: str) -> None:
    entry = entry_of(kind, model)
    assert entry is not None
    assert entry.scores["coding"].source.startswith(f"inherited from {of}: Aider")


def test_most_scores_are_inherited_and_say_so() -> None:
    scores = [entry.scores["coding"] for of in read_data().tables.values() for entry in of.values() if entry.scores]
    measured_here = [each for each in scores if each.source.startswith("Aider")]
    heard = [each for each in scores if each.source.startswith(("inherited from ", "the same model as "))]
    assert len(measured_here) + len(heard) == len(scores)
    assert len(measured_here) >= 50
    assert len(heard) >= 450
