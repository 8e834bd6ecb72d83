"""Logs: one JSON line for each thing that happened. Prompts, answers and secrets are never among the fields."""

from __future__ import annotations

import asyncio
import atexit
import sys
import traceback
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import structlog
from msgspec.json import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping


class Log(Protocol):
    """What of structlog's loggers is used here."""

    def bind(self, **fields: object) -> Log:
        """One whose lines have these fields, too."""
        ...

    def info(self, event: str, **fields: object) -> None:
        """Write a line: it may wait for others."""
        ...

    def warning(self, event: str, **fields: object) -> None:
        """Write a line at once."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Write a line at once."""
        ...


# Seconds for which a server gathers its lines: a system call for each would cost a call more than writing them down.
LINGER = 0.1
# Lines that are written together at most.
_MOST = 256
_ENCODER = Encoder(enc_hook=repr)


def build_log(stream: BinaryIO | None = None, *, linger: float = 0.0) -> Log:
    """A logger that writes JSON lines to `stream` (default: standard error), in the order in which they were logged.

    `linger`: seconds for which lines that are no warning may be gathered; 0 = each is written at once. A warning is
    written at once, after what was gathered, and so is everything at the end of the process. Nothing global is
    configured, so several gateways in one process do not share a log.
    """
    lines = _Lines(stream or sys.stderr.buffer, linger)
    if linger:
        atexit.register(lines.write)
    return cast("Log", structlog.wrap_logger(lines, processors=[], wrapper_class=_Logger).bind())


class _Logger(structlog.BoundLoggerBase):
    """structlog's, whose chain of processors took longer than what a line says: one that is bound, and one step."""

    def info(self, event: str, **fields: object) -> None:
        self._logger.info(_line(self._context, fields, event, "info"))

    def warning(self, event: str, **fields: object) -> None:
        self._logger.warning(_line(self._context, fields, event, "warning"))

    def error(self, event: str, **fields: object) -> None:
        self._logger.error(_line(self._context, fields, event, "error"))


class _Lines:
    """Lines on their way into a stream. For any thread; only those of an event loop are gathered."""

    def __init__(self, stream: BinaryIO, linger: float) -> None:
        self._stream = stream
        self._linger = linger
        self._lock = Lock()
        self._gathered: list[bytes] = []
        self._timed = False

    def info(self, line: bytes) -> None:
        """A line that may wait."""
        with self._lock:
            self._gathered.append(line)
            waits = self._timed and len(self._gathered) < _MOST
        if not waits and not self._arm():
            self.write()

    def warning(self, line: bytes) -> None:
        """A line that is wanted now."""
        with self._lock:
            self._gathered.append(line)
        self.write()

    error = warning

    def write(self) -> None:
        """Write what was gathered."""
        with self._lock:
            lines, self._gathered, self._timed = self._gathered, [], False
            if lines and not self._stream.closed:
                self._stream.write(b"".join(lines))
                self._stream.flush()

    def _arm(self) -> bool:
        """Write in a while. False: nobody would."""
        if not self._linger or self._timed:
            return False
        try:
            asyncio.get_running_loop().call_later(self._linger, self.write)
        except RuntimeError:
            return False
        self._timed = True
        return True


def _line(context: Mapping[str, object], fields: Mapping[str, object], event: str, level: str) -> bytes:
    line = {**context, **fields, "event": event, "level": level, "timestamp": datetime.now(UTC)}
    return _ENCODER.encode(line) + b"\n"


def frames_of(error: BaseException) -> list[str]:
    """Where it happened, without the exception's text: that may hold a prompt or a secret."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
