"""What clients/README.md shows: programs in an empty folder, and pieces of the examples."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from matrix.cases import ROOT
from processes import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

README = ROOT / "clients/README.md"
# Where its programs look for a gateway, and what the model that they ask says.
ADDRESS = "127.0.0.1:50051"
ANSWER = "Mock response"
LINES = 15
# Languages without a client of ours, and what they need.
OTHERS = {"rust": "cargo"}
# Seconds; the first time everything has to be fetched.
RUNNING = 600.0

_TITLES = {"python": "Python", "go": "Go", "typescript": "TypeScript", "java": "Java", "rust": "Rust"}
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"^\[[^]]+\]\(([^)]+)\)", re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A program, from an empty folder."""

    # By name.
    files: dict[str, str]
    # Lines for a shell, to be entered when the files are there.
    commands: list[str]

    def lines(self) -> int:
        """How many lines a person has to write."""
        written = [*self.commands, *(line for text in self.files.values() for line in text.splitlines())]
        return sum(bool(line.strip()) for line in written)


def section(language: str) -> str:
    """What stands of a language; empty if nothing does."""
    found = re.search(rf"^## {_TITLES[language]}\n(.*?)(?=^## |\Z)", README.read_text(), re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def project(language: str) -> Project:
    """The language's program: all blocks that stand before the first link to an example."""
    text = _LINK.split(section(language), maxsplit=1)[0]
    blocks = [(kind, name, body) for kind, name, body in _BLOCK.findall(text)]
    files = {name: body for _, name, body in blocks if name}
    commands = [line for kind, name, body in blocks if kind == "sh" and not name for line in body.splitlines()]
    return Project(files, commands)


def pieces(language: str) -> Iterator[tuple[Path, str]]:
    """The examples' files, and the pieces of them that are shown."""
    _, *parts = _LINK.split(section(language))
    for path, text in zip(parts[::2], parts[1::2], strict=True):
        for _, _, body in _BLOCK.findall(text):
            yield README.parent / path, body


def is_shown_as_it_is(path: Path, piece: str) -> bool:
    """Whether the lines stand in the file, wherever they are indented to."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    wanted = [line.strip() for line in textwrap.dedent(piece).splitlines()]
    return any(lines[at : at + len(wanted)] == wanted for at in range(len(lines)))


async def follow(language: str) -> str:
    """Do what the README says in an empty folder. What went wrong, or nothing."""
    told = project(language)
    if not told.commands:
        return "the README has nothing of it"
    if language not in OTHERS and told.lines() > LINES:
        return f"{told.lines()} lines; at most {LINES} are promised"
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "trunkline.yaml"
        configuration.write_text(yaml.safe_dump(_document(Path(folder))))
        async with listening("chaos.gateway", str(configuration)) as (_, address):
            empty = Path(folder) / "empty"
            empty.mkdir()
            for name, text in told.files.items():
                (empty / name).parent.mkdir(parents=True, exist_ok=True)
                (empty / name).write_text(text.replace(ADDRESS, address))
            return await _enter(told.commands, empty)


def _document(folder: Path) -> dict[str, object]:
    return {
        "server": {"listen": "127.0.0.1:0", "admin_listen": "", "notice": 0, "grace": 1, "auth": "none"},
        "ledger": {"url": f"sqlite:///{folder / 'ledger.sqlite3'}", "folder": str(folder / "journal")},
        "discovery": {"every": 0},
    }


async def _enter(commands: list[str], folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-ec",
        "\n".join(commands),
        cwd=folder,
        env={**os.environ, "TRUNKLINE": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), RUNNING)
    except TimeoutError:
        process.kill()
        return f"not done within {RUNNING:.0f} s"
    if process.returncode or ANSWER not in out.decode():
        return f"exit code {process.returncode}, said {out.decode()[-500:]!r}\n{errors.decode()[-2000:]}"
    return ""
