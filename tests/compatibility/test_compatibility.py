"""Programs with clients of another time, and with libraries of another time, are served by today's gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from matrix.cases import HELLO
from matrix.house import house

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / ".tools/clients"
STUBS = {
    "text": HELLO,
    "finish_reason": "FINISH_REASON_STOP",
    "streamed": HELLO,
    "last": "completed",
    "state": 1,
    "calls": True,
    "models": True,
}
CLIENT = {
    "text": HELLO,
    "streamed": HELLO,
    "whole": HELLO,
    "error": "InvalidRequest",
    "reason": "INVALID_REQUEST",
    "fields": ["config.temperature"],
}


def floors() -> Mapping[str, str]:
    """The oldest libraries that the client allows."""
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    return dict(re.findall(r"^([a-z-]+)>=([\d.]+)", "\n".join(project["dependencies"]), re.MULTILINE))


def test_the_oldest_libraries_are_those_that_the_stubs_were_made_for() -> None:
    stubs = ROOT / "clients/python/trunkline/v1"
    protobuf = {
        re.findall(r"^# Protobuf Python Version: (.*)$", stub.read_text(), re.MULTILINE)[0]
        for stub in stubs.glob("*_pb2.py")
    }
    grpcio = {
        re.findall(r"^GRPC_GENERATED_VERSION = '(.*)'$", stub.read_text(), re.MULTILINE)[0]
        for stub in stubs.glob("*_pb2_grpc.py")
    }
    assert (protobuf, grpcio) == ({floors()["protobuf"]}, {floors()["grpcio"]})


async def test_the_previous_client_is_served(tmp_path: Path) -> None:
    told = await calls(environment("previous"), tmp_path)
    assert (told["stubs"], told["client"]) == (STUBS, CLIENT)


async def test_the_client_runs_on_the_oldest_libraries_that_it_allows(tmp_path: Path) -> None:
    told = await calls(environment("oldest"), tmp_path)
    assert told["libraries"] == {name: floors()[name] for name in ("protobuf", "grpcio")}
    assert (told["stubs"], told["client"]) == (STUBS, CLIENT)


async def test_the_client_runs_on_the_newest_libraries_that_it_allows(tmp_path: Path) -> None:
    told = await calls(Path(sys.executable), tmp_path)
    assert told["libraries"]["protobuf"].startswith("7.")
    assert (told["stubs"], told["client"]) == (STUBS, CLIENT)


def environment(name: str) -> Path:
    """Its Python."""
    if not (ENVIRONMENTS / name / "which").exists():
        pytest.skip("`make .tools/clients/ready` makes the environment")
    return ENVIRONMENTS / name / "bin/python"


async def calls(python: Path, folder: Path) -> Mapping[str, Any]:
    """What calls.py says when this Python runs it against a gateway."""
    async with house(folder) as at:
        process = await asyncio.create_subprocess_exec(
            python,
            "-P",
            Path(__file__).parent / "calls.py",
            env={**os.environ, **at.environment},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
    assert process.returncode == 0
    told: Mapping[str, Any] = json.loads(printed)
    return told
