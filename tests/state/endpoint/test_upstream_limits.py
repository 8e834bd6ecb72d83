from __future__ import annotations

from typing import Any

import pytest

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import Usage
from trunkline_server.dialects.limits import Limit
from trunkline_server.settings.reliability import ProviderLimits
from trunkline_server.state.endpoint.bucket import Wait
from trunkline_server.state.endpoint.upstream_limits import Reserved, UpstreamLimits

SMALL = pb.GenerateRequest(prompt="x" * 290, config=pb.GenerationConfig(max_output_tokens=100))


def limits(**configured: int) -> UpstreamLimits:
    return UpstreamLimits(ProviderLimits(**configured))


def reserved(of: UpstreamLimits, now: float = 0.0, patience: float = 0.0, request: Any = SMALL) -> Reserved:
    found = of.reserve(request, now, patience)
    assert not isinstance(found, Wait)
    return found[0]


def left(of: UpstreamLimits, now: float = 0.0) -> dict[str, int]:
    return {each.dimension: each.remaining for each in of.left(now)}


def test_without_limits_nothing_is_reserved() -> None:
    assert not limits().known
    assert limits().wait(0.0) == 0


def test_what_was_thought_is_settled_with_what_was_used() -> None:
    of = limits(requests_per_minute=10, tokens_per_minute=1000, output_tokens_per_minute=500)
    held = reserved(of)
    thought = 1000 - left(of)["tokens"]
    assert thought > 190
    assert left(of)["output_tokens"] == 400
    held.settle(Usage(input_tokens=7, output_tokens=3), 0.0)
    held.settle(Usage(input_tokens=7, output_tokens=3), 0.0)
    assert left(of) == {"requests": 9, "tokens": 990, "output_tokens": 497}


def test_without_usage_what_was_thought_stands_and_what_was_not_sent_comes_back() -> None:
    of = limits(tokens_per_minute=1000)
    held = reserved(of)
    thought = left(of)
    held.settle(None, 0.0)
    assert left(of) == thought
    reserved(of).release(0.0)
    assert left(of) == thought


def test_those_who_wait_are_served_in_turn_and_nobody_waits_longer_than_his_patience() -> None:
    of = limits(requests_per_minute=60)
    for _ in range(60):
        reserved(of)
    waits = []
    for _ in range(2):
        found = of.reserve(SMALL, 0.0, 2.0)
        assert not isinstance(found, Wait)
        waits.append(found[1])
    assert waits == pytest.approx([1.0, 2.0])
    refused = of.reserve(SMALL, 0.0, 2.0)
    assert isinstance(refused, Wait)
    assert refused.seconds == pytest.approx(3.0)
    assert left(of)["requests"] == -2


def test_a_request_that_is_more_than_a_minutes_whole_takes_the_whole() -> None:
    of = limits(tokens_per_minute=50)
    reserved(of)
    assert left(of)["tokens"] == 0


def test_a_limit_is_learned_and_what_is_configured_stands() -> None:
    of = limits(requests_per_minute=5)
    of.learn([Limit("requests", 100, 100), Limit("tokens", 4000, 3000, 15.0), Limit("odd", 1, 1)], 0.0)
    assert left(of) == {"requests": 5, "tokens": 3000}


def test_what_is_left_is_less_what_the_provider_had_not_seen() -> None:
    of = limits(requests_per_minute=100)
    first, _second = reserved(of), reserved(of)
    of.seen(first)
    of.learn([Limit("requests", remaining=50)], 0.0)
    assert left(of)["requests"] == 49


def test_a_limit_of_a_second_is_not_taken_for_one_of_a_minute() -> None:
    of = limits()
    of.learn([Limit("requests", 5, 1, 0.8)], 0.0)
    assert left(of) == {}
    of.learn([Limit("requests", 60, 30, 30.0)], 0.0)
    assert left(of) == {"requests": 30}
