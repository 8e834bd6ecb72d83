"""What a provider's headers say of its rate limits, whatever it calls them, as one typed snapshot. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Headers of a limit: (x-|anthropic-)ratelimit-WHAT-DIMENSION, (x-)ratelimit-WHAT, x-ratelimit-WHAT-DIMENSION-minute.
_HEADER = re.compile(
    r"(?:x-|anthropic-)?ratelimit(?:bysize)?-(?P<what>limit|remaining|reset)(?:-(?P<dimension>[a-z0-9_-]+))?"
    r"|anthropic-ratelimit-(?P<dimension2>[a-z-]+)-(?P<what2>limit|remaining|reset)"
)
# What the name of each has in it.
IN_EVERY_NAME = b"ratelimit"
# What vendors call the same thing.
_DIMENSIONS = {
    "req-minute": "requests",
    "tokens-minute": "tokens",
    "tokens-prompt": "input_tokens",
    "tokens-generated": "output_tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
    "": "requests",
}
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_NUMBER = re.compile(r"\d{1,18}(?:\.\d+)?")
# Larger than any number of seconds until a reset: a time since 1970, in seconds or milliseconds.
_EPOCH_SECONDS = 1_000_000_000
_EPOCH_MILLISECONDS = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, as the answer to a call had it."""

    # requests, tokens, input_tokens, output_tokens, or the vendor's own word.
    dimension: str
    # None: the vendor did not say.
    limit: int | None = None
    remaining: int | None = None
    # Seconds from the answer until it is full again.
    reset_after: float | None = None


def read_limits(headers: Mapping[str, str]) -> list[Limit]:
    """Every limit that the headers tell of, in the order of dimensions. Header names are lower case. Never raises.

    A reset that is a point in time counts from the answer's own `date`; without that it is left out.
    """
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        # Asked of every header of every answer: most of them are none.
        if "ratelimit" in name and (match := _HEADER.fullmatch(name)):
            what = match["what"] or match["what2"]
            dimension = match["dimension"] or match["dimension2"] or ""
            found.setdefault(_DIMENSIONS.get(dimension, dimension), {})[what] = value
    if not found:
        return []
    date = headers.get("date", "")
    limits = [_limit(dimension, values, date) for dimension, values in sorted(found.items())]
    return [limit for limit in limits if limit.limit is not None or limit.remaining is not None]


def _limit(dimension: str, values: Mapping[str, str], date: str) -> Limit:
    return Limit(
        dimension,
        _count(values.get("limit", "")),
        _count(values.get("remaining", "")),
        _reset_after(values.get("reset", ""), date),
    )


def _count(text: str) -> int | None:
    return int(float(text)) if _NUMBER.fullmatch(text) else None


def _reset_after(text: str, date: str) -> float | None:
    """Seconds: a number, a span like Go's (1h2m3s, 120ms), a time since 1970, or a date of RFC 3339."""
    if _NUMBER.fullmatch(text):
        return _of_number(float(text), date)
    if text and (span := _SPAN.fullmatch(text)):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in span.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    try:
        return _until(datetime.fromisoformat(text), date)
    except ValueError:
        return None


def _of_number(number: float, date: str) -> float | None:
    if number < _EPOCH_SECONDS:
        return number
    seconds = number / 1000 if number >= _EPOCH_MILLISECONDS else number
    try:
        return _until(datetime.fromtimestamp(seconds, UTC), date)
    except (ValueError, OverflowError, OSError):
        return None


def _until(moment: datetime, date: str) -> float | None:
    try:
        return max(0.0, (moment - parsedate_to_datetime(date)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
