"""What each case has to come to, in every language: CASES.md says what a program does for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests/golden_contract"

HELLO = "Hello from the gateway."
WEATHER = "It is sunny in Paris."
TOOL = ("get_weather", '{"city": "Paris"}')

ERRORS = [
    {
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_REQUEST",
        "retry_delay": None,
        "fields": ["config.temperature", "config.top_p"],
    },
    {"code": "UNAVAILABLE", "reason": "ALL_PROVIDERS_FAILED", "retry_delay": 1.0, "fields": []},
]


def golden() -> dict[str, Any]:
    """The golden messages in canonical JSON, by the names of their files."""
    return {name: json.loads((GOLDEN / f"{name}.json").read_text()) for name in types()}


def types() -> dict[str, str]:
    """The full names of the golden messages' types, by the names of their files."""
    told: dict[str, str] = json.loads((GOLDEN / "types.json").read_text())
    return told


EXPECTED: dict[str, Any] = {
    "unary": {"text": HELLO, "finish_reason": "FINISH_REASON_STOP", "input_tokens": 2, "output_tokens": 4},
    "stream": {"text": HELLO, "completed": 1},
    "cancel": {"code": "CANCELLED"},
    "deadline": {"code": "DEADLINE_EXCEEDED"},
    "tools": {"name": TOOL[0], "arguments": TOOL[1], "text": WEATHER},
    "error_details": ERRORS,
    "retry_pushback": {"text": HELLO, "attempts": 3, "waited": True, "stopped_after": 1},
    "health": {"status": "SERVING", "state": "STATE_SERVING"},
    "usage": {"calls": True},
    "tls": {"text": HELLO},
    "api_key": {"code": "UNAUTHENTICATED", "reason": "KEY_MISSING"},
    "unknown": {
        "id": "from-a-newer-gateway",
        "finish_reason": 99,
        "text": "known",
        "same_bytes": True,
    },
    "golden": golden(),
}

# What two minutes of the same come to: every answer that there was, by kind.
LOAD = {
    "unary": [HELLO],
    "stream": [HELLO],
    "tools": [WEATHER],
    "cancel": ["CANCELLED"],
}
