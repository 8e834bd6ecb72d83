"""The two distributions: what is in each, and what each needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def wheel_of(folder: Path, out: Path) -> tuple[set[str], set[str]]:
    """The wheel's modules and what it requires, without versions and extras."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    [path] = out.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        [metadata] = [name for name in wheel.namelist() if name.endswith("METADATA")]
        required = Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist") or []
        needed = {
            line.split(";")[0].split("[")[0].split("<")[0].split(">")[0].split("=")[0].strip() for line in required
        }
        return {name for name in wheel.namelist() if ".dist-info/" not in name}, needed


def test_the_client_is_light_and_holds_the_stubs(tmp_path: Path) -> None:
    files, needed = wheel_of(ROOT / "clients" / "python", tmp_path)
    assert needed == {"grpcio", "protobuf", "googleapis-common-protos"}
    assert {name.split("/")[0] for name in files} == {"trunkline", "trunkline_client"}
    for name in ("trunkline/v1/gateway_service_pb2_grpc.pyi", "trunkline/py.typed", "trunkline_client/py.typed"):
        assert name in files


def test_the_server_needs_the_client_and_holds_no_stubs(tmp_path: Path) -> None:
    files, needed = wheel_of(ROOT, tmp_path)
    assert {"trunkline-client", "httpx2", "structlog", "msgspec"} <= needed
    assert {name.split("/")[0] for name in files} == {"trunkline_server"}
    assert "trunkline_server/py.typed" in files
    assert {"trunkline_server/prices/book.json", "trunkline_server/prices/LICENSE.genai-prices"} <= files
    presets = {f"trunkline_server/presets/{path.name}" for path in (ROOT / "server" / "presets").glob("*.yaml")}
    assert len(presets) == 6
    assert presets <= files
    data = {"models.json", "LICENSE.genai-prices", "LICENSE.litellm"}
    assert {f"trunkline_server/models/{name}" for name in data} <= files


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt", "protos.txt"])
def test_every_locked_dependency_has_its_hashes(lock: str) -> None:
    entries = (ROOT / "requirements" / lock).read_text().replace("\\\n", "").splitlines()
    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries if entry.strip())
