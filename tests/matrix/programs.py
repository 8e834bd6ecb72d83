"""The programs of the languages: built, run, and what they said."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.cases import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

# What has to be installed, by the language's folder below clients.
TOOLCHAINS = {"python": "python3", "go": "go", "typescript": "npm", "java": "mvn"}
# Seconds: to build, the first time with everything that has to be fetched; and to run all cases.
BUILDING = 900.0
RUNNING = 120.0


@dataclass
class Row:
    """What a program says of one case."""

    case: str
    ok: bool
    value: Any
    why: str = ""
    # Of a load: how many calls were made.
    calls: int = 0


@dataclass
class Said:
    """What a program said."""

    rows: list[Row] = field(default_factory=list)
    # Why there is nothing, or not everything.
    broken: str = ""


def missing(language: str) -> str:
    """Why a language cannot be run here; empty if it can."""
    if not (ROOT / "clients" / language / "matrix").exists():
        return f"there is no clients/{language}/matrix"
    tool = TOOLCHAINS[language]
    return "" if shutil.which(tool) else f"{tool} is not installed"


async def build(language: str) -> str:
    """Compile, lint and test the language's client. What went wrong, or nothing."""
    script = ROOT / "clients" / language / "build"
    if not script.exists():
        return ""
    process = await asyncio.create_subprocess_exec(
        script,
        cwd=script.parent,
        env=_environment({}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), BUILDING)
    except TimeoutError:
        process.kill()
        return f"not built within {BUILDING:.0f} s"
    return f"exit code {process.returncode}\n{out.decode()}" if process.returncode else ""


async def run(language: str, environment: Mapping[str, str], seconds: float = RUNNING) -> Said:
    """Run the language's program to its end."""
    program = ROOT / "clients" / language / "matrix"
    process = await asyncio.create_subprocess_exec(
        program,
        cwd=program.parent,
        env=_environment(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        return Said(broken=f"not done within {seconds:.0f} s")
    broken = f"exit code {process.returncode}\n{errors.decode()}" if process.returncode else ""
    return read(out.decode(), broken)


def read(lines: str, broken: str = "") -> Said:
    """The rows of what a program printed."""
    said = Said(broken=broken)
    for line in lines.splitlines():
        try:
            said.rows.append(Row(**json.loads(line)))
        except (TypeError, ValueError):
            said.broken = f"{said.broken}\nnot a row: {line[:200]}".strip()
    return said


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Of this process, with its own Python first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **more}
