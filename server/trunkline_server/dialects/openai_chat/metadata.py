"""What hosts of the chat completions API say and the contract has no word for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.dialects.metadata import Metadata

if TYPE_CHECKING:
    from trunkline_server.dialects.openai_chat.wire import Choice, Completion, Usage


class ChatMetadata(Metadata):
    """Knows where it stands."""

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
