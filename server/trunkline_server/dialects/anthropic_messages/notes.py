"""What is noted while a request is encoded: warnings, and where the prompt is to be cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline_server.dialects import notes
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import CacheBreakpoint

MAX_BREAKPOINTS = 4
_SHORT, _LONG = 300, 3600

JsonObject = dict[str, Any]


class Notes(notes.Notes):
    """Gathers the warnings of one request and its cache breakpoints, in the order of the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self._breakpoints: list[tuple[str, JsonObject]] = []

    def cache(self, block: JsonObject, cached: CacheBreakpoint, field: str) -> None:
        """Mark `block` as the end of a prompt worth caching. `field` is the breakpoint's path in the request."""
        control: JsonObject = {"type": "ephemeral"}
        if cached.HasField("ttl"):
            control["ttl"] = self._ttl(seconds(cached.ttl), f"{field}.ttl")
        block["cache_control"] = control
        self._breakpoints.append((field, block))

    def limit_breakpoints(self) -> None:
        """Keep the last of the breakpoints, as many as the API takes: they end the longest prompts."""
        for field, block in self._breakpoints[:-MAX_BREAKPOINTS]:
            del block["cache_control"]
            self.dropped(field, f"the provider takes {MAX_BREAKPOINTS} cache breakpoints: the last ones are sent")

    def _ttl(self, wanted: float, field: str) -> str:
        sent = "5m" if wanted <= _SHORT else "1h"
        if wanted not in {_SHORT, _LONG}:
            self.changed(field, f"the provider caches for 5 minutes or an hour: {sent} is sent")
        return sent
