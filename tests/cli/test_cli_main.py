"""The command as a whole: help, version, wrong usage, configuration, serve."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline_server import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

COMMANDS = ("serve", "demo", "generate", "health", "models", "usage", "config", "model", "providers")


def test_help_names_every_command_and_exit_code(command: Command) -> None:
    ran = command("--help")
    assert (ran.code, ran.err) == (0, "")
    words = ran.out.split()
    assert not set(COMMANDS) - set(words)
    assert not {"0", "1", "2", "3", "4", "5", "130"} - set(words)
    assert command() == (2, ran.out, "")


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"trunkline {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["generate", "a", "b"],
        ["generate", "hi", "--max-tokens", "many"],
        ["generate", "hi", "--max-tokens", "3000000000"],
        ["generate", "hi", "--timeout", "nan"],
        ["generate", "hi", "--timeout", "0"],
        ["generate", "hi", "--address", " "],
        ["generate", "hi", "--address", "\udcff"],
        ["generate", "\udcff"],
        ["generate", "hi", "--system", "\udcff"],
        ["health", "--colour"],
        ["config"],
        ["serve", "--listen", "here"],
        ["serve", "--config", "/nonexistent/trunkline.yaml"],
    ],
    ids=ascii,
)
def test_wrong_usage_is_told_in_a_line(command: Command, arguments: list[str]) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) <= 2


def test_config_check_tells_everything_that_is_wrong(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text("server: {listen: here, colour: red}\nproviders: {openai: {api_key: sk-secret-0123456789}}\n")
    ran = command("config", "check", str(path))
    assert (ran.code, ran.out) == (2, "")
    heading, *problems = ran.err.splitlines()
    assert heading == f"error: {path} cannot be used:"
    assert sorted(problem.split(": expected ")[0] for problem in problems) == [
        "  providers.openai.api_key",
        "  server.colour",
        "  server.listen",
    ]
    assert "sk-secret" not in ran.err


def test_config_check_knows_what_packages_bring(command: Command, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "odd-1.dist-info").mkdir(parents=True)
    (site / "odd-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (site / "odd-1.dist-info" / "entry_points.txt").write_text("[trunkline.providers]\nodd = odd_brought:PROVIDER\n")
    (site / "odd_brought.py").write_text(
        "from trunkline_server.extending import Provider\nPROVIDER = Provider(handle=print, models=['m-1'])\n"
    )
    path = tmp_path / "trunkline.yaml"
    path.write_text("providers: {odd: {base_url: 'https://odd.example'}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        ran = command("config", "check", str(path))
    sys.modules.pop("odd_brought")
    assert (ran.code, ran.err) == (0, "")
    assert "odd\todd\t-\tm-1\thttps://odd.example\t-" in ran.out.splitlines()


def test_config_check_sums_up_without_secrets(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-0123456789")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trunkline.yaml").write_text(
        "default_model: fast\naliases: {fast: openai/gpt-4o-mini}\n"
        "providers: {openai: {api_key: 'env:MY_KEY', headers: {x-team: red}}, old: {kind: openai, enabled: false}}\n"
    )
    ran = command("config", "check")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert lines[0][0].startswith("trunkline.yaml: right (configuration ")
    assert ["default model: fast"] in lines
    assert ["fast", "openai/gpt-4o-mini"] in lines
    assert ["openai", "openai", "***", "gpt-4o-mini", "https://api.openai.com/v1", "-"] in lines
    assert ["old", "openai", "-", "-", "https://api.openai.com/v1", "it is not enabled"] in lines
    assert "secret" not in ran.out
    assert "red" not in ran.out.split()


def test_a_taken_port_is_told(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = command("serve", "--listen", address)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: cannot listen on {address}")
    assert "Traceback" not in ran.err


def test_serve_says_when_it_listens_and_ends_what_it_began(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    script = "{text: word, repeat: 10, rate: 50}"
    path.write_text(
        "server: {listen: '127.0.0.1:0', admin_listen: '', notice: 0}\n"
        f"providers: {{slow: {{kind: scripted, scripts: {{talk: {script}}}}}}}\n"
    )
    arguments = [sys.executable, "-m", "trunkline_server", "serve", "--config", str(path)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        listening = json.loads(process.stderr.readline())
        assert listening["event"] == "listening"
        with grpc.insecure_channel(listening["address"]) as channel:
            stream = GatewayServiceStub(channel).StreamGenerate(pb.GenerateRequest(model="slow", prompt="x"))
            next(stream)
            process.send_signal(signal.SIGTERM)
            assert [event.WhichOneof("event") for event in stream][-1] == "completed"
        events = [json.loads(line)["event"] for line in process.stderr]
    # Where another gateway has its admin service, this one says so.
    events = [event for event in events if event != "no_admin_service"]
    assert process.returncode == 0
    assert (*events[:2], events[-1]) == ("no_key_needed", "draining", "stopped")


def test_serve_greets_a_person_and_obeys_a_second_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    server = "{listen: '0.0.0.0:0', admin_listen: '127.0.0.1:0', notice: 1h, insecure: [no_keys, no_tls]}"
    path.write_text(f"server: {server}\nproviders: {{openai: {{}}}}\n")
    arguments = [sys.executable, "-m", "trunkline_server", "serve", "--config", str(path)]
    ours, its = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm"}
    environment.pop("OPENAI_API_KEY", None)
    with subprocess.Popen(arguments, stderr=its, env=environment) as process, open(ours, closefd=False) as terminal:
        lines = [re.sub(r"\x1b\[\d*m", "", terminal.readline()) for _ in range(7)]
        begin = time.monotonic()
        while time.monotonic() - begin < 30 and process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        assert json.loads(terminal.readline())["event"] == "draining"
    os.close(ours)
    os.close(its)
    assert process.returncode == -signal.SIGINT
    assert time.monotonic() - begin > 0.5, "an echo of the first signal is not a second one"
    assert re.fullmatch(rf"Trunkline {__version__} listens on 0\.0\.0\.0:[1-9][0-9]*\n", lines[0])
    assert "  mock: can be called\n" in lines
    assert any(line.startswith("  openai: cannot be called: set OPENAI_API_KEY") for line in lines)
    assert lines[1].startswith("  no key is needed: whoever reaches this address may do everything")
    assert re.fullmatch(r"The admin service listens on 127\.0\.0\.1:[1-9][0-9]*: .*\n", lines[5])
    assert lines[6] == "Ctrl-C drains it, a second one ends it at once.\n"
