"""What Bedrock says beside its answer: what was used, and what the contract has no word for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1 import call_pb2
from trunkline_server.dialects.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.struct_pb2 import Struct

    from trunkline_server.dialects.bedrock_converse.wire import Usage

# Of each member, as JSON. A larger one is left out; a guardrail's trace holds what it found, and what was said.
MAX_BYTES = 32 << 10
MAX_DEPTH = 24
_MOST = 1 << 60
_TTLS = frozenset({"5m", "1h"})


def metadata_of(members: Mapping[str, Any]) -> Struct | None:
    """The members that are set and not too large; None = there are none."""
    metadata = Metadata(MAX_BYTES, MAX_DEPTH)
    for name, value in members.items():
        metadata.add(name, value)
    return metadata.struct()


def usage_of(told: Usage | None) -> call_pb2.Usage | None:
    """In the contract's meaning: Bedrock's inputTokens are neither read from the cache nor written to it."""
    if told is None:
        return None
    read = _first(told.cache_read_input_tokens, told.cache_read_input_token_count)
    written = _first(told.cache_write_input_tokens, told.cache_write_input_token_count)
    usage = call_pb2.Usage(
        output_tokens=told.output_tokens, cache_read_input_tokens=read, cache_write_input_tokens=written
    )
    if told.input_tokens is not None:
        usage.input_tokens = told.input_tokens + (read or 0) + (written or 0)
    for name, count in _others(told):
        usage.other_units[name] = count
    return usage


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _others(told: Usage) -> Iterator[tuple[str, int]]:
    """How often the provider's own tools ran, and what was written to the cache by its price."""
    for name, count in (told.server_tool_usage or {}).items():
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST:
            yield name, count
    for detail in told.cache_details or ():
        if detail.ttl in _TTLS and detail.input_tokens is not None:
            yield f"ephemeral_{detail.ttl}_input_tokens", detail.input_tokens
