"""AWS's binary event stream (application/vnd.amazon.eventstream): bytes in, messages out. Sans-I/O.

A message is, in big-endian: its length (4 bytes), the length of its headers (4), the CRC-32 of these eight (4), the
headers, the payload, and the CRC-32 of all before (4). Both checksums are verified, the first as soon as it is there.
Source: "Event stream encoding" in the documentation of Amazon Transcribe.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

from msgspec import Struct

from trunkline_server.wire.framing import FramingError

if TYPE_CHECKING:
    from collections.abc import Mapping

HeaderValue = bool | int | bytes | str | datetime | UUID

# AWS's own limits.
MAX_HEADERS_BYTES = 128 << 10
MAX_PAYLOAD_BYTES = 24 << 20
_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_OVERHEAD = _PRELUDE.size + _CHECKSUM.size
# By the kinds of header values that are integers.
_INTEGERS: Mapping[int, struct.Struct] = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
}
_UUID_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventStreamError(FramingError):
    """The bytes are not an event stream. It cannot be read on."""


class MessageTooLarge(EventStreamError):
    """A message is longer than the framer takes."""


class ChecksumMismatch(EventStreamError):
    """A message was damaged on its way."""


class MalformedMessage(EventStreamError):
    """A message's lengths or headers make no sense."""


class TruncatedMessage(EventStreamError):
    """The stream ends inside a message."""


class EventStreamMessage(Struct, frozen=True):
    """One message. Header names are as sent, with their colons; a timestamp is a datetime in UTC."""

    headers: dict[str, HeaderValue]
    payload: bytes

    def text(self, name: str) -> str:
        """A header's text. Empty = there is no such header, or it is no text."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class EventStreamFramer:
    """Cuts one stream into messages, the same ones however its bytes arrive. Time and memory are linear in the bytes.

    The first error stands: the messages before it are returned first, and from then on every call raises it.
    """

    def __init__(self, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._limit = max_payload_bytes
        self._buffer = bytearray()
        # Of the message that is under way: its length and that of its headers. 0 = not known yet.
        self._total = 0
        self._headers = 0
        self._failure: EventStreamError | None = None

    def feed(self, data: bytes) -> list[EventStreamMessage]:
        """Take the next bytes; returns the messages that they complete. Raises EventStreamError."""
        messages: list[EventStreamMessage] = []
        if self._failure is None:
            self._buffer += data
            try:
                self._cut_into(messages)
            except EventStreamError as error:
                self._failure = error
        if self._failure is not None and not messages:
            raise self._failure
        return messages

    def finish(self) -> list[EventStreamMessage]:
        """Take the end of the bytes: no message is left. Raises TruncatedMessage where they end inside one."""
        if self._failure is None and self._buffer:
            self._failure = TruncatedMessage("the stream ends inside a message")
        if self._failure is not None:
            raise self._failure
        return []

    def _cut_into(self, messages: list[EventStreamMessage]) -> None:
        start = 0
        while self._knows_length(start) and len(self._buffer) - start >= self._total:
            messages.append(self._message(bytes(self._buffer[start : start + self._total])))
            start += self._total
            self._total = 0
        # Once for all that arrived together: cutting off one by one would be quadratic.
        del self._buffer[:start]

    def _knows_length(self, start: int) -> bool:
        if not self._total and len(self._buffer) - start >= _PRELUDE.size:
            total, headers, checksum = _PRELUDE.unpack_from(self._buffer, start)
            if crc32(self._buffer[start : start + 8]) != checksum:
                raise ChecksumMismatch("the checksum of a message's lengths is wrong")
            if total < headers + _OVERHEAD:
                raise MalformedMessage("a message is shorter than its headers")
            if headers > MAX_HEADERS_BYTES or total - headers - _OVERHEAD > self._limit:
                raise MessageTooLarge("a message is longer than what is taken")
            self._total, self._headers = total, headers
        return self._total > 0

    def _message(self, data: bytes) -> EventStreamMessage:
        end = len(data) - _CHECKSUM.size
        if crc32(memoryview(data)[:end]) != _CHECKSUM.unpack_from(data, end)[0]:
            raise ChecksumMismatch("the checksum of a message is wrong")
        body = _PRELUDE.size + self._headers
        return EventStreamMessage(_headers(data[_PRELUDE.size : body]), data[body:end])


def _headers(data: bytes) -> dict[str, HeaderValue]:
    """Raises MalformedMessage."""
    headers: dict[str, HeaderValue] = {}
    position = 0
    try:
        while position < len(data):
            end = position + 1 + data[position]
            name = data[position + 1 : end].decode()
            if not name or name in headers:
                raise MalformedMessage("a header has no name, or stands twice")
            headers[name], position = _value(data[end], data, end + 1)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError):
        raise MalformedMessage("a message's headers cannot be read") from None
    return headers


def _value(kind: int, data: bytes, start: int) -> tuple[HeaderValue, int]:
    """A header's value, and where it ends."""
    match kind:
        case 0 | 1:
            return kind == 0, start
        case 6:
            return _sized(data, start)
        case 7:
            value, end = _sized(data, start)
            return value.decode(), end
        case 8:
            milliseconds, end = _integer(_INTEGERS[5], data, start)
            return _EPOCH + timedelta(milliseconds=milliseconds), end
        case 9:
            return UUID(bytes=_exactly(_UUID_BYTES, data, start)), start + _UUID_BYTES
    if kind not in _INTEGERS:
        raise MalformedMessage("a header is of a kind that does not exist")
    return _integer(_INTEGERS[kind], data, start)


def _integer(layout: struct.Struct, data: bytes, start: int) -> tuple[int, int]:
    return layout.unpack_from(data, start)[0], start + layout.size


def _sized(data: bytes, start: int) -> tuple[bytes, int]:
    size, start = _integer(_LENGTH, data, start)
    return _exactly(size, data, start), start + size


def _exactly(size: int, data: bytes, start: int) -> bytes:
    value = data[start : start + size]
    if len(value) != size:
        raise MalformedMessage("a header goes on beyond the end of the headers")
    return value
