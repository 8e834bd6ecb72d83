"""What the documents show of grpcurl, buf curl and grpc_health_probe is what these print."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from certificates import Authority
from gateway import gateway, settings_of
from keyed import keyed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "server").glob("*.md"),
    *(ROOT / "clients").glob("*.md"),
    *(ROOT / "clients").glob("*/*.md"),
]
INSTALLED = {
    "grpcurl": ROOT / ".tools/bin/grpcurl",
    "grpc_health_probe": ROOT / ".tools/bin/grpc-health-probe",
    "buf": ROOT / ".venv-protos/bin/buf",
}
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\.\.\.|[^\s"]')
_CALL_ID = re.compile(r'"[0-9a-f]{28}"')


class Transcript(NamedTuple):
    """A command, and what is shown of what it prints; nothing, if it is not shown."""

    command: str
    shown: str


def transcripts() -> Iterator[Transcript]:
    """All of them."""
    for document in DOCUMENTS:
        for block in _BLOCK.findall(document.read_text()):
            for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, shown = entry.partition("\n")
                if command.split()[0] in INSTALLED:
                    yield Transcript(command, shown)


def matches(shown: str, printed: str) -> bool:
    """Whether this was printed, apart from white space, what `...` stands for, and ids of calls."""
    wanted = "".join(map(_pattern, _TOKEN.findall(re.sub(r",?\s*\.\.\.,?", "...", shown))))
    return re.fullmatch(wanted, "".join(_TOKEN.findall(printed)), re.DOTALL) is not None


def _pattern(token: str) -> str:
    if token == "...":
        return ".*"
    return _CALL_ID.pattern if _CALL_ID.fullmatch(token) else re.escape(token)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the tools, by the names that they have in the documents."""
    (folder := tmp_path / "tools").mkdir()
    for name, tool in INSTALLED.items():
        if not tool.exists():
            pytest.skip(f"{name} is not installed: make test installs it where Go is")
        (folder / name).symlink_to(tool)
    return folder


@pytest.mark.parametrize("transcript", [*transcripts()], ids=lambda transcript: transcript.command[:60])
async def test_it_is_printed(transcript: Transcript, tools: Path, tmp_path: Path) -> None:
    authority = Authority.new(tmp_path)
    (secure := tmp_path / "secure").mkdir()
    async with (
        gateway(settings_of(tmp_path, {})) as plain,
        keyed(secure, {"server": {"tls": authority.server()}}) as world,
    ):
        meant = {
            "localhost:50051": plain.address,
            "gateway:50051": f"localhost:{world.running.app.port}",
            "tl_...": await world.key(),
            "ca.pem": str(tmp_path / "ca.pem"),
        }
        code, printed = await run(transcript.command, meant, tools, tmp_path)
    assert code == 0, printed
    assert not transcript.shown or matches(transcript.shown, printed), printed


async def run(command: str, meant: Mapping[str, str], tools: Path, folder: Path) -> tuple[int | None, str]:
    for shown, real in meant.items():
        command = command.replace(shown, real)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        cwd=folder,
        env=os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


def test_every_tool_is_shown() -> None:
    assert {transcript.command.split()[0] for transcript in transcripts() if transcript.shown} == set(INSTALLED)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ('{ "a": "b c", ... }', '{\n "a": "b c",\n "d": 1\n}', True),
        ('{ ..., "d": 1 }', '{"a": 2, "d": 1}', True),
        ('{ "id": "01a1fdeb88898b7e77a99a89b678" }', '{"id":"01a2247ddf2944465086297f95bd"}', True),
        ('{ "a": "b c" }', '{"a": "bc"}', False),
        ('{ "a": 1 }', '{"a": 1, "d": 1}', False),
        ('{ "a": 1, ... }', '{"a": 2, "d": 1}', False),
    ],
)
def test_what_was_not_printed_is_seen(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
