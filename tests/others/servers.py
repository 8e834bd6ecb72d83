"""Servers that others wrote, which speak the providers' APIs: each a process of its own on a free port."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from trunkline_server import config
from trunkline_server.providers.weights import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv-others" / "bin"
AIMOCK = ROOT / ".tools" / "aimock" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
# The only key that those with a check of keys take.
KEY = "key-of-the-test"
LITELLM = ROOT / ".venv-litellm" / "bin" / "litellm"
NAMES = ("aimock", "llmock", "katan", "llamacpp", "litellm")
# What the proxy of LiteLLM stands in front of.
BEHIND = ("aimock", "llmock", "llamacpp")
_KATAN = ("openai", "anthropic", "vertexai", "bedrock", "azure_openai")
_LISTENS = re.compile(r"(?:listening|running) on (http://127\.0\.0\.1:\d+)", re.IGNORECASE)


def missing(name: str) -> str:
    """Why a server cannot be started. Empty = it can."""
    if name == "litellm":
        without = next(filter(None, map(missing, BEHIND)), "")
        return without or ("" if LITELLM.exists() else "litellm is not installed: make .venv-litellm/ready")
    if name == "aimock" and shutil.which("node") is None:
        return "Node is not on this machine"
    if name == "llamacpp":
        return _missing_model()
    program = {"aimock": AIMOCK, "llmock": BIN / "llmock", "katan": BIN / "llm-katan"}[name]
    return "" if program.exists() else f"{name} is not installed: make .tools/others"


def _missing_model() -> str:
    if find_spec("xllamacpp") is None:
        return "xllamacpp is not installed"
    return "" if find(config.cache_folder()) else "the weights are not on this machine: trunkline model pull"


@contextmanager
def running(name: str, folder: Path) -> Iterator[str]:
    """Start a server that is not missing; gives its address. `folder` is for what it writes."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "AIMOCK_API_KEYS": KEY, "KEY": KEY}
    environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    environ |= {"PYTHONPATH": str(ROOT / "tests"), "XDG_CACHE_HOME": str(config.cache_folder().parent)}
    with ExitStack() as behind:
        if name == "litellm":
            # What it stands in front of.
            _write_litellm(folder, {each: behind.enter_context(running(each, folder)) for each in BEHIND})
        yield from _ran(name, _command(name, folder), environ)


def _ran(name: str, command: Sequence[str | Path], environ: dict[str, str]) -> Iterator[str]:
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
        case "llamacpp":
            return [sys.executable, "-m", "others.llamacpp"]
        case "litellm":
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = str(free.getsockname()[1])
            return [LITELLM, "--config", folder / "litellm.yaml", "--host", "127.0.0.1", "--port", port]
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


def _write_litellm(folder: Path, behind: Mapping[str, str]) -> None:
    """A proxy that has a model of each of these servers, called like it. It tries nothing again."""
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/m", "api_base": f"{address}/v1", "api_key": KEY}}
        for name, address in behind.items()
    ]
    said = {
        "model_list": models,
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    (folder / "litellm.yaml").write_text(json.dumps(said))


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
