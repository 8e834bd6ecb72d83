"""What the upstream says, as bytes made beforehand: OpenAI's chat completions, as long and as wordy as real ones.

A model's name says what it does:

    unary                   a whole answer of 120 tokens
    paced-<tokens>-<rate>   a stream of so many tokens, so many a second; the first one after the first pause
    burst-<tokens>          a stream whose tokens are all there at once
    mixed-<tokens>          the same, and then two tool calls whose arguments come in pieces
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Tokens as a model makes them: a word with the space before it, a piece of one, and now and then more than ASCII.
TOKENS = (" the", " gate", "way", " answers", ",", " naïve", " tokens", " 流", "\n", ' "quoted"', " and", " 🚦", " on")
ARGUMENTS = '{"city": "Zürich", "days": 3, "units": "metric", "note": "rain or \\"shine\\""}'
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send: the head at once, then piece after piece."""

    head: bytes
    pieces: tuple[bytes, ...] = ()
    # Seconds before each piece.
    pause: float = 0.0


@lru_cache
def answer_of(model: str) -> Answer:
    """What this model says to every request."""
    kind, *numbers = model.split("-")
    if kind == "unary":
        body = whole(model)
        return Answer(JSON_HEAD % len(body) + body)
    *pieces, finish, usage, done = [_framed(event) for event in events(model)]
    last = finish + usage + done + END
    if kind == "paced":
        first, second, *rest = pieces
        return Answer(STREAM_HEAD, (first + second, *rest, last), 1 / int(numbers[1]))
    return Answer(STREAM_HEAD + b"".join(pieces) + last)


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def whole(model: str) -> bytes:
    """The body of a whole answer."""
    message = {"role": "assistant", "content": "".join(_tokens(120)), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json({**_common(model, "chat.completion"), "choices": [choice], "usage": _usage(120)})


def events(model: str) -> Iterator[bytes]:
    """The server-sent events of a streamed answer, one for each token."""
    kind, count, *_ = model.split("-")
    yield _delta(model, {"role": "assistant", "content": "", "refusal": None})
    for token in _tokens(int(count)):
        yield _delta(model, {"content": token})
    if kind == "mixed":
        for index in (0, 1):
            yield from (_delta(model, {"tool_calls": [piece]}) for piece in _tool_call(index))
    yield _delta(model, {}, "tool_calls" if kind == "mixed" else "stop")
    yield _event({**_common(model, "chat.completion.chunk"), "choices": [], "usage": _usage(int(count))})
    yield b"data: [DONE]\n\n"


def _tokens(count: int) -> Iterator[str]:
    return islice(cycle(TOKENS), count)


def _tool_call(index: int) -> Iterator[dict[str, Any]]:
    function = {"name": f"weather_{index}", "arguments": ""}
    yield {"index": index, "id": f"call_{index}", "type": "function", "function": function}
    for start in range(0, len(ARGUMENTS), 5):
        yield {"index": index, "function": {"arguments": ARGUMENTS[start : start + 5]}}


def _delta(model: str, delta: Mapping[str, object], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _event({**_common(model, "chat.completion.chunk"), "choices": [choice], "usage": None})


def _common(model: str, kind: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": kind,
        "created": 1_760_000_000,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }


def _usage(count: int) -> dict[str, object]:
    return {
        "prompt_tokens": 80,
        "completion_tokens": count,
        "total_tokens": 80 + count,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _event(event: Mapping[str, object]) -> bytes:
    return b"data: " + _json(event) + b"\n\n"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
