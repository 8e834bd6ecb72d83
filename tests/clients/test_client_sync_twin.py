"""The committed sync twin is what generate_sync.py makes of the async source."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import trunkline_client
from trunkline_client import AdminClient, AsyncAdminClient, AsyncClient, AsyncStream, Client, Stream

PACKAGE = Path(trunkline_client.__file__).parent
SCRIPT = PACKAGE.parent / "generate_sync.py"


def texts(folder: Path) -> dict[str, str]:
    """What the folder's sources say."""
    return {path.name: path.read_text() for path in folder.glob("*.py")}


def test_it_is_fresh(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "_async", tmp_path / "_async")
    (tmp_path / "_sync").mkdir()
    (tmp_path / "_sync" / "gone.py").touch()
    subprocess.run([sys.executable, SCRIPT, tmp_path], check=True)
    assert texts(tmp_path / "_sync") == texts(PACKAGE / "_sync")


def test_nothing_async_is_left() -> None:
    for text in texts(PACKAGE / "_sync").values():
        assert "async" not in text.replace("_async by", "").lower()
        assert "await" not in text


def test_both_have_the_same_methods_and_settings() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
        return {
            name.removeprefix("a"): list(inspect.signature(member).parameters) if callable(member) else []
            for name, member in members.items()
        }

    assert public(AsyncClient) == public(Client)
    assert public(AsyncAdminClient) == public(AdminClient)
    assert public(AsyncStream) == public(Stream)
