"""The journal: what is on its way into the database, in files that survive the death of this process.

A record is written before the row is queued, and forgotten with its file once the database has what it says. The files
are mapped into memory, and writing is copying: a system call for each record would give the interpreter's lock away
three times a call. Nothing is synced: the journal outlives a SIGKILL, not a power failure.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from mmap import mmap
from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from msgspec import DecodeError, Struct, field, msgpack

from trunkline_server.state.ledger.commit import Withdrawn
from trunkline_server.state.ledger.mend import mended
from trunkline_server.state.ledger.rows import AttemptRow, CallRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from trunkline_server.state.ledger.commit import Entry

# Bytes of a file, which its records fill up; one that is longer has a file of its own.
FILE_SIZE = 4 << 20
# Whose body it is, its length, its checksum.
_HEAD = Layout("<cII")
_ATTEMPT, _CALL, _WITHDRAWN = b"a", b"c", b"w"
_ENCODER = msgpack.Encoder()
# What the encoder says of a row that has to be mended before.
_UNFIT = (UnicodeError, OverflowError)
_DECODERS: dict[bytes, msgpack.Decoder[Any]] = {
    _ATTEMPT: msgpack.Decoder(AttemptRow),
    _CALL: msgpack.Decoder(CallRow),
    _WITHDRAWN: msgpack.Decoder(Withdrawn),
}


class JournalFailed(Exception):
    """The record could not be written, and nothing of it stands."""

    def __init__(self, kind: Literal["disk full", "failed"]) -> None:
        super().__init__(kind)
        self.kind = kind


class _File:
    """An open file, in how many ways it is still needed, and how many bytes may still be written to it."""

    __slots__ = ("memory", "needed", "path", "room")

    def __init__(self, path: Path, room: int) -> None:
        """Have `room` bytes on the disk, all zero. Raises OSError, and leaves nothing."""
        self.path = path
        self.needed = 0
        self.room = room
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _reserve(descriptor, room)
            self.memory = mmap(descriptor, room)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written to it."""
        return not self.memory.tell()

    def close(self) -> None:
        """Write no more."""
        self.memory.close()


class _Call(Struct):
    """A call on its way into the database, and where its records are."""

    # Of attempts that run.
    begun: dict[int, _File] = field(default_factory=dict)
    # Of attempts that have ended: needed to know of the call, until the call has ended and is in the database.
    kept: list[_File] = field(default_factory=list)
    # Rows of ends that the database does not have yet. There will be one of the call's own.
    uncommitted: int = 1


