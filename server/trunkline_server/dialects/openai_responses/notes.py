"""What is noted while a request is encoded: the warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import CacheBreakpoint

_SHORT, _LONG = 30 * 60, 12 * 60 * 60

JsonObject = dict[str, Any]


class Notes:
    """Gathers the warnings of one request."""

    def __init__(self) -> None:
        self.warnings: list[CallWarning] = []

    def dropped(self, field: str, why: str) -> None:
        """A setting is left out."""
        self._warn(CallWarning.KIND_PARAMETER_DROPPED, field, f"left out: {why}")

    def changed(self, field: str, what: str) -> None:
        """A setting is sent with another value."""
        self._warn(CallWarning.KIND_PARAMETER_CHANGED, field, what)

    def lost(self, field: str, why: str) -> None:
        """A piece of content is left out."""
        self._warn(CallWarning.KIND_CONTENT_DROPPED, field, f"left out: {why}")

    def breakpoint(self, cached: CacheBreakpoint, field: str) -> JsonObject:
        """The value of prompt_cache_breakpoint. `field` is the breakpoint's path in the request."""
        if not cached.HasField("ttl"):
            return {"mode": "explicit"}
        wanted = seconds(cached.ttl)
        sent = "30m" if wanted <= _SHORT else "12h"
        if wanted not in {_SHORT, _LONG}:
            self.changed(f"{field}.ttl", f"the provider caches for 30 minutes or 12 hours: {sent} is sent")
        return {"mode": "explicit", "ttl": sent}

    def _warn(self, kind: CallWarning.Kind.ValueType, field: str, message: str) -> None:
        self.warnings.append(CallWarning(kind=kind, field=field, message=message))
