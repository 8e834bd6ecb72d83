"""What may be asked of UsageStats, and how calendars, orders and pages are made of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageFilter, UsageStatsRequest, UsageTotals
from trunkline_server.core import Identity
from trunkline_server.errors import InvalidRequest
from trunkline_server.state.ledger.calendar import starts, zone_of
from trunkline_server.state.ledger.dimensions import Dimension, Filter
from trunkline_server.state.ledger.question import question_of

if TYPE_CHECKING:
    from trunkline_server.state.ledger.question import Question

ADMIN, CALLER = Identity(), Identity(workspace="red", role="caller")
NOW = round(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()) * 10**6
HOUR, DAY = 3600 * 10**6, 86400 * 10**6
LABEL, PROVIDER = UsageDimension.KIND_LABEL, UsageDimension.KIND_PROVIDER


def instant(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**6


def asked(request: UsageStatsRequest, identity: Identity = ADMIN, since: int | None = None) -> Question:
    return question_of(request, identity, NOW, since)


def refused(request: UsageStatsRequest) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        asked(request)
    return {violation.field: violation.description for violation in caught.value.violations}


def spans(start: str, end: str, bucket: str, zone: str) -> list[str]:
    kind = UsageStatsRequest.Bucket.Value(f"BUCKET_{bucket}")
    found = starts(instant(start, zone), instant(end, zone), kind, zone_of(zone))
    return [datetime.fromtimestamp(each / 1e6, ZoneInfo(zone)).isoformat(timespec="minutes") for each in found]


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-11-01", "America/New_York", 25),
        ("2026-06-01", "Europe/Berlin", 24),
        ("2026-03-29", "UTC", 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_zone_says(day: str, zone: str, hours: int) -> None:
    begin = instant(day, zone)
    days = [*starts(begin, begin + 3 * DAY, UsageStatsRequest.BUCKET_DAY, zone_of(zone))]
    assert (days[1] - days[0]) // HOUR == hours
    assert len([*starts(days[0], days[1], UsageStatsRequest.BUCKET_HOUR, zone_of(zone))]) == hours


def test_spans_begin_where_the_calendar_does() -> None:
    assert spans("2026-11-25T10:30", "2026-11-25T12:00", "HOUR", "Asia/Kolkata") == [
        "2026-11-25T10:00+05:30",
        "2026-11-25T11:00+05:30",
    ]
    assert spans("2026-11-25", "2026-12-01", "WEEK", "Europe/Berlin") == [
        "2026-11-23T00:00+01:00",
        "2026-11-30T00:00+01:00",
    ]
    assert spans("2026-01-31", "2026-03-02", "MONTH", "America/New_York") == [
        "2026-01-01T00:00-05:00",
        "2026-02-01T00:00-05:00",
        "2026-03-01T00:00-05:00",
    ]
    # Samoa went from 29 to 31 December 2011.
    assert spans("2011-12-29", "2012-01-01", "DAY", "Pacific/Apia") == [
        "2011-12-29T00:00-10:00",
        "2011-12-31T00:00+14:00",
    ]


def test_every_bad_field_is_named_at_once() -> None:
    request = UsageStatsRequest(
        bucket=9,  # type: ignore[arg-type]
        time_zone="Mars/Olympus",
        group_by=[UsageDimension(), UsageDimension(kind=LABEL, label="a b"), UsageDimension(kind=PROVIDER, label="x")],
        filters=[UsageFilter(dimension=UsageDimension(kind=PROVIDER))],
        order_by="colour desc",
        page_size=-1,
        page_token="xyz",
    )
    request.start_time.seconds = request.end_time.seconds = 5
    assert set(refused(request)) == {
        "start_time",
        "bucket",
        "time_zone",
        "group_by[0].kind",
        "group_by[1].label",
        "group_by[2].label",
        "filters[0].values",
        "order_by",
        "page_size",
        "page_token",
    }


@pytest.mark.parametrize("zone", ["Europe", "../etc/passwd", "/etc/localtime", "Nowhere/City", "a\0b", "x" * 500])
def test_what_is_no_zone_is_named(zone: str) -> None:
    assert "IANA" in refused(UsageStatsRequest(time_zone=zone))["time_zone"]


def test_a_dimension_stands_once_and_closed_sets_of_values_are_known() -> None:
    twice = [UsageDimension(kind=LABEL, label="a"), UsageDimension(kind=LABEL, label="a")]
    assert set(refused(UsageStatsRequest(group_by=twice))) == {"group_by[1]"}
    outcome = UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_OUTCOME), values=["SUCCESS", "succes"])
    assert set(refused(UsageStatsRequest(filters=[outcome]))) == {"filters[0].values[1]"}


def test_a_model_is_filtered_by_as_it_is_told() -> None:
    """An id alone fits no row: an empty answer would look like no calls."""
    model = UsageDimension(kind=UsageDimension.KIND_MODEL)
    bad = refused(UsageStatsRequest(filters=[UsageFilter(dimension=model, values=["", "openai/gpt-4o", "gpt-4o"])]))
    assert bad == {"filters[0].values[2]": 'is no model, and would let nothing through: say "provider/model"'}


def test_minutes_take_two_days_and_no_time_takes_more_spans_than_can_be_told() -> None:
    for bucket, days in ((UsageStatsRequest.BUCKET_MINUTE, 3), (UsageStatsRequest.BUCKET_HOUR, 500)):
        request = UsageStatsRequest(bucket=bucket)
        request.start_time.FromMicroseconds(NOW - days * DAY)
        assert set(refused(request)) == {"bucket"}


def test_a_start_that_has_not_come_yet_is_refused() -> None:
    request = UsageStatsRequest()
    request.start_time.FromMicroseconds(NOW + 1)
    assert "before end_time" in refused(request)["start_time"]


def test_a_day_is_the_default_and_a_reset_shortens_it() -> None:
    assert (asked(UsageStatsRequest()).start, asked(UsageStatsRequest()).end) == (NOW - DAY, NOW)
    assert asked(UsageStatsRequest(), since=NOW - HOUR).start == NOW - HOUR
    assert asked(UsageStatsRequest(), since=NOW - 2 * DAY).start == NOW - DAY
    request = UsageStatsRequest()
    request.start_time.FromMicroseconds(NOW - 5 * DAY)
    assert asked(request, since=NOW - HOUR).start == NOW - 5 * DAY


def test_a_callers_question_is_about_its_own_workspace() -> None:
    own = Filter(Dimension(UsageDimension.KIND_WORKSPACE), ("red",))
    other = UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_WORKSPACE), values=["blue"])
    assert own in asked(UsageStatsRequest(filters=[other]), CALLER).filters
    assert asked(UsageStatsRequest()).filters == ()


def numbers() -> list[str]:
    return [field.name for field in UsageTotals.DESCRIPTOR.fields if field.message_type is None]


@pytest.mark.parametrize("order", [*numbers(), "total_time.p99", "usage.input_tokens", "cost_nano_usd desc", ""])
def test_rows_may_be_ordered_by_any_number(order: str) -> None:
    asked(UsageStatsRequest(order_by=order))


@pytest.mark.parametrize(
    "order", ["usage", "scores", "total_time.", "cost_nano_usd down", "usage.other_units", ". desc"]
)
def test_what_is_no_number_orders_nothing(order: str) -> None:
    assert set(refused(UsageStatsRequest(order_by=order))) == {"order_by"}
