"""The TypeScript client: its stubs are those of the contract, and its README's lines work in an empty folder."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matrix.cases import HELLO
from matrix.house import house

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@pytest.mark.timeout(300)
@pytest.mark.skipif(not (CLIENT / "dist").exists(), reason="`make .tools/typescript` builds the client")
async def test_the_lines_of_the_readme_stream_an_answer_in_an_empty_folder(tmp_path: Path) -> None:
    lines, hello, start = re.findall(
        r"^```\w+\n(.*?)^```", (CLIENT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )[:3]
    assert len((lines + hello + start).splitlines()) <= 15
    (packed := tmp_path / "packed").mkdir()
    await run(f"npm pack --silent --pack-destination {packed}", CLIENT, {})
    [package] = packed.iterdir()
    (empty := tmp_path / "empty").mkdir()
    (empty / hello.split()[1]).write_text(hello)
    # Where it is not published it comes from a file.
    commands = (lines + start).replace("$ ", "").replace("@trunkline/client", f"{package} --ignore-scripts")
    async with house(tmp_path) as at:
        printed = await run(f"set -e\n{commands}", empty, at.environment)
    assert printed.endswith(HELLO)


async def run(commands: str, folder: Path, environment: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_shell(
        commands, cwd=folder, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()
