"""What is noted while a request is encoded: the warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline_server.dialects import notes
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import CacheBreakpoint

_SHORT, _LONG = 30 * 60, 12 * 60 * 60

JsonObject = dict[str, Any]


class Notes(notes.Notes):
    """Gathers the warnings of one request."""

    def breakpoint(self, cached: CacheBreakpoint, field: str) -> JsonObject:
        """The value of prompt_cache_breakpoint. `field` is the breakpoint's path in the request."""
        if not cached.HasField("ttl"):
            return {"mode": "explicit"}
        wanted = seconds(cached.ttl)
        sent = "30m" if wanted <= _SHORT else "12h"
        if wanted not in {_SHORT, _LONG}:
            self.changed(f"{field}.ttl", f"the provider caches for 30 minutes or 12 hours: {sent} is sent")
        return {"mode": "explicit", "ttl": sent}
