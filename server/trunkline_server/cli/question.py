"""What the options of a report ask for, in the client's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer import BadParameter

from trunkline_client.usage import UsageQuery, filters_of, usage_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.cli.period import Period


def query_of(
    by: Sequence[str], period: Period, filters: Sequence[str] | None, *, bucket: str = "", order: str = ""
) -> UsageQuery:
    """The query. Raises BadParameter for a name that there is not."""
    query = UsageQuery(
        group_by=by,
        filters=chosen(filters),
        start_time=period.start,
        end_time=period.end,
        bucket=bucket,
        time_zone=period.zone.key,
        order_by=order,
    )
    try:
        usage_request(query)
    except ValueError as error:
        raise BadParameter(str(error), param_hint="--bucket" if "bucket" in str(error) else "--by") from None
    return query


def names(by: str) -> list[str]:
    """What --by names."""
    return [name.strip() for name in by.split(",")] if by else []


def chosen(filters: Sequence[str] | None) -> dict[str, list[str]]:
    """The values by name of NAME=VALUE. Raises BadParameter."""
    found: dict[str, list[str]] = {}
    for each in filters or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise BadParameter(f"{each!r} is not NAME=VALUE", param_hint="--filter")
        found.setdefault(name.strip(), []).append(value)
    try:
        filters_of(found)
    except ValueError as error:
        raise BadParameter(str(error), param_hint="--filter") from None
    return found
