"""What a provider says beside its answer and the contract has no word for: kept as a Struct of limited size."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.struct_pb2 import Struct
from msgspec.json import encode

# Of each member, as JSON, and how deep it may be: protobuf reads nothing that is nested deeper than 100, and a value is
# three levels there.
MAX_BYTES = 4096
MAX_DEPTH = 8
# A Struct's numbers are doubles.
_MOST = (1 << 63) - 1


class Metadata:
    """Gathers it, member by member; a later value replaces an earlier one."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> None:
        # The members that cannot be kept, each once.
        self.left_out: dict[str, None] = {}
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._kept: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """Take a member. What is null or empty says nothing."""
        # Most streams say the same in every event.
        if value is None or value == self._kept.get(name) or value in ("", [], {}):
            return
        if fits(value, self._max_depth) and len(encode(value)) <= self._max_bytes:
            self._kept[name] = value
        else:
            self.left_out[name] = None

    def struct(self) -> Struct | None:
        """All of it; None = there is nothing."""
        if not self._kept:
            return None
        struct = Struct()
        struct.update(self._kept)
        return struct


def fits(value: Any, depth: int) -> bool:
    """Whether a Struct can hold it, with at most so many objects and lists in each other."""
    match value:
        case dict() | list():
            members = value.values() if isinstance(value, dict) else value
            return depth > 0 and all(fits(member, depth - 1) for member in members)
        case int() | float():
            return abs(value) <= _MOST and math.isfinite(value)
    return True
