"""Newline-delimited JSON: bytes in, lines out. Sans-I/O.

A line ends in a line feed, with or without a carriage return before it. What stands after the last one is a line, too.
"""

from __future__ import annotations

from trunkline_server.wire.framing import FramingError

MAX_LINE_BYTES = 16 << 20


class LineTooLarge(FramingError):
    """A line is longer than the framer takes. The stream cannot be read on."""


class NdjsonFramer:
    """Cuts one stream into lines, the same ones however its bytes arrive.

    Lines of nothing but white space are left out. Time and memory are linear in the bytes. Lines that came before one
    that is too large are returned first, and every later call raises LineTooLarge.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit = max_line_bytes
        # The line that is under way, in the pieces that came: joining them at each read would be quadratic.
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._failed = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; returns the lines that they complete, without their ends. Raises LineTooLarge."""
        if self._failed:
            raise LineTooLarge
        first, *rest = data.split(b"\n")
        self._keep(first)
        if not rest:
            return self._checked([])
        *whole, last = rest
        lines = [self._take(), *whole]
        self._keep(last)
        return self._checked(lines)

    def finish(self) -> list[bytes]:
        """Take the end of the bytes; returns the line that they end in, if they do. Raises LineTooLarge."""
        if self._failed:
            raise LineTooLarge
        return self._checked([self._take()])

    def _keep(self, data: bytes) -> None:
        if data and self._pending_bytes <= self._limit + 1:
            self._pending.append(data)
        self._pending_bytes += len(data)

    def _take(self) -> bytes:
        line = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return line

    def _checked(self, whole: list[bytes]) -> list[bytes]:
        lines: list[bytes] = []
        for line in whole:
            text = line.removesuffix(b"\r")
            if len(text) > self._limit:
                self._failed = True
                break
            if text and not text.isspace():
                lines.append(text)
        # One more than the limit: the last byte may be the carriage return of the line's end.
        self._failed = self._failed or self._pending_bytes > self._limit + 1
        if self._failed and not lines:
            raise LineTooLarge
        return lines
