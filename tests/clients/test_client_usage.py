from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageFilter, UsageStatsRequest
from trunkline_client.usage import dimension_of, usage_request

if TYPE_CHECKING:
    from clients.conftest import Caller, FakeGateway

Kind = UsageDimension.Kind


def test_dimensions_have_the_contracts_names() -> None:
    for kind in Kind.values()[1:]:
        if kind != UsageDimension.KIND_LABEL:
            assert dimension_of(Kind.Name(kind).removeprefix("KIND_").lower()) == UsageDimension(kind=kind)
    assert dimension_of("label:team") == UsageDimension(kind=UsageDimension.KIND_LABEL, label="team")
    assert dimension_of("execution") == UsageDimension(kind=UsageDimension.KIND_LABEL, label="execution_id")
    for wrong in ("unspecified", "label", "label:", "", "colour"):
        with pytest.raises(ValueError, match=r"there are workspace, .*label:NAME, .*provider, model, .*execution"):
            dimension_of(wrong)


def test_a_query_becomes_the_contracts_request() -> None:
    start = datetime(2026, 11, 28, tzinfo=UTC)
    request = usage_request(
        {
            "group_by": ["provider"],
            "filters": {"model": "openai/a", "label:team": ["x", "y"]},
            "start_time": start,
            "end_time": None,
            "bucket": "day",
            "time_zone": "Europe/Berlin",
            "order_by": "cost_nano_usd desc",
        }
    )
    expected = UsageStatsRequest(
        group_by=[dimension_of("provider")],
        filters=[
            UsageFilter(dimension=dimension_of("model"), values=["openai/a"]),
            UsageFilter(dimension=dimension_of("label:team"), values=["x", "y"]),
        ],
        bucket=UsageStatsRequest.BUCKET_DAY,
        time_zone="Europe/Berlin",
        order_by="cost_nano_usd desc",
    )
    expected.start_time.FromDatetime(start)
    assert request == expected


def test_what_no_query_has_is_refused() -> None:
    mistaken: Any = {"groupby": ["provider"]}
    with pytest.raises(TypeError, match="groupby"):
        usage_request(mistaken)
    with pytest.raises(ValueError, match="there are minute, hour, day, week, month"):
        usage_request({"bucket": "fortnight"})
    with pytest.raises(ValueError, match="without a time zone"):
        usage_request({"start_time": datetime(2026, 1, 1)})  # noqa: DTZ001


async def test_all_pages_of_usage_become_one(gateway: FakeGateway, caller: Caller) -> None:
    gateway.usage_rows = ["a", "b", "c"]
    told = await caller.call("usage", group_by=["provider"])
    assert [row.group[0] for row in told.rows] == ["a", "b", "c"]
    assert told.next_page_token == ""
    assert [request.page_token for request in gateway.requests] == ["", "1", "2"]
    assert {request.page_size for request in gateway.requests} == {10_000}


async def test_feedback_is_submitted(gateway: FakeGateway, caller: Caller) -> None:
    await caller.call("feedback", "c1", "relevance", 0.5)
    assert gateway.requests == [SubmitFeedbackRequest(call_id="c1", metric="relevance", score=0.5)]
