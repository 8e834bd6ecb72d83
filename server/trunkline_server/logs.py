"""Logs: one JSON line for each thing that happened. Prompts, answers and secrets are never among the fields."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Log = structlog.typing.FilteringBoundLogger


def build_log(stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger that writes JSON lines to `stream` (default: standard error).

    Nothing global is configured, so several gateways in one process do not share a log.
    """
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    return log


def _json(fields: dict[str, Any], **_: object) -> str:
    return msgspec.json.encode(fields, enc_hook=repr).decode()
