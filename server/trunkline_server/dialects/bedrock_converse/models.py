"""What models on Bedrock take and what they refuse, by their vendor; of Claude models, by their version too.

Facts from the Amazon Bedrock User Guide (supported models and features of Converse, prompt caching, structured outputs)
and from the service model of the Bedrock runtime (botocore 1.44).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from trunkline_server.dialects.anthropic_messages.models import facts_of as claude_facts_of

if TYPE_CHECKING:
    from trunkline_server.dialects.anthropic_messages.models import Facts

# The first word of an inference profile's id.
_GEOGRAPHIES = frozenset({"us", "us-gov", "eu", "apac", "ap", "jp", "au", "ca", "sa", "me", "af", "il", "global"})
_WITHOUT_SCHEMAS = frozenset({"ai21", "amazon", "cohere", "meta", "stability", "writer"})
_NAMED_TOOLS = frozenset({"", "amazon", "anthropic"})
# "" = not told by its id: an application inference profile, a provisioned or an imported model. It may be a Claude.
_NO_UNSIGNED_REASONING = frozenset({"", "anthropic", "deepseek"})


@dataclass(frozen=True, slots=True)
class Model:
    """What one model takes."""

    # None = it is no Claude, or its id does not tell.
    claude: Facts | None
    # cachePoint.
    caches: bool
    # outputConfig.textFormat and strict tools.
    schemas: bool
    # toolChoice any and tool.
    forced_tools: bool
    # toolChoice tool.
    named_tools: bool
    # reasoningContent without a signature.
    unsigned_reasoning: bool


@lru_cache(maxsize=256)
def model_of(model: str) -> Model:
    """What `model` takes: a model's id, an inference profile's id, or an ARN."""
    vendor = _vendor(model)
    claude = claude_facts_of(model) if vendor == "anthropic" else None
    return Model(
        claude=claude,
        caches=vendor in {"", "anthropic"} or "amazon.nova" in model,
        schemas=claude.schemas and "opus-4-1" not in model if claude else vendor not in _WITHOUT_SCHEMAS,
        forced_tools=claude.forced_tools if claude else True,
        named_tools=vendor in _NAMED_TOOLS,
        unsigned_reasoning=vendor not in _NO_UNSIGNED_REASONING,
    )


def _vendor(model: str) -> str:
    """Who made it, as the id's first word says. "" = it does not say."""
    words = model.rpartition("/")[2].lower().split(".")
    if words[0] in _GEOGRAPHIES:
        words = words[1:]
    return words[0] if len(words) > 1 else ""
