"""What callers ask of the ledger becomes the contract's requests, by the names that people write. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from google.protobuf.timestamp_pb2 import Timestamp

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageFilter, UsageStatsRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

# The label that groups the calls of one run of a program.
EXECUTION = UsageDimension(kind=UsageDimension.KIND_LABEL, label="execution_id")
_LABEL = "label:"


class UsageQuery(TypedDict, total=False):
    """What to count: UsageStatsRequest tells what each means.

    Dimensions are named as in the contract, without KIND_ and in small letters; "label:NAME" is a label, "execution"
    the label execution_id. A filter has a value, or any of several. Times have a time zone.
    """

    group_by: Iterable[str]
    filters: Mapping[str, str | Iterable[str]]
    start_time: datetime | None
    end_time: datetime | None
    # minute, hour, day, week, month.
    bucket: str
    time_zone: str
    order_by: str
    # How budgets are now, too.
    include_budgets: bool


def usage_request(query: UsageQuery) -> UsageStatsRequest:
    """The request for a query. Raises ValueError for a name that there is not, and for a time without a zone.

    Raises TypeError for a word that no query has.
    """
    if unknown := query.keys() - UsageQuery.__annotations__.keys():
        raise TypeError(f"no such part of a query: {', '.join(sorted(unknown))}")
    return UsageStatsRequest(
        start_time=timestamp_of(query.get("start_time")),
        end_time=timestamp_of(query.get("end_time")),
        bucket=_bucket_of(query.get("bucket", "")),
        time_zone=query.get("time_zone", ""),
        group_by=map(dimension_of, query.get("group_by", ())),
        filters=filters_of(query.get("filters", {})),
        order_by=query.get("order_by", ""),
        include_budgets=query.get("include_budgets", False),
    )


def dimension_of(name: str) -> UsageDimension:
    """A dimension by its name: provider, model, label:team, execution, ... Raises ValueError for anything else."""
    if name == "execution":
        return EXECUTION
    if name.startswith(_LABEL) and name != _LABEL:
        return UsageDimension(kind=UsageDimension.KIND_LABEL, label=name.removeprefix(_LABEL))
    names = [kind.removeprefix("KIND_").lower() for kind in UsageDimension.Kind.keys()[1:]]
    if name not in names or name == "label":
        known = ", ".join(f"{each}:NAME" if each == "label" else each for each in [*names, "execution"])
        raise ValueError(f"nothing to group or filter by: {name!r}; there are {known}")
    return UsageDimension(kind=UsageDimension.Kind.Value(f"KIND_{name.upper()}"))


def filters_of(filters: Mapping[str, str | Iterable[str]]) -> list[UsageFilter]:
    """Filters, from values by the names of dimensions. Raises ValueError for a name that there is not."""
    return [
        UsageFilter(dimension=dimension_of(name), values=[values] if isinstance(values, str) else values)
        for name, values in filters.items()
    ]


def timestamp_of(time: datetime | None) -> Timestamp | None:
    """The contract's time. Raises ValueError for a time without a zone, which could be anybody's."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"a time without a time zone: {time}")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _bucket_of(name: str) -> UsageStatsRequest.Bucket.ValueType:
    buckets = UsageStatsRequest.Bucket
    names = [bucket.removeprefix("BUCKET_").lower() for bucket in buckets.keys()[1:]]
    if name and name not in names:
        raise ValueError(f"no such bucket: {name!r}; there are {', '.join(names)}")
    return buckets.Value(f"BUCKET_{name.upper()}" if name else "BUCKET_UNSPECIFIED")
