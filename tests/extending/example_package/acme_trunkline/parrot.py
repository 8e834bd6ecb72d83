"""A whole provider: one handler, and what the catalogue tells of its models."""

from __future__ import annotations

from trunkline.v1.call_pb2 import OUTCOME_AUTH, Usage
from trunkline.v1.content_pb2 import FINISH_REASON_MAX_TOKENS, FINISH_REASON_STOP, Part
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.extending import Call, Events, Provider, UpstreamError, settings_of


async def handle(call: Call) -> Events:
    """Say again what was said last, word by word."""
    key = settings_of(call).api_key
    if key is None or key.reveal() != "cracker":
        raise UpstreamError(OUTCOME_AUTH, "the parrot wants a cracker")
    words = call.request.messages[-1].parts[0].text.split()
    limit = call.request.config.max_output_tokens or len(words)
    yield StreamGenerateResponse(part_started=PartStarted(part_index=0, part=Part(text="")))
    for word in words[:limit]:
        yield StreamGenerateResponse(part_delta=PartDelta(part_index=0, text=f"{word} "))
    yield StreamGenerateResponse(part_completed=PartCompleted(part_index=0))
    yield StreamGenerateResponse(
        completed=StreamCompleted(
            response=GenerateResponse(
                finish_reason=FINISH_REASON_STOP if limit >= len(words) else FINISH_REASON_MAX_TOKENS,
                usage=Usage(input_tokens=len(words), output_tokens=min(limit, len(words))),
            )
        )
    )


PARROT = Provider(
    handle=handle,
    models=["macaw", "cockatoo"],
    windows={"macaw": 100},
    key_required=True,
    key_env="PARROT_API_KEY",
    status_url="https://status.parrot.example",
)
