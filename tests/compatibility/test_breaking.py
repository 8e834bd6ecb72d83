"""A contract that breaks callers is caught: `protos/breaking` in a repository of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".venv-protos"
CALL = "protos/trunkline/v1/call.proto"

pytestmark = pytest.mark.skipif(not (TOOLS / "ready").exists(), reason="`make protos` sets up what reads the contract")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Our contract as the first commit of a repository."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True)


def breaking(folder: Path) -> tuple[int, str]:
    """What protos/breaking says there."""
    environment = os.environ | {"PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [folder / "protos/breaking"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode()


def change(folder: Path, before: str, after: str) -> None:
    text = (folder / CALL).read_text()
    assert before in text
    (folder / CALL).write_text(text.replace(before, after, 1))


def test_without_a_release_it_says_so(repository: Path) -> None:
    git(repository, "tag", "not-a-release")
    assert breaking(repository) == (0, "buf breaking: no release tag yet\n")


def test_what_was_not_changed_and_what_was_added_breaks_nobody(repository: Path) -> None:
    git(repository, "tag", "v0.1.0")
    assert breaking(repository) == (0, "buf breaking: nothing since v0.1.0\n")
    change(repository, "  bool hedge = 4;\n", "  bool hedge = 4;\n  // New.\n  bool brand_new = 400;\n")
    assert breaking(repository)[0] == 0


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("  bool hedge = 4;\n", "", 'field "4" with name "hedge" on message "Attempt" was deleted'),
        ("  bool hedge = 4;\n", "  bool hedge = 44;\n", 'field "4" with name "hedge" on message "Attempt" was deleted'),
        ("  bool hedge = 4;\n", "  string hedge = 4;\n", 'changed type from "bool" to "string"'),
        ("  bool hedge = 4;\n", "  bool hedged = 4;\n", 'changed name from "hedge" to "hedged"'),
        ("  PRIORITY_BATCH = 1;\n", "  PRIORITY_LATER = 1;\n", "PRIORITY_BATCH"),
    ],
    ids=["deleted", "renumbered", "retyped", "renamed", "enum value renamed"],
)
def test_what_breaks_callers_is_caught(repository: Path, before: str, after: str, said: str) -> None:
    git(repository, "tag", "v0.1.0")
    change(repository, before, after)
    code, printed = breaking(repository)
    assert code != 0
    assert said in printed
