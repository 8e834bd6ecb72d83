"""AWS event streams made by hand: messages with both checksums, as Bedrock frames them."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline_server.wire.eventstream import HeaderValue


class Sized(int):
    """An integer that is sent in so many bytes."""

    size: int

    def __new__(cls, value: int, size: int) -> Sized:
        number = super().__new__(cls, value)
        number.size = size
        return number


def message(headers: Mapping[str, HeaderValue], payload: bytes = b"") -> bytes:
    encoded = b"".join(bytes([len(name.encode())]) + name.encode() + _value(value) for name, value in headers.items())
    return framed(encoded, payload)


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message with right lengths and checksums, whatever its headers are."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return body + struct.pack(">I", crc32(body))


def _value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case int():
            size = value.size if isinstance(value, Sized) else 8
            return bytes([{1: 2, 2: 3, 4: 4, 8: 5}[size]]) + value.to_bytes(size, "big", signed=True)
        case bytes() | str():
            data = value if isinstance(value, bytes) else value.encode()
            return (b"\x06" if data is value else b"\x07") + struct.pack(">H", len(data)) + data
        case UUID():
            return b"\x09" + value.bytes
    milliseconds = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return b"\x08" + struct.pack(">q", milliseconds)


def event(kind: str, body: Any) -> bytes:
    """One event of ConverseStream, padded as Bedrock pads its own."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(body | {"p": "abcdefgh"}, ensure_ascii=False, separators=(",", ":")).encode())


def stream(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Events, each as `{kind: body}`."""
    return b"".join(event(kind, body) for each in events for kind, body in each.items())


def exception(kind: str, body: Any) -> bytes:
    """A modelled error inside a stream. Nobody has recorded one: made from AWS's service model."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(body).encode())


def unmodelled_error(code: str, words: str) -> bytes:
    """An error that the service model has no word for: headers only."""
    return message({":message-type": "error", ":error-code": code, ":error-message": words})
