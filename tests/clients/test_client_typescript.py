"""The TypeScript client's stubs are those of the contract."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CLIENT = ROOT / "clients/typescript"
TOOLS = ROOT / ".venv-protos"

pytestmark = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")


def stubs(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.ts")}


@pytest.mark.timeout(300)
@pytest.mark.skipif(not (TOOLS / "ready").exists(), reason="`make protos` sets up what generates the stubs")
def test_the_committed_stubs_are_those_of_the_contract(tmp_path: Path) -> None:
    path = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([CLIENT / "generate", tmp_path], check=True, env=os.environ | {"PATH": path})
    generated, committed = stubs(tmp_path), stubs(CLIENT / "src/generated")
    assert sorted(committed) == sorted(generated)
    assert [name for name in generated if generated[name] != committed[name]] == []