class Journal:
    """Writes the records of one gateway. `remove` deletes a file that nothing needs any more."""

    def __init__(self, folder: Path, remove: Callable[[Path], None], size: int = FILE_SIZE) -> None:
        """Begin a new file after those that are there. Raises OSError."""
        self._folder = folder
        self._remove = remove
        self._size = size
        self._number = max(map(_number, files(folder)), default=0)
        self._calls: defaultdict[str, _Call] = defaultdict(_Call)
        self._full: set[_File] = set()
        self._file = self._begin_file()

    def begin(self, row: AttemptRow) -> None:
        """An attempt is about to be sent. Raises JournalFailed."""
        file = self._append(_ATTEMPT, row)
        self._calls[row.call_id].begun[row.attempt] = file
        file.needed += 1

    def finish(self, row: AttemptRow) -> None:
        """It has ended; `committed` says when the database has it. If it cannot be written its beginning is kept."""
        call = self._calls[row.call_id]
        begun = call.begun.pop(row.attempt, None)
        call.uncommitted += 1
        try:
            file = self._append(_ATTEMPT, row)
        except JournalFailed:
            if begun is not None:
                call.kept.append(begun)
            return
        call.kept.append(file)
        if begun is file:
            return  # needed as often as before
        file.needed += 1
        if begun is not None:
            self._release(begun)

    def end(self, row: CallRow) -> None:
        """A call has ended; `committed` says when the database has it."""
        kept = self._calls[row.call_id].kept
        try:
            file = self._append(_CALL, row)
        except JournalFailed:
            return
        if file not in kept:  # mostly the end of an attempt is in it, and keeps it
            file.needed += 1
            kept.append(file)

    def committed(self, rows: Iterable[Entry]) -> None:
        """The database has these rows. Of attempts that were begun only their ends count."""
        for row in rows:
            if row.duration is None:
                continue
            call = self._calls.get(row.call_id)
            if call is not None:
                call.uncommitted -= 1
                if not call.uncommitted:
                    self._forget_call(row.call_id, call)

    def _forget_call(self, call_id: str, call: _Call) -> None:
        for file in call.kept:
            file.needed -= 1
            if not file.needed and file in self._full:
                self._forget(file)
        if call.begun:
            call.kept = []
        else:
            del self._calls[call_id]

    def withdraw(self, entry: Withdrawn) -> None:
        """The attempt was never sent. If that cannot be written it counts as sent, for who comes after us."""
        call = self._calls.get(entry.call_id)
        file = call.begun.pop(entry.attempt, None) if call is not None else None
        with suppress(JournalFailed):
            self._append(_WITHDRAWN, entry)
        if file is not None:
            self._release(file)

    def tidy(self) -> None:
        """Forget what stands in the current file, if none of it is needed."""
        if not self._file.is_empty and not self._file.needed:
            with suppress(JournalFailed):
                self._rotate()

    def close(self) -> None:
        """Close the files; delete those that nothing needs."""
        for file in (*self._full, self._file):
            file.close()
            if not file.needed:
                file.path.unlink(missing_ok=True)

    def _append(self, kind: bytes, row: Entry) -> _File:
        """Three times a call, and so in one piece."""
        try:
            body = _ENCODER.encode(row)
        except _UNFIT:
            body = _ENCODER.encode(mended(row))
        record = _HEAD.pack(kind, len(body), crc32(body)) + body
        if len(record) > self._file.room:
            self._rotate(len(record))
        file = self._file
        file.room -= file.memory.write(record)
        return file

    def _release(self, file: _File) -> None:
        file.needed -= 1
        if not file.needed and file in self._full:
            self._forget(file)

    def _rotate(self, least: int = 0) -> None:
        full = self._file
        try:
            self._file = self._begin_file(least)
        except OSError:
            raise JournalFailed("disk full") from None
        self._full.add(full)
        if not full.needed:
            self._forget(full)

    def _forget(self, file: _File) -> None:
        self._full.discard(file)
        file.close()
        self._remove(file.path)

    def _begin_file(self, least: int = 0) -> _File:
        self._number += 1
        return _File(self._folder / f"{self._number:08d}.journal", max(self._size, least))


def files(folder: Path) -> list[Path]:
    """The files of a journal, oldest first."""
    return sorted(folder.glob("*.journal"))


def read(path: Path) -> Iterator[Entry]:
    """The records of a file, up to one that is torn."""
    for _, kind, body in _records(path.read_bytes()):
        try:
            yield _DECODERS[kind].decode(body)
        except DecodeError:
            return


def blank(path: Path, end_user: str) -> None:
    """Write dashes over an end user's name, in its place: a gateway that writes to the file goes on as if nothing was.

    A file that is gone by now names nobody.
    """
    named, blanked = _end_user(end_user), _end_user("-" * len(end_user.encode()))
    with suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
        for position, kind, body in _records(file.read()):
            if named in body:
                file.seek(position)
                file.write(_sealed(kind, body.replace(named, blanked)))


def _end_user(name: str) -> bytes:
    """How a record has the field."""
    return _ENCODER.encode("end_user") + _ENCODER.encode(name)


def _records(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Where each begins, whose body it is, and the body; up to one that is torn."""
    position = 0
    while len(data) - position >= _HEAD.size:
        kind, length, checksum = _HEAD.unpack_from(data, position)
        body = data[position + _HEAD.size : position + _HEAD.size + length]
        if len(body) != length or crc32(body) != checksum or kind not in _DECODERS:
            return
        yield position, kind, body
        position += _HEAD.size + length


def _reserve(descriptor: int, room: int) -> None:
    """Have the room on the disk: a hole that the disk has no room for would kill us later."""
    try:
        os.posix_fallocate(descriptor, 0, room)
    except (AttributeError, OSError):  # not every system has it, nor every file system
        _write_all(descriptor, bytes(room))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def append(path: Path, row: AttemptRow | CallRow) -> None:
    """Add a record to a file that is kept for a person to look at."""
    try:
        body = _ENCODER.encode(row)
    except _UNFIT:
        body = _ENCODER.encode(mended(row))
    with path.open("ab") as file:
        file.write(_sealed(_CALL if isinstance(row, CallRow) else _ATTEMPT, body))


def _sealed(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body), crc32(body)) + body


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0
