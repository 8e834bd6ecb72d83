"""C# from the descriptor set, as clients/README.md says: that of the release, and that of a gateway's reflection."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gateway import gateway, settings_of
from test_operators import run_tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parent.parent.parent
BUF = ROOT / ".venv-protos/bin/buf"
# It makes C# of the services, and is in a NuGet package only. Without it what protoc makes is looked at: the messages.
PLUGIN = "grpc_csharp_plugin"
SERVICES = r"--grpc_out=\S+ --plugin=\S+"


async def of_the_release(folder: Path) -> None:
    if not BUF.exists():
        pytest.skip("`make protos` sets up what reads the contract")
    await run(f"{BUF} build protos --as-file-descriptor-set -o {folder}/trunkline.binpb", ROOT)


async def of_reflection(folder: Path) -> None:
    async with gateway(settings_of(folder, {})) as running:
        out = ("-plaintext", "-protoset-out", f"{folder}/trunkline.binpb")
        code, printed = await run_tool("grpcurl", *out, running.address, "describe")
    assert code == 0, printed


@pytest.mark.parametrize("write", [of_the_release, of_reflection])
async def test_csharp_is_generated(write: Callable[[Path], Awaitable[None]], tmp_path: Path) -> None:
    (told,) = re.findall(r"^protoc .*\\\n.*$", (ROOT / "clients/README.md").read_text(), re.MULTILINE)
    command = told if shutil.which(PLUGIN) else re.sub(SERVICES, "", told)
    tools = with_protoc(tmp_path)
    await write(tmp_path)
    await run(command.replace(f"={PLUGIN}", f"={shutil.which(PLUGIN)}"), tmp_path, tools)
    _judge(tmp_path)


def _judge(folder: Path) -> None:
    generated = {path.name for path in folder.glob("*.cs")}
    assert generated >= {"Call.cs", "Content.cs", "Model.cs", "GatewayService.cs"}
    assert not shutil.which(PLUGIN) or "GatewayServiceGrpc.cs" in generated
    assert "public string Prompt {" in (folder / "GatewayService.cs").read_text()


def with_protoc(folder: Path) -> str:
    """A PATH with protoc: the installed one, or the one that Maven fetched for Java."""
    if shutil.which("protoc"):
        return os.environ["PATH"]
    fetched = sorted((Path.home() / ".m2/repository/com/google/protobuf/protoc").glob("*/protoc-*-linux-x86_64.exe"))
    if not fetched:
        pytest.skip("protoc is not installed, nor fetched for Java: `make check` does that")
    (folder / "bin").mkdir()
    shutil.copy(fetched[-1], folder / "bin/protoc")
    (folder / "bin/protoc").chmod(0o755)
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


async def run(command: str, folder: Path, path: str = os.environ["PATH"]) -> None:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
