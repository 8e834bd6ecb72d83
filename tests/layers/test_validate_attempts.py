"""What can be wrong with how a call wants to be tried."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.layers.validate import violations

CONTINUE = call_pb2.ON_INTERRUPTION_CONTINUE
JSON = content_pb2.ResponseFormat(kind=content_pb2.ResponseFormat.KIND_JSON)
THINKING = pb.GenerationConfig(thinking=pb.Thinking(effort=pb.Thinking.EFFORT_HIGH))


def fields(context: Any = None, request: Any = None, **routing: Any) -> list[str]:
    it = pb.GenerateRequest(prompt="x", routing=call_pb2.Routing(**routing), context=context, **(request or {}))
    return [violation.field for violation in violations(it)]


@pytest.mark.parametrize(
    ("routing", "field"),
    [
        ({"fallback_models": ["m"] * 9}, "routing.fallback_models"),
        ({"fallback_models": ["m", ""]}, "routing.fallback_models[1]"),
        ({"fallback_models": ["m"], "disable_fallback": True}, "routing.disable_fallback"),
        ({"attempt_timeout": Duration()}, "routing.attempt_timeout"),
        ({"max_attempts": 0}, "routing.max_attempts"),
        ({"max_attempts": 11}, "routing.max_attempts"),
        ({"on_interruption": 9}, "routing.on_interruption"),
        ({"on_interruption": CONTINUE, "request": {"response_format": JSON}}, "routing.on_interruption"),
        ({"on_interruption": CONTINUE, "request": {"config": THINKING}}, "routing.on_interruption"),
        ({"context": call_pb2.CallContext(priority=9)}, "context.priority"),  # type: ignore[arg-type]
    ],
)
def test_refused(routing: dict[str, Any], field: str) -> None:
    assert fields(**routing) == [field]


def test_taken() -> None:
    right = {"fallback_models": ["m"] * 8, "attempt_timeout": Duration(nanos=1_000_000), "max_attempts": 10}
    context = call_pb2.CallContext(priority=call_pb2.PRIORITY_INTERACTIVE)
    assert fields(context, **right, on_interruption=CONTINUE, allow_hedging=True) == []
