"""What the Messages API says of an answer and the contract has no word for, as a Struct of limited size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.struct_pb2 import Struct
from msgspec.json import encode

if TYPE_CHECKING:
    from trunkline_server.dialects.anthropic_messages.wire import Usage

# Of each member, as JSON.
MAX_BYTES = 4096
MAX_DEPTH = 8
# A Struct's numbers are floats.
_MOST = 1 << 1023


class Metadata:
    """Gathers it, member by member; a later value replaces an earlier one."""

    def __init__(self) -> None:
        # The members that cannot be kept, each once.
        self.left_out: dict[str, None] = {}
        self._kept: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """Take a member; null says nothing."""
        if value is None:
            return
        if _fits(value, MAX_DEPTH) and len(encode(value)) <= MAX_BYTES:
            self._kept[name] = value
        else:
            self.left_out[name] = None

    def add_usage(self, usage: Usage | None) -> None:
        """Take what stands beside the figures and is none."""
        if usage is not None:
            for name in ("service_tier", "inference_geo", "speed"):
                self.add(name, getattr(usage, name))

    def struct(self) -> Struct | None:
        """All of it; None = there is nothing."""
        if not self._kept:
            return None
        struct = Struct()
        struct.update(self._kept)
        return struct


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, int):
        return abs(value) < _MOST
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_fits(member, depth - 1) for member in members)
