"""Plant bugs in a copy of the server, one at a time, and see whether the tests notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mutants.catalogue import MUTANTS, SERVER, Mutant

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "server" / SERVER
# What pytest says: all passed, some failed.
PASSED, FAILED = 0, 1


def planted(mutant: Mutant, source: Path = SOURCE) -> str:
    """The text of the file with the bug in it. Raises ValueError unless what is to be replaced stands there once."""
    text = (source / mutant.file).read_text()
    if text.count(mutant.right) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} has {text.count(mutant.right)} times {mutant.right!r}")
    return text.replace(mutant.right, mutant.wrong)


@contextmanager
def a_copy(mutant: Mutant | None) -> Iterator[Path]:
    """A folder with the server in it, and perhaps a bug."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / SERVER
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            (copy / mutant.file).write_text(planted(mutant))
        yield Path(folder)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the copy before the server itself."""
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def run_tests(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Stops at the first failure; what hangs counts as one, but not a database that takes its time to go."""
    quiet = ("-p", "no:cacheprovider", "--hypothesis-seed=0", "-n0", "-x", "-q")
    limited = ("--timeout=120",)  # a database may take half a minute to go
    return run(folder, "-m", "pytest", *quiet, *limited, *(f"tests/{test}" for test in tests))


def check_the_copy_is_used() -> None:
    """Else every mutant would survive, and without any every test would pass."""
    with a_copy(None) as folder:
        found = run(folder, "-c", f"import {SERVER}; print({SERVER}.__file__)").stdout
        if not found.startswith(str(folder)):
            raise SystemExit(f"tests would run on {found.strip()} and not on the copy")
        tests = tuple(dict.fromkeys(test for mutant in MUTANTS for test in mutant.tests))
        untouched = run_tests(folder, tests)
        if untouched.returncode != PASSED:
            raise SystemExit(f"the tests fail without any bug:\n{untouched.stdout[-3000:]}")


def verdict(mutant: Mutant) -> str:
    """Empty = the tests found it."""
    with a_copy(mutant) as folder:
        result = run_tests(folder, mutant.tests)
    if result.returncode == FAILED:
        return ""
    return (
        "SURVIVED" if result.returncode == PASSED else f"pytest ended with {result.returncode}: {result.stdout[-500:]}"
    )


def main(only: str = "") -> int:
    """Plant all whose name has `only` in it. Returns how many were not found."""
    chosen = [mutant for mutant in MUTANTS if only in mutant.name]
    check_the_copy_is_used()
    with ThreadPoolExecutor(max_workers=2) as pool:
        verdicts = list(pool.map(verdict, chosen))
    for mutant, said in zip(chosen, verdicts, strict=True):
        print(f"{said or 'found':10} {mutant.name}")
    missed = sum(map(bool, verdicts))
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs were found")
    return missed
