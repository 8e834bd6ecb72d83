"""The order of rows of figures, and the place between two pages of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.descriptor import FieldDescriptor

from trunkline.v1.gateway_service_pb2 import UsageTotals
from trunkline_server.state.ledger.figures import DISTRIBUTIONS

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from trunkline_server.state.ledger.figures import Figures

_NUMBERS = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_DOUBLE})


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: what was counted, and its last row."""

    start: int
    end: int
    # The row's sort key.
    missing: bool
    value: int | float
    bucket: int
    group: tuple[str, ...]

    @property
    def key(self) -> Key:
        """The last row's sort key."""
        return self.missing, self.value, self.bucket, self.group


Key = tuple[bool, int | float, int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Order:
    """Rows by a number of theirs, then by bucket and group. Rows that lack the number come last."""

    # Field names from UsageTotals down; empty = by bucket and group alone.
    path: tuple[str, ...] = ()
    descending: bool = False

    @property
    def by_distribution(self) -> bool:
        """Whether it takes the distributions to tell which row comes first."""
        return self.path[:1] != () and self.path[0] in DISTRIBUTIONS

    def key(self, bucket: int, group: tuple[str, ...], figures: Figures | None = None) -> Key:
        """What to sort by; no two rows of an answer have the same.

        `bucket` is when it begins. Without a path the figures do not matter.
        """
        value = _value(figures.totals(self.path[:1]), self.path) if figures is not None and self.path else 0
        if value is None:
            return True, 0, bucket, group
        return False, -value if self.descending else value, bucket, group


def parse_order(text: str) -> Order:
    """What order_by says. Raises ValueError, in words for the caller."""
    if not text.strip():
        return Order()
    name, *rest = text.split()
    if rest not in ([], ["asc"], ["desc"]):
        raise ValueError('say a field, and " desc" after it for the largest first')
    path = tuple(name.split("."))
    if not _is_number(UsageTotals.DESCRIPTOR, path):
        raise ValueError("is no number of UsageTotals: say cost_nano_usd, total_time.p99, usage.output_tokens, ...")
    return Order(path, descending=rest == ["desc"])


def _is_number(message: Descriptor, path: tuple[str, ...]) -> bool:
    field = message.fields_by_name.get(path[0])
    if field is None or field.is_repeated:
        return False
    if len(path) > 1:
        return field.message_type is not None and _is_number(field.message_type, path[1:])
    return field.cpp_type in _NUMBERS


def _value(message: Any, path: tuple[str, ...]) -> int | float | None:
    """The number; None if it, or what it stands in, is absent."""
    name, *rest = path
    if message.DESCRIPTOR.fields_by_name[name].has_presence and not message.HasField(name):
        return None
    found = getattr(message, name)
    return _value(found, tuple(rest)) if rest else found
