"""What the ledger can be grouped and filtered by, as the contract has it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import ErrorReason, Outcome
from trunkline.v1.gateway_service_pb2 import UsageDimension
from trunkline_server.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline.v1.gateway_service_pb2 import UsageFilter

Kind = UsageDimension.Kind

# What one request may ask for: enough for every question, and a bound on what it costs to answer.
MAX_DIMENSIONS = 16
MAX_FILTERS = 32
MAX_VALUES = 1000

_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Kinds with a closed set of values: anything else is a slip of the pen, and would let nothing through.
_VALUES: Mapping[Kind.ValueType, tuple[str, ...]] = {
    UsageDimension.KIND_OUTCOME: ("", *(name.removeprefix("OUTCOME_") for name in Outcome.keys()[1:])),
    UsageDimension.KIND_ERROR_REASON: ("", *(name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()[1:])),
}


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something to group or filter by. `label` is empty but for KIND_LABEL."""

    kind: Kind.ValueType
    label: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Lets through what has any of the values."""

    dimension: Dimension
    values: tuple[str, ...]


def dimension_of(message: UsageDimension) -> Dimension:
    """A dimension of the contract."""
    return Dimension(message.kind, message.label)


def filter_of(message: UsageFilter) -> Filter:
    """A filter of the contract."""
    return Filter(dimension_of(message.dimension), tuple(message.values))


def violations_of_groups(groups: Sequence[UsageDimension], field: str = "group_by") -> Iterator[Violation]:
    """What is wrong with dimensions to group by."""
    if len(groups) > MAX_DIMENSIONS:
        yield Violation(field, f"has {len(groups)} dimensions: at most {MAX_DIMENSIONS}")
        return
    seen: set[Dimension] = set()
    for i, each in enumerate(groups):
        yield from _violations_of(each, f"{field}[{i}]")
        if dimension_of(each) in seen:
            yield Violation(f"{field}[{i}]", "stands here twice: name it once")
        seen.add(dimension_of(each))


def violations_of_filters(filters: Sequence[UsageFilter], field: str = "filters") -> Iterator[Violation]:
    """What is wrong with filters."""
    if len(filters) > MAX_FILTERS:
        yield Violation(field, f"has {len(filters)} filters: at most {MAX_FILTERS}")
        return
    if sum(len(each.values) for each in filters) > MAX_VALUES:
        yield Violation(field, f"has more than {MAX_VALUES} values in all")
        return
    for i, each in enumerate(filters):
        yield from _violations_of(each.dimension, f"{field}[{i}].dimension")
        yield from _violations_of_values(each, f"{field}[{i}].values")


def _violations_of(dimension: UsageDimension, field: str) -> Iterator[Violation]:
    if dimension.kind == UsageDimension.KIND_UNSPECIFIED or dimension.kind not in Kind.values():
        kinds = ", ".join(name for name in Kind.keys()[1:])
        yield Violation(f"{field}.kind", f"is none of {kinds}")
    elif dimension.kind == UsageDimension.KIND_LABEL:
        if not _LABEL.fullmatch(dimension.label):
            yield Violation(f"{field}.label", "name a label: at most 64 letters, digits, '.', '_' and '-'")
    elif dimension.label:
        yield Violation(f"{field}.label", "only KIND_LABEL has one")


def _violations_of_values(each: UsageFilter, field: str) -> Iterator[Violation]:
    if not each.values:
        yield Violation(field, "is empty, and would let nothing through: give at least one value")
    known = _VALUES.get(each.dimension.kind)
    for i, value in enumerate(each.values):
        if known is not None and value not in known:
            yield Violation(f"{field}[{i}]", f"is none of {', '.join(filter(None, known))}")
        elif each.dimension.kind == UsageDimension.KIND_MODEL and value and "/" not in value:
            yield Violation(f"{field}[{i}]", 'is no model, and would let nothing through: say "provider/model"')
