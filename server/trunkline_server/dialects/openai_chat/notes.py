"""What is noted while a request is encoded for the chat completions API: whatever it cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline_server.dialects import notes
from trunkline_server.dialects.openai_responses.models import facts_of
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import CacheBreakpoint
    from trunkline_server.dialects.dialect import Quirks

_SHORT, _LONG = 300, 3600

JsonObject = dict[str, Any]


class Notes(notes.Notes):
    """Gathers the warnings of one request, and has the quirks of the host that it is for."""

    def __init__(self, quirks: Quirks, model: str) -> None:
        super().__init__()
        self.quirks = quirks
        # Whether parts of the prompt may end in a prompt_cache_breakpoint.
        self.breakpoints = quirks.breakpoints and facts_of(model).breakpoints

    def cache_control(self, cached: CacheBreakpoint, field: str) -> JsonObject:
        """What marks the end of a prompt worth caching; nothing where the host has no mark for it, or not there."""
        if self.breakpoints:
            self.dropped(field, "nothing can be cached here: set it on a part of a message to the model")
            return {}
        if not self.quirks.cache_control:
            self.dropped(field, "the provider caches by itself, or not at all: unset it")
            return {}
        control: JsonObject = {"type": "ephemeral"}
        if cached.HasField("ttl"):
            control["ttl"] = self._ttl(seconds(cached.ttl), f"{field}.ttl")
        return {"cache_control": control}

    def _ttl(self, wanted: float, field: str) -> str:
        sent = "5m" if wanted <= _SHORT else "1h"
        if wanted not in {_SHORT, _LONG}:
            self.changed(field, f"the provider caches for 5 minutes or an hour: {sent} is sent")
        return sent
