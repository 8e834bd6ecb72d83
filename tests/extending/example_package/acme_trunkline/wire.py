"""Acme's text API: one text in, one text out, streamed as lines of JSON. This module is a Dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trunkline.v1.call_pb2 import OUTCOME_INTERRUPTED, OUTCOME_PROTOCOL_ERROR, Usage
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.content_pb2 import FINISH_REASON_MAX_TOKENS, FINISH_REASON_OTHER, FINISH_REASON_STOP, Part
from trunkline.v1.gateway_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.extending import Encoded, NdjsonFramer, Quirks, UpstreamError, answered_error

Event = StreamGenerateResponse
FINISH_REASONS = {"stop": FINISH_REASON_STOP, "limit": FINISH_REASON_MAX_TOKENS}
# By status, machine code and headers, as most providers mean them.
decode_error = answered_error


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """Everything that the request says is sent, or warned about by name."""
    texts = [part.text for message in request.messages for part in message.parts if part.text]
    body: dict[str, Any] = {"model": model, "stream": stream, "text": "\n".join([request.system_instruction, *texts])}
    if request.config.HasField("max_output_tokens"):
        body["limit"] = request.config.max_output_tokens
    return Encoded("/complete", json.dumps(body).encode(), warnings=[*left_out(request)])


def left_out(request: GenerateRequest) -> Iterator[CallWarning]:
    said = [f"config.{field.name}" for field, _ in request.config.ListFields() if field.name != "max_output_tokens"]
    for name in [*said, *["tools"] * bool(request.tools), *["response_format"] * request.HasField("response_format")]:
        yield CallWarning(
            kind=CallWarning.KIND_PARAMETER_DROPPED, field=name, message="left out: Acme does not know it"
        )


def decode_response(body: bytes) -> list[Event]:
    """A whole answer: the same events as a stream's."""
    answer = read(body)
    return [started(), delta(str(answer.get("text", ""))), *ended(answer)]


def stream_decoder() -> Decoder:
    return Decoder()


class Decoder:
    """Lines as {"more": "..."}, the last one {"end": "stop"}. Without that one the answer is not whole."""

    def __init__(self) -> None:
        self._lines = NdjsonFramer()
        self._begun = self._ended = False
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> list[Event]:
        return self._events(self._lines.feed(data))

    def finish(self) -> list[Event]:
        events = self._events(self._lines.finish())
        if not self._ended:
            raise self._failure or UpstreamError(OUTCOME_INTERRUPTED, code="no_terminal_marker")
        return events

    def _events(self, lines: list[bytes]) -> list[Event]:
        """What came before an error in the same bytes goes first; the next call raises."""
        events: list[Event] = []
        try:
            for line in lines if self._failure is None else []:
                events += self._take(read(line))
        except UpstreamError as error:
            self._failure = error
        if self._failure is not None and not events:
            raise self._failure
        return events

    def _take(self, line: dict[str, Any]) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            yield started()
        if "end" in line:
            self._ended = True
            yield from ended(line)
        else:
            yield delta(str(line.get("more", "")))


def read(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_json")
    return said


def started() -> Event:
    return Event(part_started=PartStarted(part_index=0, part=Part(text="")))


def delta(text: str) -> Event:
    return Event(part_delta=PartDelta(part_index=0, text=text))


def ended(answer: dict[str, Any]) -> Iterator[Event]:
    yield Event(part_completed=PartCompleted(part_index=0))
    reason = str(answer.get("end", ""))
    response = GenerateResponse(
        finish_reason=FINISH_REASONS.get(reason, FINISH_REASON_OTHER), provider_finish_reason=reason
    )
    if isinstance(answer.get("tokens"), list):
        put_in, put_out = answer["tokens"]
        response.usage.CopyFrom(Usage(input_tokens=put_in, output_tokens=put_out))
    yield Event(completed=StreamCompleted(response=response))
