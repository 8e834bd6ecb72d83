"""What Claude models take and what they refuse, by family and version.

Facts from Anthropic's documentation of November 2026 (models overview, thinking, effort, structured outputs,
mid-conversation system messages, API versions). A version that is not known yet is taken to be like the newest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

_CLAUDE = re.compile(r"claude[-_.]([a-z0-9._@:-]+)")
_FAMILY = re.compile(r"[a-z]{3,}")
_SMALL_NUMBER = re.compile(r"\d{1,2}")
_SEPARATORS = re.compile(r"[-._@:]")
_NEWEST = (99, 0)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
# Claude before version 4.5 refuses a max_tokens that may not fit into its window beside the prompt.
_CAREFUL_MAX_TOKENS = 8192
_SMALLEST_MAX_TOKENS = 4096

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """What one model takes. The defaults are those of a server that copies the API for models of its own."""

    # What is sent where the caller sets none, for the API wants one: the most that the model gives.
    max_tokens: int = _SMALLEST_MAX_TOKENS
    # thinking {type: enabled, budget_tokens}.
    budgets: bool = True
    # thinking {type: adaptive}.
    adaptive: bool = False
    # Thinks without being told to.
    thinks_unasked: bool = False
    # The thinking.type that keeps it from thinking. "" = there is none.
    off: Literal["disabled", "between_tools", ""] = "disabled"
    # Keeps its thoughts to itself unless thinking.display asks for them.
    hides_thoughts: bool = False
    # output_config.effort, from the least to the most.
    efforts: tuple[str, ...] = ()
    # temperature, top_p and top_k.
    sampling: bool = True
    # Not temperature and top_p at once.
    one_sampler: bool = False
    # tool_choice any and tool.
    forced_tools: bool = True
    # output_config.format and strict tools.
    schemas: bool = False
    # Messages of role system after a user's.
    system_inside: bool = False


@lru_cache(maxsize=256)
def facts_of(model: str) -> Facts:
    """What `model` takes; it may be named as Anthropic, Vertex, Bedrock or Azure name it."""
    found = _CLAUDE.search(model.lower())
    if found is None:
        return Facts()
    words = _SEPARATORS.split(found[1])
    family = next((word for word in words if _FAMILY.fullmatch(word)), "")
    return _claude(family, _version(words))


def _version(words: list[str]) -> Version:
    """The first number and, if it follows at once, the second; a date is no version."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if _SMALL_NUMBER.fullmatch(word):
            return int(word), int(following) if _SMALL_NUMBER.fullmatch(following) else 0
    return _NEWEST


def _claude(family: str, version: Version) -> Facts:
    return Facts(
        max_tokens=_max_tokens(version),
        budgets=(3, 7) <= version < (4, 7),
        adaptive=version >= (4, 6),
        thinks_unasked=version >= (5, 0),
        off=_off(family, version),
        hides_thoughts=version >= (4, 7),
        efforts=_efforts(family, version),
        sampling=version < (4, 7),
        one_sampler=version >= (4, 1),
        forced_tools=family == "haiku" or version < ((5, 5) if family in {"opus", "sonnet"} else (5, 1)),
        schemas=version >= (4, 5) or (family, version) == ("opus", (4, 1)),
        system_inside=_system_inside(family, version),
    )


def _max_tokens(version: Version) -> int:
    if version >= (4, 6):
        return 128_000
    if version >= (4, 5):
        return 64_000
    return _CAREFUL_MAX_TOKENS if version >= (3, 5) else _SMALLEST_MAX_TOKENS


def _off(family: str, version: Version) -> Literal["disabled", "between_tools", ""]:
    if family == "haiku" or version < (5, 0):
        return "disabled"
    if family == "sonnet":
        return "between_tools" if version >= (5, 5) else "disabled"
    return "disabled" if family == "opus" and version < (5, 5) else ""


def _efforts(family: str, version: Version) -> tuple[str, ...]:
    if version >= (4, 7):
        return _EFFORTS
    if version >= (4, 6):
        return "low", "medium", "high", "max"
    return _EFFORTS[:3] if (family, version) == ("opus", (4, 5)) else ()


def _system_inside(family: str, version: Version) -> bool:
    least = {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0), "sonnet": (5, 5), "haiku": (5, 5)}
    return version >= least.get(family, _NEWEST)
