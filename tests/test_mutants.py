"""Every planted bug can still be planted; `make mutants` shows that each is found, which takes minutes."""

from __future__ import annotations

import ast

import pytest
from mutants.catalogue import MUTANTS, Mutant
from mutants.plant import ROOT, planted, verdict


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_fits_the_code(mutant: Mutant) -> None:
    ast.parse(planted(mutant))
    assert all((ROOT / "tests" / test).is_file() for test in mutant.tests)


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_one_is_found_and_a_change_that_is_no_bug_is_not() -> None:
    """The harness itself: it must be able to say both."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "pacer keeps the last deadline")
    assert verdict(mutant) == ""
    same = Mutant("no bug", mutant.file, mutant.right, f"{mutant.right}  # the same", mutant.tests)
    assert verdict(same) == "SURVIVED"
