"""The scripted provider: answers by a script, fails by a script. For tests, demonstrations and load.

It speaks the wire format of `openai_chat` to itself: what it says, cut and malformed bytes included, goes through the
same decoder as a real provider's answer.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from trunkline.v1 import content_pb2
from trunkline_server.dialects import openai_chat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.settings.scripted import Script, ScriptedFailure

FOREVER = 1 << 62
A_YEAR = 365 * 86400.0
MALFORMED = b'data: {"choices": [{"delta": \n\n'


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the wire, sent after a pause of so many seconds."""

    pause: float
    data: bytes


def build_scripted(scripts: Mapping[str, Script]) -> Handler:
    """A handler that plays the script of the target's model.

    max_output_tokens is honoured (a token is a piece of the text); tools are asked for only if the request has any, and
    not again in answer to their results.
    """
    failures_left = {name: _times(script.failure) for name, script in scripts.items()}

    async def handle(call: Call) -> Events:
        name = call.target.model
        script, failure = scripts[name], None
        if failures_left[name]:
            failures_left[name] -= 1
            failure = script.failure
        if failure is not None and failure.kind == "status":
            raise _refusal(failure)
        decoder = openai_chat.stream_decoder()
        async with aclosing(_played(_broken(_pieces(script, call.request), failure))) as played:
            async for data in played:
                for event in decoder.feed(data):
                    yield event
        for event in decoder.finish():
            yield event

    return handle


def _times(failure: ScriptedFailure | None) -> int:
    if failure is None:
        return 0
    return FOREVER if failure.times is None else failure.times


def _refusal(failure: ScriptedFailure) -> Exception:
    headers = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
    body = b'{"error": {"message": "scripted failure", "type": "scripted", "code": "scripted"}}'
    return openai_chat.decode_error(failure.status, headers, body)


async def _played(pieces: Iterator[Piece]) -> AsyncGenerator[bytes, None]:
    """The bytes at their times. Pieces without a pause come together; the loop gets a turn every so often."""
    for count, piece in enumerate(pieces):
        if piece.pause > 0 or count % 64 == 63:
            await asyncio.sleep(piece.pause)
        yield piece.data


def _pieces(script: Script, request: GenerateRequest) -> Iterator[Piece]:
    """A whole answer."""
    pause = 1 / script.rate if script.rate else 0.0
    limit = request.config.max_output_tokens if request.config.HasField("max_output_tokens") else FOREVER
    words = _words(script.text)
    total = len(words) * script.repeat
    yield Piece(script.first_token, _delta({"role": "assistant", "content": ""}))
    for index in range(min(total, limit)):
        yield Piece(pause if index else 0.0, _delta({"content": words[index % len(words)]}))
    finish = "length" if limit < total else "stop"
    if _asks_for_tools(script, request) and finish == "stop":
        finish = "tool_calls"
        yield from (Piece(pause, data) for data in _tool_calls(script))
    yield Piece(0.0, _delta({}, finish))
    if script.usage:
        yield Piece(0.0, _usage(request, min(total, limit)))
    yield Piece(0.0, b"data: [DONE]\n\n")


def _asks_for_tools(script: Script, request: GenerateRequest) -> bool:
    results = bool(request.messages) and request.messages[-1].role == content_pb2.ROLE_TOOL
    return bool(request.tools and script.tool_calls and not results)


def _words(text: str) -> list[str]:
    """The text in pieces that join to it again: each a word with the space before it."""
    words = [" " + word for word in text.split(" ")]
    words[0] = words[0][1:]
    return words


def _tool_calls(script: Script) -> Iterator[bytes]:
    for index, call in enumerate(script.tool_calls):
        function = {"name": call.name, "arguments": call.arguments}
        yield _delta(
            {"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]}
        )


def _delta(delta: Mapping[str, object], finish_reason: str | None = None) -> bytes:
    return _event({"id": "scripted", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def _usage(request: GenerateRequest, output_tokens: int) -> bytes:
    """A word is a token, roughly as tokens go; exact enough to be tested against."""
    words = len(request.system_instruction.split())
    words += sum(len(part.text.split()) for message in request.messages for part in message.parts)
    usage = {"prompt_tokens": words, "completion_tokens": output_tokens}
    return _event({"id": "scripted", "choices": [], "usage": usage})


def _event(event: Mapping[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def _broken(pieces: Iterator[Piece], failure: ScriptedFailure | None) -> Iterator[Piece]:
    """The pieces, up to where the failure begins and as it goes on from there."""
    sent = 0
    for piece in pieces:
        left = FOREVER if failure is None else failure.after - sent
        sent += len(piece.data)
        if failure is None or len(piece.data) <= left:
            yield piece
        elif failure.kind == "slow":
            yield Piece(piece.pause + failure.delay, piece.data)
        else:
            yield Piece(piece.pause, piece.data[: max(left, 0)])
            yield from _break(failure)
            return


def _break(failure: ScriptedFailure) -> Iterator[Piece]:
    if failure.kind == "stall":
        yield Piece(A_YEAR, b"")
    elif failure.kind == "malformed":
        yield Piece(0.0, b"\n\n" + MALFORMED)
