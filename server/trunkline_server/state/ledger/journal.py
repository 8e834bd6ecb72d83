"""The journal: what is on its way into the database, in files that survive the death of this process.

A record is written before the row is queued, and forgotten with its file once the database has what it says. Nothing is
synced: the journal outlives a SIGKILL, not a power failure.
"""

from __future__ import annotations

import os
from contextlib import suppress
from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from msgspec import DecodeError, Struct, msgpack

from trunkline_server.state.ledger.commit import Withdrawn
from trunkline_server.state.ledger.mend import mended
from trunkline_server.state.ledger.rows import AttemptRow, CallRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trunkline_server.state.ledger.commit import Entry

# Bytes after which a new file is begun.
FILE_SIZE = 4 << 20
# Whose body it is, its length, its checksum.
_HEAD = Layout("<cII")
_ATTEMPT, _CALL, _WITHDRAWN = b"a", b"c", b"w"
_ENCODER = msgpack.Encoder()
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
    """An open file, and how many records in it are still needed."""

    __slots__ = ("descriptor", "needed", "path", "size")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.size = self.needed = 0

    def append(self, record: bytes) -> None:
        try:
            written = os.write(self.descriptor, record)
        except OSError:
            written = 0
        if written != len(record):
            # Half a record would hide those after it.
            os.ftruncate(self.descriptor, self.size)
            os.lseek(self.descriptor, self.size, os.SEEK_SET)
            raise JournalFailed("disk full")
        self.size += written


class _Call(Struct):
    """A call on its way into the database, and where its records are."""

    # Of attempts that run.
    begun: dict[int, _File]
    # Of attempts that have ended: needed to know of the call, until the call has ended and is in the database.
    kept: list[_File]
    uncommitted: int = 0
    ended: bool = False


class Journal:
    """Writes the records of one gateway. `remove` deletes a file that nothing needs any more."""

    def __init__(self, folder: Path, remove: Callable[[Path], None], size: int = FILE_SIZE) -> None:
        """Begin a new file after those that are there. Raises OSError."""
        self._folder = folder
        self._remove = remove
        self._size = size
        self._number = max(map(_number, files(folder)), default=0)
        self._calls: dict[str, _Call] = {}
        self._full: set[_File] = set()
        self._file = self._begin_file()

    def begin(self, row: AttemptRow) -> None:
        """An attempt is about to be sent. Raises JournalFailed."""
        file = self._append(_ATTEMPT, row)
        self._call(row.call_id).begun[row.attempt] = file
        file.needed += 1

    def finish(self, row: AttemptRow) -> None:
        """It has ended; `committed` says when the database has it. If it cannot be written its beginning is kept."""
        call = self._call(row.call_id)
        begun = call.begun.pop(row.attempt, None)
        call.uncommitted += 1
        try:
            file = self._append(_ATTEMPT, row)
        except JournalFailed:
            if begun is not None:
                call.kept.append(begun)
            return
        file.needed += 1
        call.kept.append(file)
        if begun is not None:
            self._release(begun)

    def end(self, row: CallRow) -> None:
        """A call has ended; `committed` says when the database has it."""
        call = self._call(row.call_id)
        call.uncommitted += 1
        call.ended = True
        try:
            file = self._append(_CALL, row)
        except JournalFailed:
            return
        file.needed += 1
        call.kept.append(file)

    def committed(self, call_id: str) -> None:
        """The database has one more of the call's rows."""
        call = self._calls.get(call_id)
        if call is None:
            return
        call.uncommitted -= 1
        if call.ended and not call.uncommitted:
            kept, call.kept = call.kept, []
            for file in kept:
                self._release(file)
            if not call.begun:
                del self._calls[call_id]

    def withdraw(self, entry: Withdrawn) -> None:
        """The attempt was never sent. If that cannot be written it counts as sent, for who comes after us."""
        file = self._call(entry.call_id).begun.pop(entry.attempt, None)
        with suppress(JournalFailed):
            self._append(_WITHDRAWN, entry)
        if file is not None:
            self._release(file)

    def tidy(self) -> None:
        """Forget what stands in the current file, if none of it is needed."""
        if self._file.size and not self._file.needed:
            self._rotate()

    def close(self) -> None:
        """Close the files; delete those that nothing needs."""
        for file in (*self._full, self._file):
            os.close(file.descriptor)
            if not file.needed:
                file.path.unlink(missing_ok=True)

    def _call(self, call_id: str) -> _Call:
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = _Call({}, [])
        return call

    def _append(self, kind: bytes, row: Entry) -> _File:
        if self._file.size >= self._size:
            self._rotate()
        self._file.append(_record(kind, row))
        return self._file

    def _release(self, file: _File) -> None:
        file.needed -= 1
        if not file.needed and file in self._full:
            self._forget(file)

    def _rotate(self) -> None:
        full = self._file
        try:
            self._file = self._begin_file()
        except OSError:
            # The old one goes on growing.
            return
        self._full.add(full)
        if not full.needed:
            self._forget(full)

    def _forget(self, file: _File) -> None:
        self._full.discard(file)
        os.close(file.descriptor)
        self._remove(file.path)

    def _begin_file(self) -> _File:
        self._number += 1
        return _File(self._folder / f"{self._number:08d}.journal")


def files(folder: Path) -> list[Path]:
    """The files of a journal, oldest first."""
    return sorted(folder.glob("*.journal"))


def read(path: Path) -> Iterator[Entry]:
    """The records of a file, up to one that is torn."""
    data = path.read_bytes()
    position = 0
    while len(data) - position >= _HEAD.size:
        kind, length, checksum = _HEAD.unpack_from(data, position)
        body = data[position + _HEAD.size : position + _HEAD.size + length]
        position += _HEAD.size + length
        if len(body) != length or crc32(body) != checksum or kind not in _DECODERS:
            return
        try:
            yield _DECODERS[kind].decode(body)
        except DecodeError:
            return


def append(path: Path, row: AttemptRow | CallRow) -> None:
    """Add a record to a file that is kept for a person to look at."""
    with path.open("ab") as file:
        file.write(_record(_CALL if isinstance(row, CallRow) else _ATTEMPT, row))


def _record(kind: bytes, row: Entry) -> bytes:
    try:
        body = _ENCODER.encode(row)
    except (UnicodeError, OverflowError):
        body = _ENCODER.encode(mended(row))
    return _HEAD.pack(kind, len(body), crc32(body)) + body


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0
