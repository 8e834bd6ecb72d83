"""Models that think unless they are told not to: while they do, DeepSeek's and Moonshot's APIs have rules of their own.

https://api-docs.deepseek.com/guides/thinking_mode, https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trunkline.v1.content_pb2 import ToolChoice
from trunkline.v1.gateway_service_pb2 import Thinking

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks

# Settings that have no effect at DeepSeek then, and are not refused.
_UNHEARD = frozenset({"temperature", "presence_penalty", "frequency_penalty"})
# A conversation with tool calls is refused if turns of the model come without what was thought, or with an empty text
# of it. Those of other providers, and those that were not thought about, have none.
NOTHING_THOUGHT: Final = " "


def thinks(request: GenerateRequest, quirks: Quirks) -> bool:
    """Whether it is such a model and will think."""
    if not quirks.thinks_by_itself or request.config.thinking.effort == Thinking.EFFORT_NONE:
        return False
    return not keeps_from_thinking(request, quirks)


def keeps_from_thinking(request: GenerateRequest, quirks: Quirks) -> bool:
    """Whether it is such a model and must call a tool, which it cannot while it thinks."""
    return quirks.thinks_by_itself and bool(request.tools) and request.tool_choice.mode == ToolChoice.MODE_REQUIRED


def unheard(request: GenerateRequest, quirks: Quirks) -> frozenset[str]:
    """Settings that will have no effect."""
    return _UNHEARD if quirks.thinking == "deepseek" and thinks(request, quirks) else frozenset()
