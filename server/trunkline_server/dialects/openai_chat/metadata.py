"""What hosts of the chat completions API say and the contract has no word for, as a Struct of limited size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.struct_pb2 import Struct
from msgspec.json import encode

if TYPE_CHECKING:
    from trunkline_server.dialects.openai_chat.wire import Choice, Completion, Usage

# Of each member, as JSON.
MAX_BYTES = 4096
MAX_DEPTH = 8


class Metadata:
    """Gathers it, member by member; a later value replaces an earlier one."""

    def __init__(self) -> None:
        # The members that are too large, each once.
        self.left_out: dict[str, None] = {}
        self._found: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """Take a member. What is null or empty says nothing."""
        # Most streams say the same in every event.
        if value is None or value == self._found.get(name) or value in ("", [], {}):
            return
        if _is_small(value):
            self._found[name] = value
        else:
            self.left_out[name] = None

    def add_completion(self, completion: Completion) -> None:
        """Take what stands beside the answer."""
        self.add("service_tier", completion.service_tier)
        self.add("system_fingerprint", completion.system_fingerprint)
        self.add("provider", completion.provider)
        self.add("prompt_filter_results", completion.prompt_filter_results)

    def add_choice(self, choice: Choice) -> None:
        """Take what stands beside the message."""
        self.add("native_finish_reason", choice.native_finish_reason)
        self.add("content_filter_results", choice.content_filter_results)

    def add_usage(self, usage: Usage | None) -> None:
        """Take what the provider asks for it: what it says, and no figure of ours."""
        if usage is not None:
            self.add("cost", usage.cost)
            self.add("cost_in_usd_ticks", usage.cost_in_usd_ticks)

    def struct(self) -> Struct | None:
        """All of it; None = there is nothing."""
        if not self._found:
            return None
        struct = Struct()
        struct.update(self._found)
        return struct


def _is_small(value: Any) -> bool:
    try:
        return _depth(value) <= MAX_DEPTH and len(encode(value)) <= MAX_BYTES
    except RecursionError:
        return False


def _depth(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, members), default=0)
