"""DeepSeek's models think unless they are told not to, and while they do the API has rules of its own.

https://api-docs.deepseek.com/guides/thinking_mode
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trunkline.v1.content_pb2 import ToolChoice
from trunkline.v1.gateway_service_pb2 import Thinking

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks

# Settings that have no effect then, and are not refused.
UNHEARD = frozenset({"temperature", "presence_penalty", "frequency_penalty"})
# A conversation with tool calls is refused if turns of the model come without what was thought, or with an empty text
# of it. Those of other providers, and those that were not thought about, have none.
NOTHING_THOUGHT: Final = " "


def thinks(request: GenerateRequest, quirks: Quirks) -> bool:
    """Whether the model is DeepSeek's and will think."""
    if quirks.thinking != "deepseek" or request.config.thinking.effort == Thinking.EFFORT_NONE:
        return False
    return not forces_tool(request)


def forces_tool(request: GenerateRequest) -> bool:
    """Whether the model must call a tool, which it cannot while it thinks."""
    return bool(request.tools) and request.tool_choice.mode == ToolChoice.MODE_REQUIRED
