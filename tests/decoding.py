"""Reading a streamed answer with a dialect's decoder, in any pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.dialects.dialect import StreamDecoder


def decoded(
    decoder: StreamDecoder, pieces: Iterable[bytes]
) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    """The events of a stream, and the error that it ends in."""
    events: list[StreamGenerateResponse] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.finish()
    except UpstreamError as error:
        return events, error
    return events, None


def bytes_of(stream: bytes) -> list[bytes]:
    """The stream one byte at a time."""
    return [stream[index : index + 1] for index in range(len(stream))]
