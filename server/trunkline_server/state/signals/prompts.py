"""How long a prompt is, as far as first tokens hang on it: an estimate that costs next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest

# Bytes of a request to a token of it.
BYTES_PER_TOKEN = 4
# Only in larger requests there may be media to speak of.
_SMALL = 16_384


def prompt_tokens(request: GenerateRequest) -> int:
    """Tokens of text, about. Images, sounds and documents that are in it are not counted: what they take varies."""
    size = request.ByteSize()
    if size > _SMALL:
        size -= sum(len(part.media.data) for message in request.messages for part in message.parts)
    return size // BYTES_PER_TOKEN
