"""Servers that others wrote, which speak the providers' APIs: each a process of its own on a free port."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv-others" / "bin"
AIMOCK = ROOT / ".tools" / "aimock" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
# The only key that those with a check of keys take.
KEY = "key-of-the-test"
NAMES = ("aimock", "llmock", "katan")
_KATAN = ("openai", "anthropic", "vertexai", "bedrock", "azure_openai")
_LISTENS = re.compile(r"(?:listening|running) on (http://127\.0\.0\.1:\d+)")


def missing(name: str) -> str:
    """Why a server cannot be started. Empty = it can."""
    if name == "aimock" and shutil.which("node") is None:
        return "Node is not on this machine"
    program = {"aimock": AIMOCK, "llmock": BIN / "llmock", "katan": BIN / "llm-katan"}[name]
    return "" if program.exists() else f"{name} is not installed: make .tools/others"


@contextmanager
def running(name: str, folder: Path) -> Iterator[str]:
    """Start a server that is not missing; gives its address. `folder` is for what it writes."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "AIMOCK_API_KEYS": KEY}
    command = _command(name, folder)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines: Queue[str] = Queue()
        # To the end: a server that nobody listens to is held up once the pipe is full.
        reader = threading.Thread(target=_read, args=(process.stdout, lines))
        reader.start()
        try:
            yield _address(name, lines)
        finally:
            process.kill()
            reader.join()


def _command(name: str, folder: Path) -> Sequence[str | Path]:
    match name:
        case "aimock":
            return [
                "node",
                AIMOCK,
                "--port",
                "0",
                "--chunk-size",
                "7",
                "--fixtures",
                Path(__file__).with_name("aimock.json"),
            ]
        case "llmock":
            return [BIN / "llmock", "serve", "--port", "0", "--response-style", "echo"]
        case _:
            keys = ",".join(f"{provider}={KEY}" for provider in _KATAN)
            which = ["--providers", ",".join(_KATAN), "--validate-keys", "--api-keys", keys]
            rest = [
                "--backend",
                "echo",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--stats-file",
                str(folder / "katan.json"),
            ]
            return [BIN / "llm-katan", "--model", "m", *which, *rest]


def _read(printed: Iterable[str], lines: Queue[str]) -> None:
    for line in printed:
        lines.put(line)
    lines.put("")


def _address(name: str, lines: Queue[str]) -> str:
    """What it says that it listens on."""
    printed = []
    while line := lines.get(timeout=60):
        if found := _LISTENS.search(line):
            return found[1]
        printed.append(line)
    raise RuntimeError(f"{name} did not start:\n{''.join(printed)}")


def tell(address: str, path: str, body: Any) -> None:
    """Tell a server's own control address what to do next."""
    data = json.dumps(body).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(address + path, data, headers, method="POST")  # noqa: S310 - always loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - always loopback
        answer.read()
