"""Logs: one JSON line for each thing that happened. Prompts, answers and secrets are never among the fields."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

import structlog
from msgspec.json import Encoder
from structlog.typing import EventDict, FilteringBoundLogger

if TYPE_CHECKING:
    from structlog.typing import WrappedLogger

Log = FilteringBoundLogger

_ENCODER = Encoder(enc_hook=repr)


def build_log(stream: BinaryIO | None = None) -> Log:
    """A logger that writes JSON lines to `stream` (default: standard error), each at once.

    Nothing global is configured, so several gateways in one process do not share a log.
    """
    log: Log = structlog.wrap_logger(
        structlog.BytesLogger(stream or sys.stderr.buffer),
        processors=[_stamp, _encode],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    ).bind()
    return log


def _stamp(_: WrappedLogger, level: str, fields: EventDict) -> EventDict:
    fields["level"] = level
    fields["timestamp"] = datetime.now(UTC)
    return fields


def _encode(_: WrappedLogger, __: str, fields: EventDict) -> bytes:
    return _ENCODER.encode(fields)


def frames_of(error: BaseException) -> list[str]:
    """Where it happened, without the exception's text: that may hold a prompt or a secret."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
