"""What the Responses API says beside an answer: what was used, and what the contract has no word for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1.call_pb2 import Usage
from trunkline_server.dialects.metadata import Metadata
from trunkline_server.dialects.openai_responses.wire import InputDetails, OutputDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.struct_pb2 import Struct

    from trunkline_server.dialects.openai_responses.wire import Response

KEPT = (
    "model",
    "service_tier",
    "system_fingerprint",
    "metadata",
    "content_filters",
    "moderation",
    "prompt_cache_retention",
)
_MOST = (1 << 63) - 1


def usage_of(response: Response) -> Usage | None:
    """What was used. The API counts cached tokens as input and reasoning as output, as the contract does.

    Figures that cannot be are absent: an answer is not lost for them.
    """
    usage = response.usage
    if usage is None:
        return None
    put_in = usage.input_tokens_details or InputDetails()
    put_out = usage.output_tokens_details or OutputDetails()
    return Usage(
        input_tokens=_possible(usage.input_tokens),
        output_tokens=_possible(usage.output_tokens),
        cache_read_input_tokens=_possible(put_in.cached_tokens),
        cache_write_input_tokens=_possible(put_in.cache_write_tokens),
        reasoning_output_tokens=_possible(put_out.reasoning_tokens),
        other_units=dict(_other_units(response)),
    )


def _possible(count: int | None) -> int | None:
    return None if count is None or count < 0 else count


def _other_units(response: Response) -> Iterator[tuple[str, int]]:
    """Uses of the provider's own tools, by its own names. A tool that was not used is left out."""
    searches = response.tool_usage and response.tool_usage.web_search
    if searches and searches.num_requests:
        yield "web_search_requests", searches.num_requests
    details = response.usage and response.usage.server_side_tool_usage_details
    if isinstance(details, dict):
        yield from ((name, count) for name, count in details.items() if _is_count(count))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST


def metadata_of(response: Response) -> tuple[Struct | None, list[str]]:
    """What the contract has no word for, and the names of what is too large to be kept."""
    metadata = Metadata()
    for name in KEPT:
        metadata.add(name, getattr(response, name))
    if response.usage is not None:
        metadata.add("cost_in_usd_ticks", response.usage.cost_in_usd_ticks)
    return metadata.struct(), [*metadata.left_out]
