"""What models take on the Responses API and what they refuse, by family and version.

Facts from OpenAI's documentation of November 2026 (reasoning, latest-model guide, prompt caching) and from what its API
refuses. A version that is not known yet is taken to be like the newest; a name that is not OpenAI's may mean anything,
and nothing is held back from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# From the least to the most; "none" is not at all.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_PLAIN = ("low", "medium", "high")

# The provider's own prefix, if there is one, and that of a fine-tuned model.
_PREFIX = re.compile(r"(?:.*/)?(?:ft:)?")
_GPT = re.compile(r"gpt-(\d+)(?:\.(\d+)|-(\d{1,2})(?!\d))?(.*)", re.DOTALL)
_O_SERIES = re.compile(r"o\d|codex-mini")
_THOUGHTLESS = re.compile(r"chatgpt-|.*non-reasoning", re.DOTALL)
# Azure's name for 3.5.
_GPT_35 = 35

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """What one model takes. The defaults are those of a name that tells nothing."""

    # Has reasoning: an effort, and an encrypted form that survives where nothing is stored.
    thinks: bool = True
    # reasoning.effort, from the least to the most.
    efforts: tuple[str, ...] = EFFORTS[:5]
    # What it does where it is told nothing.
    default_effort: str = ""
    # temperature, top_p and top_logprobs while it thinks; without thinking all models take them.
    sampling: bool = True
    # prompt_cache_breakpoint in the prompt.
    breakpoints: bool = False


@lru_cache(maxsize=256)
def facts_of(model: str) -> Facts:
    """What `model` takes."""
    name = _PREFIX.sub("", model.lower(), count=1)
    if _THOUGHTLESS.match(name):
        return Facts(thinks=False, efforts=())
    if _O_SERIES.match(name):
        return Facts(efforts=_PLAIN, sampling=False)
    found = _GPT.match(name)
    if found is None:
        return Facts()
    major, minor = int(found[1]), int(found[2] or found[3] or 0)
    return _gpt((major, minor), found[4])


def _gpt(version: Version, variant: str) -> Facts:
    if version[0] == _GPT_35 or version < (5, 0) or (version == (5, 0) and variant.startswith("-chat")):
        return Facts(thinks=False, efforts=())
    efforts = _efforts(version, variant)
    return Facts(
        efforts=efforts,
        default_effort="none" if "none" in efforts and version < (5, 5) else "",
        sampling=False,
        breakpoints=version >= (5, 6),
    )


def _efforts(version: Version, variant: str) -> tuple[str, ...]:
    if variant.startswith("-chat"):
        return ("medium",)
    if variant.startswith("-pro") and version < (5, 6):
        return ("high",) if version == (5, 0) else ("medium", "high", "xhigh")
    if version < (5, 2):
        return _early_efforts(version, variant)
    most = EFFORTS[2:] if version >= (5, 6) else EFFORTS[2:6]
    return most if version >= (6, 0) or variant.startswith("-codex") else ("none", *most)


def _early_efforts(version: Version, variant: str) -> tuple[str, ...]:
    if variant.startswith("-codex"):
        return EFFORTS[2:6] if variant.startswith("-codex-max") else _PLAIN
    return ("minimal", *_PLAIN) if version == (5, 0) else ("none", *_PLAIN)
