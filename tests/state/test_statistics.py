from __future__ import annotations

import pytest

from trunkline.v1.call_pb2 import Usage
from trunkline_server.state.statistics import Finished, Statistics


def finished(result: str = "success", **changes: object) -> Finished:
    values: dict[str, object] = {
        "provider": "openai",
        "model": "openai/gpt",
        "result": result,
        "interrupted": False,
        "attempts": 1,
        "usage": None,
        "total_time": 2.0,
        "time_to_first_token": None,
    }
    return Finished(**values | changes)  # type: ignore[arg-type]


def test_the_last_success_and_failure_are_each_providers_own() -> None:
    last = Statistics()
    assert last.last("openai") == (None, None)
    for result, now in (("success", 1.0), ("error", 2.0), ("cancelled", 3.0), ("success", 4.0)):
        last.record(finished(result), now)
    assert last.last("openai") == (4.0, 2.0)
    assert last.last("groq") == (None, None)


@pytest.mark.parametrize(
    ("usage", "first", "rate"),
    [
        (Usage(output_tokens=30), 0.5, 20.0),
        (Usage(output_tokens=30), None, None),
        (Usage(output_tokens=30), 2.0, None),
        (Usage(), 0.5, None),
        (None, 0.5, None),
    ],
)
def test_output_rates_are_from_the_first_piece_to_the_end(
    usage: Usage | None, first: float | None, rate: float | None
) -> None:
    assert finished(usage=usage, time_to_first_token=first).output_rate() == rate


def test_a_rate_that_no_float_can_hold_is_none() -> None:
    assert finished(usage=Usage(output_tokens=1), total_time=2e-309, time_to_first_token=0.0).output_rate() is None
