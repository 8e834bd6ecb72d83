"""What Ollama's errors mean. They are words alone: {"error": "..."}."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.dialects.classify import answered_error, embedded_error
from trunkline_server.dialects.scrub import scrub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.errors import UpstreamError

_NOT_PULLED = re.compile(r"model [\"']?(?P<name>[\w./:@-]{1,200}?)[\"']? not found", re.ASCII)
_TOO_LONG = re.compile(r"exceeds? (?:the |maximum |available )*context (?:length|size|window)", re.IGNORECASE)


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """What an answer with an error status means. Header names are lower case. Never raises."""
    error = answered_error(status, headers, body)
    return _refine(error) if status < 500 else error


def told_error(body: bytes) -> UpstreamError:
    """What an error in place of an answer, or of the rest of one, means. Never raises."""
    return _refine(embedded_error(body))


def _refine(error: UpstreamError) -> UpstreamError:
    """Tell from the words what neither a status nor a code does."""
    if missing := _NOT_PULLED.search(error.message):
        error.outcome = call_pb2.OUTCOME_MODEL_NOT_FOUND
        # The remedy first: the end of a long message is cut off.
        error.message = scrub(f"run `ollama pull {missing['name']}` on the server: {error.message}")
    elif _TOO_LONG.search(error.message):
        error.outcome = call_pb2.OUTCOME_CONTEXT_LENGTH
    return error
