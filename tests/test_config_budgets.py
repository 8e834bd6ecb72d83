"""Budgets in the configuration: read exactly, and refused with the field and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from trunkline_server import config

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings.budgets import BudgetSettings


NOBODY = "perhaps it is about no call, for nobody is known to answer to this name"


def loaded(tmp_path: Path, **said: Any) -> BudgetSettings:
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump({"budgets": {"b": {"limit": 5, "period": "total", **said}}}))
    return config.load(path, {}).budgets["b"]


def problems(tmp_path: Path, **said: Any) -> list[str]:
    with pytest.raises(config.ConfigError) as refused:
        loaded(tmp_path, **said)
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("said", "nano"),
    [
        (500, 500 * 10**9),
        (0, 0),
        ("12.50", 12_500_000_000),
        ("0.000000001", 1),
        ("999999999.999999999", 999_999_999_999_999_999),
        ("123456789.123456789", 123_456_789_123_456_789),
    ],
)
def test_money_is_read_exactly(tmp_path: Path, said: object, nano: int) -> None:
    assert loaded(tmp_path, limit=said).limit == nano


@pytest.mark.parametrize("said", [0.1, "-1", "1.0000000001", "1e3", "much", True, 10**9])
def test_what_is_no_money_is_refused(tmp_path: Path, said: object) -> None:
    (problem,) = problems(tmp_path, limit=said)
    assert problem.startswith('budgets.b.limit: expected USD such as 500 or "12.50"')


@pytest.mark.parametrize("zone", ["", "Atlantis", "Europe", "../etc/passwd"])
def test_days_are_somebodys(tmp_path: Path, zone: str) -> None:
    (problem,) = problems(tmp_path, period="daily", time_zone=zone)
    assert problem == "budgets.b.time_zone: expected whose days are meant: an IANA name such as UTC or Europe/Vienna"


def test_a_total_has_no_days(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, time_zone="UTC")
    assert problem.startswith("budgets.b.time_zone: expected nothing here")


def test_a_provider_has_to_be_there(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, provider="embeded")
    assert "did you mean embedded?" in problem
    assert loaded(tmp_path, provider="*", workspace="*", labels={"team": "*"}).kind == "hard"


@pytest.mark.parametrize(
    ("model", "warned"),
    [
        ("mock-fast", []),
        ("mock/mock-fast", []),
        ("*", []),
        ("openai/an-id-of-tomorrow", []),
        (
            "mock-fsat",
            [f"budgets.b.model: {NOBODY}; did you mean mock-fast?"],
        ),
        ("quick", ["budgets.b.model: it is about no call, for it is another name of mock/mock-fast: say that"]),
        ("mock", ["budgets.b.model: it is about no call, for it is another name of mock/mock-fast: say that"]),
    ],
)
def test_a_model_that_no_call_goes_to_is_told_of(tmp_path: Path, model: str, warned: list[str]) -> None:
    """A budget that counts nothing lets everything through."""
    path = tmp_path / "trunkline.yaml"
    said = {"budgets": {"b": {"limit": 5, "period": "total", "model": model}}, "aliases": {"quick": "mock/mock-fast"}}
    path.write_text(yaml.safe_dump(said))
    assert [*config.warnings_of(config.load(path, {"OPENAI_API_KEY": "sk-0123456789abcdefghij"}))] == warned
