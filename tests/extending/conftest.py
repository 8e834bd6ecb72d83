"""Packages that are installed for one test: a folder of modules, and what pip writes down of it."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Install = Callable[..., None]

EXAMPLE = Path(__file__).parent / "example_package"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install modules (by name, their text) as a distribution with these entry points, by group and name."""

    def make(name: str, entries: Mapping[str, Mapping[str, str]], **modules: str) -> None:
        site = tmp_path / "site" / name
        described = site / f"{name.replace('-', '_')}-1.0.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in each.items()) for group, each in entries.items()]
        (described / "entry_points.txt").write_text("\n".join(lines))
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
        forget(monkeypatch, site, *modules)

    return make


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    """Install the package of server/README.md: its entry points are those of its pyproject.toml."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(project["name"], project["entry-points"])
    forget(monkeypatch, EXAMPLE, "acme_trunkline", "acme_trunkline.wire", "acme_trunkline.parrot")


def forget(monkeypatch: pytest.MonkeyPatch, folder: Path, *modules: str) -> None:
    """Put the folder where modules are looked for, and forget these modules when the test is over."""
    monkeypatch.syspath_prepend(folder)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    importlib.invalidate_caches()
