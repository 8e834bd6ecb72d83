"""Providers' own words, made fit to pass on: nothing key-shaped in them, one line, at most 1 KiB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 1024
MASK = "***"
# More is not looked at: a body may be megabytes of HTML.
_LOOKED_AT = 8192
# Cut off at the end of what is looked at, where half a key would pass for a word.
_HALF_KEY = 64

_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f]+")
_KEYS = re.compile(
    r"""
    \bbearer\ (?=\S*\d)\S+                                                  # Authorization headers
    | (?<![a-z0-9])(?:[a-z]?sk|pk|rk|xai|pplx|nvapi|hf|r8|fw|tgp|gh[a-z]|github_pat)[-_][\w*.-]{6,}
    | \bAIza[\w-]{16,} | \bAQ\.[\w-]{16,} | \b(?:AKIA|ASIA)[A-Z0-9]{12,}    # Google, AWS
    | \beyJ[\w-]{8,}(?:\.[\w-]+){1,2}                                       # JSON Web Tokens
    | \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b      # UUIDs
    """,
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_LABELLED = re.compile(
    r"""((?:api[ _-]?key|secret|password|access[ _-]?token)["']?(?:\ provided)?\ ?[:=]\ ?["']?)[^\s"',;]+""",
    re.IGNORECASE | re.VERBOSE,
)
_LONG_WORD = re.compile(r"[\w+/=-]{24,}", re.ASCII)
_SEPARATOR = re.compile(r"[_+/=-]")
_AWS_SECRET_LENGTH = 40
# So few characters of a secret give nothing away.
_GUESSABLE = 3


def scrub(text: str) -> str:
    """`text` on one line, keys and what could be keys replaced by ***, at most 1 KiB of UTF-8."""
    line = _CONTROLS.sub(" ", text[:_LOOKED_AT]).strip()
    line = _LABELLED.sub(rf"\g<1>{MASK}", _KEYS.sub(MASK, line))
    line = _LONG_WORD.sub(lambda word: MASK if _is_random(word[0]) else word[0], line)
    if len(text) > _LOOKED_AT:
        line = line[:-_HALF_KEY]
    return line.encode("utf-8", "replace")[:MAX_BYTES].decode("utf-8", "ignore")


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with *** for each secret, and for the beginning of one where the text was cut off within it."""
    for secret in secrets:
        text = text.replace(secret, MASK)
        begun = next((end for end in range(len(secret) - 1, _GUESSABLE, -1) if text.endswith(secret[:end])), 0)
        text = text[: len(text) - begun] + MASK * bool(begun)
    return text


def _is_random(word: str) -> bool:
    """Whether it mixes letters and digits over a length at which names of models do not."""
    if len(word) == _AWS_SECRET_LENGTH and _mixes(word):
        return True
    return any(len(run) >= 24 and _mixes(run) for run in _SEPARATOR.split(word))


def _mixes(word: str) -> bool:
    return any(char.isdigit() for char in word) and any(char.isalpha() for char in word)
