"""What an answer used: the Messages API's figures in the contract's meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline_server.dialects.anthropic_messages.wire import CacheCreation, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 1 << 60


class Tally:
    """Gathers the figures of one answer. Later ones replace earlier ones: they count from the beginning."""

    def __init__(self) -> None:
        self._told: Usage | None = None

    def add(self, usage: Usage | None) -> None:
        """Take figures; what they leave out stands as it was."""
        if usage is None:
            return
        known = {name: value for name, value in structs.asdict(usage).items() if value is not None}
        self._told = structs.replace(self._told or Usage(), **known)

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so.

        The API's input_tokens are those that are neither read from the cache nor written to it; the contract's are all.
        """
        told = self._told
        if told is None:
            return None
        written = _written(told)
        usage = call_pb2.Usage(
            output_tokens=told.output_tokens,
            cache_read_input_tokens=told.cache_read_input_tokens,
            cache_write_input_tokens=written,
        )
        if told.input_tokens is not None:
            usage.input_tokens = told.input_tokens + (told.cache_read_input_tokens or 0) + (written or 0)
        if told.output_tokens_details and told.output_tokens_details.thinking_tokens is not None:
            usage.reasoning_output_tokens = told.output_tokens_details.thinking_tokens
        for name, count in _others(told):
            usage.other_units[name] = count
        return usage if usage.ByteSize() else None


def _written(told: Usage) -> int | None:
    if told.cache_creation_input_tokens is not None or told.cache_creation is None:
        return told.cache_creation_input_tokens
    kept = (told.cache_creation.ephemeral_5m_input_tokens, told.cache_creation.ephemeral_1h_input_tokens)
    return sum(count for count in kept if count is not None) if any(count is not None for count in kept) else None


def _others(told: Usage) -> Iterator[tuple[str, int]]:
    """How often the provider's own tools ran, and what was written to the cache by its price."""
    for name, count in (told.server_tool_use or {}).items():
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST:
            yield name, count
    creation = told.cache_creation or CacheCreation()
    for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"):
        if (count := getattr(creation, name)) is not None:
            yield name, count
