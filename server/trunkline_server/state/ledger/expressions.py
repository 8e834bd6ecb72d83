"""The contract's dimensions in the ledger's SQL. The table that is read is called t. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from trunkline.v1.call_pb2 import Outcome
from trunkline.v1.gateway_service_pb2 import UsageDimension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline_server.state.ledger.database import Dialect
    from trunkline_server.state.ledger.dimensions import Dimension, Filter, Kind


class Sql(NamedTuple):
    """A piece of SQL, and what stands for its placeholders."""

    text: str
    params: tuple[Any, ...] = ()


_COLUMNS: Mapping[Kind.ValueType, str] = {
    UsageDimension.KIND_WORKSPACE: "t.workspace",
    UsageDimension.KIND_API_KEY: "t.api_key",
    UsageDimension.KIND_END_USER: "t.end_user",
    UsageDimension.KIND_TASK: "t.task",
    UsageDimension.KIND_AGENT: "t.agent",
    UsageDimension.KIND_STRATEGY: "t.strategy",
    UsageDimension.KIND_ARM: "t.arm",
    UsageDimension.KIND_PROVIDER: "t.provider",
    UsageDimension.KIND_MODEL: "CASE WHEN t.provider = '' THEN '' ELSE t.provider || '/' || t.model END",
    UsageDimension.KIND_REQUESTED_MODEL: "t.requested_model",
    UsageDimension.KIND_OUTCOME: "t.outcome",
    UsageDimension.KIND_OPERATION: "t.operation",
    UsageDimension.KIND_ERROR_REASON: "t.reason",
    UsageDimension.KIND_REGION: "t.region",
}
# Attempts do not know why their call failed.
_REASON_OF_ATTEMPT = "coalesce((SELECT c.reason FROM calls AS c WHERE c.call_id = t.call_id AND c.reason <> ''), '')"


def expression(dimension: Dimension, dialect: Dialect, *, of_attempts: bool) -> Sql:
    """A dimension's value in a row: text, but a number for an outcome."""
    if dimension.kind == UsageDimension.KIND_LABEL:
        label = dialect.label.format(column="t.labels", key="?")
        return Sql(f"coalesce({label}, '')", (dimension.label,))
    if dimension.kind == UsageDimension.KIND_ERROR_REASON and of_attempts:
        return Sql(_REASON_OF_ATTEMPT)
    return Sql(_COLUMNS[dimension.kind])


def raw(dimension: Dimension, dialect: Dialect, *, of_attempts: bool) -> Sql:
    """A dimension's value as it stands in a row, which is fast to find and to compare: of a label, all labels."""
    if dimension.kind == UsageDimension.KIND_LABEL:
        return Sql("t.labels")
    return expression(dimension, dialect, of_attempts=of_attempts)


def condition(each: Filter, dialect: Dialect, *, of_attempts: bool) -> Sql:
    """Lets through what the filter does."""
    value = expression(each.dimension, dialect, of_attempts=of_attempts)
    values = [_outcome(name) if _is_outcome(each.dimension) else name for name in each.values]
    return Sql(f"{value.text} IN ({', '.join('?' * len(values))})", (*value.params, *values))


def told(dimension: Dimension, value: Any) -> str:
    """What a row's group tells of the value that was found."""
    if not _is_outcome(dimension):
        return str(value)
    return Outcome.Name(value).removeprefix("OUTCOME_") if value else ""


def told_of_raw(dimension: Dimension, value: Any) -> str:
    """The same of a `raw` value."""
    if dimension.kind != UsageDimension.KIND_LABEL:
        return told(dimension, value)
    return msgspec.json.decode(value, type=dict[str, str]).get(dimension.label, "")


def all_of(conditions: Iterable[Sql]) -> Sql:
    """Every condition at once."""
    each = tuple(conditions)
    return Sql(" AND ".join(sql.text for sql in each), tuple(param for sql in each for param in sql.params))


def _is_outcome(dimension: Dimension) -> bool:
    return dimension.kind == UsageDimension.KIND_OUTCOME


def _outcome(name: str) -> int:
    return Outcome.Value(f"OUTCOME_{name}") if name else 0
