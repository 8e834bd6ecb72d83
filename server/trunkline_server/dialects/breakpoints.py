"""OpenAI's own mark for the end of a prompt worth caching, in both of its APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import CacheBreakpoint
    from trunkline_server.dialects.notes import Notes

_SHORT, _LONG = 30 * 60, 12 * 60 * 60


def prompt_cache_breakpoint(cached: CacheBreakpoint, field: str, notes: Notes) -> dict[str, Any]:
    """Its value. `field` is the breakpoint's path in the request."""
    if not cached.HasField("ttl"):
        return {"mode": "explicit"}
    wanted = seconds(cached.ttl)
    sent = "30m" if wanted <= _SHORT else "12h"
    if wanted not in {_SHORT, _LONG}:
        notes.changed(f"{field}.ttl", f"the provider caches for 30 minutes or 12 hours: {sent} is sent")
    return {"mode": "explicit", "ttl": sent}
