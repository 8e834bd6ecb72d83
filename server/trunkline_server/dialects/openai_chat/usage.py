"""What an answer used, as the many hosts of the chat completions API count it, in the contract's meaning.

A decoder does not know its host, so the figures themselves must tell how they were counted: their total does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.dialects.openai_chat.wire import CompletionDetails, PromptDetails, ServerTools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.dialects.openai_chat.wire import Usage

_MOST = (1 << 63) - 1


def usage_of(usage: Usage) -> call_pb2.Usage:
    """Input with what was cached, output with what was thought. What the host does not say is absent."""
    prompt = usage.prompt_tokens_details or PromptDetails()
    completion = usage.completion_tokens_details or CompletionDetails()
    reasoning = _first(completion.reasoning_tokens, usage.reasoning_tokens)
    cached = _first(
        prompt.cached_tokens, usage.cached_tokens, usage.prompt_cache_hit_tokens, usage.cache_read_input_tokens
    )
    written = _first(
        prompt.cache_write_tokens,
        prompt.cache_creation_tokens,
        prompt.cache_creation_input_tokens,
        usage.cache_creation_input_tokens,
    )
    output = _output(usage, reasoning)
    return call_pb2.Usage(
        input_tokens=_input(usage, prompt.audio_tokens or 0, (cached or 0) + (written or 0)),
        output_tokens=output,
        cache_read_input_tokens=cached,
        cache_write_input_tokens=written,
        # OpenRouter counts thoughts by its own tokens, which may be more than those of the answer.
        reasoning_output_tokens=reasoning if reasoning is None or output is None else min(reasoning, output),
        other_units=dict(_others(usage, prompt, completion)),
    )


def _input(usage: Usage, audio: int, cached: int) -> int | None:
    tokens = usage.prompt_tokens
    if tokens is None:
        hit, miss = usage.prompt_cache_hit_tokens, usage.prompt_cache_miss_tokens
        return None if hit is None or miss is None else min(hit + miss, _MOST)
    if audio and _unexplained(usage) == audio:
        # Mistral's figure is without the sound.
        tokens += audio
    if cached > tokens:
        # The figure of Grok on Azure is without what was cached.
        tokens += cached
    return min(tokens, _MOST)


def _output(usage: Usage, reasoning: int | None) -> int | None:
    tokens = usage.completion_tokens
    if tokens is None or not reasoning:
        return tokens
    is_apart = reasoning > tokens if usage.total_tokens is None else _unexplained(usage) == reasoning
    # The figure of xAI is without the thoughts.
    return min(tokens + reasoning, _MOST) if is_apart else tokens


def _unexplained(usage: Usage) -> int:
    """What the total has beyond input and output."""
    return (usage.total_tokens or 0) - (usage.prompt_tokens or 0) - (usage.completion_tokens or 0)


def _others(usage: Usage, prompt: PromptDetails, completion: CompletionDetails) -> Iterator[tuple[str, int]]:
    counts = {
        "input_audio_tokens": prompt.audio_tokens,
        "output_audio_tokens": completion.audio_tokens,
        "citation_tokens": usage.citation_tokens,
        "search_queries": usage.num_search_queries,
        "sources": usage.num_sources_used,
        "web_search_requests": (usage.server_tool_use or ServerTools()).web_search_requests,
    }
    for name, count in counts.items():
        if count:
            yield name, count


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
