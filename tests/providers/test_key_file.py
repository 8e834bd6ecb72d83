"""A key in a file that changes, with a clock that stands still unless it is told; and real files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from credentials import Files

from trunkline_server.config.secrets import SecretFiles
from trunkline_server.errors import Unreadable
from trunkline_server.providers.key_file import LOOK_EVERY, KeyFile
from trunkline_server.settings import Document, Secret

if TYPE_CHECKING:
    from pathlib import Path

OLD = Secret("old-key-0123456789abcd", "file:/key")
NEW = Secret("new-key-0123456789wxyz", "file:/key")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def looked_at(source: KeyFile) -> KeyFile:
    """The source, which knows its file from now on."""
    assert source.look().version == 0
    return source


async def test_what_changed_before_the_first_look_is_noticed() -> None:
    files = Files(OLD)
    source = KeyFile(OLD, files, lambda _: None, Clock())
    files.content = NEW
    assert await source.get() == NEW


async def test_a_new_key_is_taken_within_a_second_of_use() -> None:
    clock, files, told = Clock(), Files(OLD), list[str]()
    source = looked_at(KeyFile(OLD, files, told.append, clock))
    files.become(NEW)
    assert await source.get() == OLD
    clock.now += LOOK_EVERY
    assert await source.get() == NEW
    assert (source.look().hint, source.look().version) == ("file:/key ...wxyz", 1)
    assert told == ["there is a new key in its file"]


async def test_a_thousand_uses_in_a_second_look_once() -> None:
    clock, files = Clock(), Files(OLD)
    source = looked_at(KeyFile(OLD, files, lambda _: None, clock))
    looked = files.looks
    for _ in range(1000):
        clock.now += LOOK_EVERY / 500
        await source.get()
    assert files.looks - looked == 2


async def test_a_refusal_looks_at_once() -> None:
    files = Files(OLD)
    source = looked_at(KeyFile(OLD, files, lambda _: None, Clock()))
    files.become(NEW)
    source.refused()
    assert await source.get() == NEW


async def test_content_that_cannot_be_used_leaves_the_key_and_is_told_once() -> None:
    clock, files, told = Clock(), Files(OLD), list[str]()
    source = looked_at(KeyFile(OLD, files, told.append, clock))
    files.become(Unreadable("file:/key to hold one line of visible ASCII characters"))
    for _ in range(5):
        clock.now += LOOK_EVERY
        assert await source.get() == OLD
    held = source.look()
    assert (held.hint, held.version, held.missing) == ("file:/key ...abcd", 0, "")
    assert held.note.endswith("expected file:/key to hold one line of visible ASCII characters")
    assert told == [held.note]
    files.become(NEW)
    clock.now += LOOK_EVERY
    assert await source.get() == NEW
    assert source.look().note == ""


async def test_the_same_key_written_again_is_no_other() -> None:
    clock, files, told = Clock(), Files(OLD), list[str]()
    source = looked_at(KeyFile(OLD, files, told.append, clock))
    files.become(Secret(OLD.reveal(), OLD.origin))
    clock.now += LOOK_EVERY
    assert source.look().version == 0
    assert told == []


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["written", "replaced", "linked"])
async def test_every_way_to_change_a_file_is_noticed(tmp_path: Path, how: str) -> None:
    """Kubernetes swaps a link, careful tools replace the file, others write into it. Copies may have the old time."""
    path, clock = tmp_path / "key", Clock()
    (tmp_path / "a").write_text(OLD.reveal())
    (tmp_path / "b").write_text(NEW.reveal())
    path.symlink_to("a") if how == "linked" else path.write_text(OLD.reveal())
    time = path.stat().st_mtime_ns
    key = Secret(OLD.reveal(), f"file:{path}")
    source = looked_at(KeyFile(key, SecretFiles(), lambda _: None, clock))
    if how == "linked":
        (tmp_path / "link").symlink_to("b")
        (tmp_path / "link").replace(path)
    elif how == "replaced":
        (tmp_path / "b").replace(path)
    else:
        path.write_text(NEW.reveal())
        os.utime(path, ns=(1, 1))
    if how != "written":
        os.utime(path, ns=(time, time))
    clock.now += LOOK_EVERY
    assert (await source.get()).reveal() == NEW.reveal()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two\nlines", b"\xff\xfe", None], ids=["empty", "blank", "two", "bytes", "gone"]
)
async def test_every_file_that_cannot_be_used_leaves_the_key(tmp_path: Path, content: bytes | None) -> None:
    path, clock = tmp_path / "key", Clock()
    path.write_text(OLD.reveal())
    source = KeyFile(Secret(OLD.reveal(), f"file:{path}"), SecretFiles(), lambda _: None, clock)
    path.unlink() if content is None else path.write_bytes(content)
    clock.now += LOOK_EVERY
    assert (await source.get()).reveal() == OLD.reveal()
    assert str(path) in source.look().note


def test_a_document_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "d").write_text('{\n"a": 1}\n')
    again = SecretFiles().read(Document("", f"file:{tmp_path}/d"))
    assert (type(again), again.reveal()) == (Document, '{\n"a": 1}\n')
    (tmp_path / "d").write_text(" \n")
    with pytest.raises(Unreadable, match="to hold something"):
        SecretFiles().read(again)
