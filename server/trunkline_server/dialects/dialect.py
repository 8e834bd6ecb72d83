"""What a dialect is: pure functions between the contract's messages and one provider API's bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse
    from trunkline_server.errors import UpstreamError


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a vendor strays from its dialect. Data of the provider's row."""

    # The vendor's name for max_output_tokens.
    max_tokens_field: str = "max_completion_tokens"
    # Sampling settings of the contract that the vendor does not know: left out with a warning.
    unsupported: frozenset[str] = frozenset()
    # How many stop sequences the vendor takes; the rest is left out with a warning.
    max_stop_sequences: int = 4
    # Whether the vendor's tool_choice knows "allowed_tools". If not, only the allowed tools are sent.
    allowed_tools: bool = True


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request in the provider's words."""

    # Appended to the provider's base URL.
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    # What could not be said. `target` is filled in by the caller of encode_request.
    warnings: Sequence[CallWarning] = ()


class StreamDecoder(Protocol):
    """Turns the bytes of one streamed answer into events, however they are cut."""

    def feed(self, data: bytes) -> list[StreamGenerateResponse]:
        """Take the next bytes. Raises UpstreamError where the stream carries an error or breaks its wire format.

        Events that came before it in the same bytes are returned first; the next call raises.
        """

    def finish(self) -> list[StreamGenerateResponse]:
        """Take the end of the bytes. Raises UpstreamError (INTERRUPTED) where the terminal marker is missing."""


class Dialect(Protocol):
    """One wire format. A module is one. No I/O, no clock, no environment."""

    def encode_request(self, request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
        """The request for `model`. The request is valid (layers/resolve saw to it)."""

    def decode_response(self, body: bytes) -> list[StreamGenerateResponse]:
        """A whole answer as events: each part started and completed, then completed. Raises UpstreamError."""

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for one streamed answer."""

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What an answer with an error status means. Header names are lower case. Never raises."""
