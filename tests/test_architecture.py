"""The shape of the house, held: who may import whom, and who alone touches the outside."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "server" / "trunkline_server"
CLIENT = ROOT / "clients" / "python" / "trunkline_client"
MODULES = sorted(SERVER.rglob("*.py"))
VOCABULARY = {
    "core",
    "errors",
    "fold",
    "snapshot",
    "spans",
    "logs",
    "sections",
    "settings",
    "spelling",
    "listed",
    "__init__",
}

# Which packages a package may import, beside the contract, the vocabulary and itself. None = any.
MAY_IMPORT: dict[str, set[str] | None] = {
    "wire": set(),
    "dialects": {"wire"},
    "providers": {"wire", "dialects"},
    "prices": set(),
    "models": set(),
    "settings": set(),
    # What is configured is held to what there is: providers, models, strategies, certificates, places.
    "config": {"providers", "routing", "state.certificates", "state.limits.where", "entry_points"},
    # What the providers offer is joined, and what calls teach is kept, by rules that are pure; how providers do is told
    # in the words of such rules.
    "state": {
        "routing.discovered",
        "routing.learned",
        "routing.verdicts",
        "routing.signal",
        "routing.spent",
        "routing.steering",
        "providers.table",
    },
    # The rows and the data on models are what the catalogue is built from; what is asked of it hangs on prices.
    "routing": {"providers.table", "models.data", "prices"},
    "layers": {"state", "routing", "prices", "tape", "registry"},
    "rpc": {"state", "routing", "prices"},
    "cli": None,
}


def imports(path: Path) -> set[str]:
    """Dotted names of all that is imported, with the names taken from packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def package_of(path: Path) -> str:
    parts = path.relative_to(SERVER).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(path)], ids=str)
def test_imports_go_one_way(path: Path) -> None:
    package = package_of(path)
    allowed = MAY_IMPORT[package]
    if allowed is None:
        return
    for name in imports(path):
        if not name.startswith("trunkline_server."):
            continue
        inner = name.removeprefix("trunkline_server.")
        top = inner.split(".")[0]
        fits = top in VOCABULARY | {package, "__version__"} or any(inner.startswith(ok) for ok in allowed)
        assert fits, f"{package} may not import {name}"


def users_of(*names: str) -> set[str]:
    """Files of the server that import any of these."""
    return {
        str(path.relative_to(SERVER))
        for path in MODULES
        if any(found == name or found.startswith(name + ".") for found in imports(path) for name in names)
    }


def test_one_module_speaks_http() -> None:
    assert users_of("httpx2", "aiohttp") == {"providers/http.py"}


def test_one_module_reads_the_environment() -> None:
    readers = {str(path.relative_to(SERVER)) for path in MODULES if re.search(r"os\.environ|getenv", path.read_text())}
    assert readers == {"config/__init__.py"}


def test_reading_the_configuration_loads_no_http_client() -> None:
    """Every command does that first, and most of them need none."""
    loaded = "import sys, trunkline_server.config; print(*{'aiohttp', 'cryptography', 'sqlite3'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_grpc_stays_at_the_edge() -> None:
    # And at the other end: where another gateway is asked.
    allowed = {"rpc/", "cli/", "errors.py", "providers/gateway"}
    assert {path for path in users_of("grpc") if not path.startswith(tuple(allowed))} == set()


def test_only_the_command_line_is_a_caller_too() -> None:
    assert all(path.startswith("cli/") for path in users_of("trunkline_client"))


def test_the_client_knows_nothing_of_the_server() -> None:
    for path in CLIENT.rglob("*.py"):
        assert not any(name.startswith("trunkline_server") for name in imports(path)), path


@pytest.mark.parametrize("package", ["wire", "dialects", "prices", "models", "routing"])
def test_pure_packages_have_no_clock_and_no_io(package: str) -> None:
    impure = {"asyncio", "time", "socket", "os", "pathlib", "random", "threading"}
    for path in (SERVER / package).rglob("*.py"):
        assert not imports(path) & impure, path


def test_the_machines_of_an_endpoint_are_told_the_time_and_draw_no_lots() -> None:
    impure = {"time", "socket", "os", "pathlib", "random", "threading"}
    for path in (SERVER / "state" / "endpoint").rglob("*.py"):
        waits = {"asyncio"} if path.name != "queue.py" else set()
        assert not imports(path) & (impure | waits), path


@pytest.mark.parametrize("path", [*MODULES, *CLIENT.rglob("*.py")], ids=str)
def test_no_file_outgrows_its_reader(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_decisions_have_a_number_each_and_are_short() -> None:
    pages = sorted((ROOT / "server" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert len(set(numbers)) == len(numbers)
    for page, number in zip(pages, numbers, strict=True):
        lines = page.read_text().splitlines()
        assert lines[0].startswith(f"# {number}. "), page
        assert len(lines) <= 40, page


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SERVER).with_suffix("").parts).removesuffix(".__init__")


def test_no_imports_go_in_a_circle() -> None:
    """For types neither: who has to read two modules at once to understand one has one module."""
    names = {module_of(path) for path in MODULES}
    takes = {module_of(path): modules_in(imports(path), names) - {module_of(path)} for path in MODULES}
    while free := {module for module, others in takes.items() if not others & takes.keys()}:
        takes = {module: others for module, others in takes.items() if module not in free}
    assert takes == {}, "these import one another, or what does"


def modules_in(imported: set[str], names: set[str]) -> set[str]:
    """Of dotted names the modules. From a package's module the package itself is not taken."""
    inner = {name.removeprefix("trunkline_server.") for name in imported if name.startswith("trunkline_server.")}
    found = inner & names
    return {name for name in found if not any(other.startswith(name + ".") for other in found)}
