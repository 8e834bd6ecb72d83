"""The capability fit score, by the answers that were worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import row

from trunkline.v1.call_pb2 import COMPLEXITY_COMPLEX, COMPLEXITY_MODERATE, COMPLEXITY_SIMPLE, Complexity
from trunkline_server.routing.analysis import Analysis
from trunkline_server.routing.candidates import Candidate
from trunkline_server.routing.fit import fit_score, fit_terms
from trunkline_server.routing.window import Fit, fits

# Stars of five (coding, reasoning, speed), effective prices in USD per million tokens, and windows, all of 2024.
MODELS = [
    row(f"a/{name}", coding=coding / 5, reasoning=reasoning / 5, speed=speed / 5, effective_price=price, window=window)
    for name, coding, reasoning, speed, price, window in (
        ("gpt-4-turbo", 5, 5, 3, 15, 128_000),
        ("claude-3-opus", 5, 5, 2, 30, 200_000),
        ("claude-3-5-sonnet", 5, 4, 4, 6, 200_000),
        ("gemini-1.5-pro", 4, 4, 4, 2, 2_097_152),
        ("qwen-2.5-coder", 5, 3, 5, 0.50, 131_072),
        ("deepseek-coder", 4, 3, 4, 0.50, 128_000),
        ("llama-3-70b", 4, 4, 3, 0.50, 8_192),
    )
]


def ranked(analysis: Analysis) -> list[tuple[str, float]]:
    held = [each for each in MODELS if fits(analysis.input_tokens, each) is not Fit.TOO_LONG]
    scores = [(each.model, round(fit_score(each, analysis), 9)) for each in held]
    return sorted(scores, key=lambda score: -score[1])


@pytest.mark.parametrize(
    ("coding", "complexity", "winner", "after"),
    [
        (True, COMPLEXITY_COMPLEX, ("gpt-4-turbo", 0.815), ("claude-3-5-sonnet", 0.782)),
        (False, COMPLEXITY_COMPLEX, ("gpt-4-turbo", 0.615), ("claude-3-5-sonnet", 0.582)),
        (False, COMPLEXITY_SIMPLE, ("qwen-2.5-coder", 0.6185), ("claude-3-5-sonnet", 0.582)),
        (True, COMPLEXITY_SIMPLE, ("qwen-2.5-coder", 0.8185), ("claude-3-5-sonnet", 0.782)),
        (False, COMPLEXITY_MODERATE, ("claude-3-5-sonnet", 0.422), ("qwen-2.5-coder", 0.4185)),
    ],
    ids=["coding-heavy and complex", "complex", "simple", "simple and coding-heavy", "plain"],
)
def test_the_worked_answers(
    coding: bool, complexity: Complexity.ValueType, winner: tuple[str, float], after: tuple[str, float]
) -> None:
    first, second, *_ = ranked(Analysis(1000, coding=coding, complexity=complexity))
    assert first == winner
    assert second == after


def test_of_half_a_million_tokens_only_one_window_is_large_enough() -> None:
    only = ranked(Analysis(500_000, coding=False, complexity=COMPLEXITY_MODERATE))
    assert only == [("gemini-1.5-pro", 0.394)]


def test_nobody_wins_by_what_is_not_known() -> None:
    plain = Analysis(1, coding=False, complexity=COMPLEXITY_MODERATE)
    assert fit_score(row("a/b"), plain) == pytest.approx(-0.3)
    assert fit_terms(row("a/b", effective_price=0.0), plain) == (0, 0, 0, 0)


shares = st.floats(0, 1)


models = st.builds(
    lambda coding, reasoning, speed, price: row(
        "a/b", coding=coding, reasoning=reasoning, speed=speed, effective_price=price
    ),
    shares,
    shares,
    shares,
    st.floats(0, 200),
)
analyses = st.builds(
    lambda coding, complexity: Analysis(1, coding=coding, complexity=complexity),
    st.booleans(),
    st.sampled_from([COMPLEXITY_SIMPLE, COMPLEXITY_MODERATE, COMPLEXITY_COMPLEX]),
)


@given(models, analyses, shares, st.floats(0, 50))
def test_better_never_scores_less_and_dearer_never_more(
    model: Candidate, analysis: Analysis, more: float, dearer: float
) -> None:
    score = fit_score(model, analysis)
    for name in ("coding", "reasoning", "speed"):
        better = max(more, getattr(model, name))
        assert fit_score(replace(model, **{name: better}), analysis) >= score
    price = model.effective_price
    assert price is not None
    assert fit_score(replace(model, effective_price=price + dearer), analysis) <= score
