"""The book against a source that it was not built from, and the package against floats."""

from __future__ import annotations

import ast
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

import trunkline_server.prices as package
from pricebook.check import DECIDED, compare, read_table, undecided_and_stale

EXTRACT = Path(__file__).parent / "litellm_extract.json"
TABLE = read_table(EXTRACT)
DECISIONS = tomllib.loads(DECIDED.read_text())
WHEN = int(DECISIONS["as_of"].timestamp())
LINES = {line for decision in DECISIONS["decision"] for line in decision["models"]}


def test_each_disagreement_is_decided_by_name_and_each_decision_is_needed() -> None:
    found = compare(TABLE, WHEN)
    assert undecided_and_stale(found.disagreements, LINES) == ([], [])
    assert found.counts["agree"] > 60
    assert len(LINES) == len(found.disagreements)


def test_decisions_have_a_reason_and_a_source() -> None:
    assert all(len(each["reason"]) > 20 and each["source"] and each["models"] for each in DECISIONS["decision"])


@pytest.mark.parametrize("change", ["input_cost_per_token", "cache_read_input_token_cost"])
def test_another_figure_is_a_new_disagreement(change: str) -> None:
    """On an agreed model, and on a decided one: then the old decision is stale, too."""
    agreed, decided = "amazon.titan-text-express-v1", "anthropic.claude-3-opus-20240229-v1:0"
    changed = {name: dict(each) for name, each in TABLE.items()}
    for name in (agreed, decided):
        changed[name][change] = Decimal("0.000123")
    undecided, stale = undecided_and_stale(compare(changed, WHEN).disagreements, LINES)
    assert [line.split(": ")[0] for line in undecided] == [f"bedrock/{agreed}", f"bedrock/{decided}"]
    assert [line.split(": ")[0] for line in stale] == [f"bedrock/{decided}"]


@pytest.mark.parametrize("path", sorted(Path(package.__path__[0]).glob("*.py")), ids=lambda path: path.name)
def test_nothing_in_the_package_is_a_float(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float | complex)), node.lineno
        assert not (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)), node.lineno
        assert not (isinstance(node, ast.Name) and node.id in {"float", "Decimal", "round", "pow"}), node.lineno
        assert not (isinstance(node, ast.Import | ast.ImportFrom) and "decimal" in ast.unparse(node)), node.lineno
        assert not (isinstance(node, ast.Import | ast.ImportFrom) and "math" in ast.unparse(node)), node.lineno
