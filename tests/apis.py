"""What providers answer in each wire format when they say "Hi there", and how they must be asked for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from event_streams import event as frame


def sse(*events: dict[str, Any], named: bool = False) -> bytes:
    lines = [f"event: {e['type']}\n" if named else "" for e in events]
    return b"".join(f"{line}data: {json.dumps(e)}\n\n".encode() for line, e in zip(lines, events, strict=True))


@dataclass(frozen=True)
class Api:
    """A provider's whole and streamed "Hi there", and how it must be asked."""

    kind: str
    whole: dict[str, Any]
    stream: bytes
    path: str
    stream_path: str
    key_header: tuple[str, str] = ("authorization", "Bearer k-1")
    content_type: str = "text/event-stream"
    settings: dict[str, Any] = field(default_factory=dict)


ANTHROPIC = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
OUTPUT = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
TEXT = {"type": "output_text", "text": "Hi there", "annotations": []}

APIS = [
    Api(
        "anthropic",
        {
            **ANTHROPIC,
            "content": [{"type": "text", "text": "Hi there"}],
            "usage": {"input_tokens": 5, "output_tokens": 2},
        },
        sse(
            {"type": "message_start", "message": {**ANTHROPIC, "content": [], "usage": {"input_tokens": 5}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
            named=True,
        ),
        "/v1/messages",
        "/v1/messages",
        ("x-api-key", "k-1"),
    ),
    Api(
        "gemini",
        {
            "candidates": [{"content": {"parts": [{"text": "Hi there"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
        },
        sse(
            {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
            {
                "candidates": [{"content": {"parts": [{"text": " there"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
            },
        ),
        "/models/m:generateContent",
        "/models/m:streamGenerateContent?alt=sse",
        ("x-goog-api-key", "k-1"),
    ),
    Api(
        "cohere",
        {
            "id": "c_1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi there"}]},
            "usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}},
        },
        sse(
            {"type": "message-start", "id": "c_1", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " there"}}}},
            {"type": "content-end", "index": 0},
            {
                "type": "message-end",
                "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}}},
            },
            named=True,
        ),
        "/v2/chat",
        "/v2/chat",
    ),
    Api(
        "ollama",
        {
            "message": {"role": "assistant", "content": "Hi there"},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 5,
            "eval_count": 2,
        },
        b'{"message":{"content":"Hi"},"done":false}\n{"message":{"content":" there"},"done":false}\n'
        b'{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":2}\n',
        "/api/chat",
        "/api/chat",
        content_type="application/x-ndjson",
    ),
    Api(
        "openai_responses",
        {**RESPONSE, "output": [{**OUTPUT, "content": [TEXT]}]},
        sse(
            {"type": "response.created", "response": {"id": "resp_1"}},
            {"type": "response.output_item.added", "output_index": 0, "item": {**OUTPUT, "content": []}},
            {
                "type": "response.content_part.added",
                "output_index": 0,
                "content_index": 0,
                "part": {**TEXT, "text": ""},
            },
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"},
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": " there"},
            {"type": "response.output_item.done", "output_index": 0, "item": {**OUTPUT, "content": [TEXT]}},
            {"type": "response.completed", "response": {**RESPONSE, "output": [{**OUTPUT, "content": [TEXT]}]}},
            named=True,
        ),
        "/responses",
        "/responses",
    ),
    Api(
        "bedrock",
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi there"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7},
        },
        frame("messageStart", {"role": "assistant"})
        + frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})
        + frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " there"}})
        + frame("contentBlockStop", {"contentBlockIndex": 0})
        + frame("messageStop", {"stopReason": "end_turn"})
        + frame("metadata", {"usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}}),
        "/model/m/converse",
        "/model/m/converse-stream",
        content_type="application/vnd.amazon.eventstream",
    ),
]

CHUNK = {"id": "c_1", "object": "chat.completion.chunk", "model": "m"}
CHAT = Api(
    "openai_compatible",
    {
        "id": "c_1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi there"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    },
    sse(
        {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]},
        {**CHUNK, "choices": [{"index": 0, "delta": {"content": " there"}, "finish_reason": "stop"}]},
        {**CHUNK, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
    )
    + b"data: [DONE]\n\n",
    "/chat/completions",
    "/chat/completions",
    settings={"models": ["m"]},
)
