"""OpenRouter's reasoning_details: put together from their pieces, to be sent back as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.json import encode

from trunkline.v1.content_pb2 import ProviderState
from trunkline_server.dialects.openai_chat.messages import REASONING_DETAILS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What of a detail is words, which come in pieces; everything else comes whole.
WORDS: Mapping[str, str] = {"reasoning.text": "text", "reasoning.summary": "summary"}

JsonObject = dict[str, Any]


class Thoughts:
    """The details of one answer, in their order."""

    def __init__(self) -> None:
        self._details: list[JsonObject] = []

    def add(self, details: Sequence[Any]) -> None:
        """Take the next pieces; what is no object tells nothing."""
        for piece in details:
            if isinstance(piece, dict):
                self._take(piece)

    def state(self) -> ProviderState | None:
        """What the provider wants back; None = nothing."""
        if not self._details:
            return None
        return ProviderState(format=REASONING_DETAILS, data=encode(self._details).decode())

    def _take(self, piece: JsonObject) -> None:
        last = self._details[-1] if self._details else {}
        words = WORDS.get(piece["type"]) if isinstance(piece.get("type"), str) else None
        if words is None or any(piece.get(key) != last.get(key) for key in ("type", "index")):
            self._details.append(dict(piece))
            return
        said = [text for text in (last.get(words), piece.get(words)) if isinstance(text, str)]
        last |= {key: value for key, value in piece.items() if value is not None}
        last[words] = "".join(said)
