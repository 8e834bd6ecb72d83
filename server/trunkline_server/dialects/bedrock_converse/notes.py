"""What is noted while a request is encoded: warnings, and the cachePoints of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline_server.dialects.anthropic_messages.notes import MAX_BREAKPOINTS
from trunkline_server.dialects.anthropic_messages.notes import Notes as WarningNotes
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import CacheBreakpoint
    from trunkline_server.dialects.bedrock_converse.models import Model

JsonObject = dict[str, Any]


class Notes(WarningNotes):
    """Gathers the warnings of one request and its cachePoints, in the order of the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self._points: list[tuple[str, JsonObject]] = []

    def cache_point(self, cached: CacheBreakpoint, path: str, model: Model) -> list[JsonObject]:
        """The block that ends a prompt worth caching; none where the model has no cache. `path` is the breakpoint's."""
        if not model.caches:
            self.dropped(path, "the model has no prompt cache: unset it, or choose another one")
            return []
        point: JsonObject = {"type": "default"}
        if cached.HasField("ttl"):
            point["ttl"] = self._ttl(seconds(cached.ttl), f"{path}.ttl")
        block = {"cachePoint": point}
        self._points.append((path, block))
        return [block]

    def limit_cache_points(self, *contents: list[JsonObject]) -> None:
        """Keep the last of them, as many as the API takes: they end the longest prompts."""
        surplus = self._points[:-MAX_BREAKPOINTS]
        for path, _ in surplus:
            self.dropped(path, f"the provider takes {MAX_BREAKPOINTS} cache breakpoints: the last ones are sent")
        left_out = {id(block) for _, block in surplus}
        for content in contents:
            content[:] = [block for block in content if id(block) not in left_out]
