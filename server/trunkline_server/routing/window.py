"""Whether a request is too long for a model: known windows against estimated lengths. Pure.

An estimate does not refuse what may well go in: a model is out only where the request would not fit even if the
estimate were half too large. What lies between goes last.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from trunkline_server.errors import ContextTooLong

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.routing.candidates import Candidate
    from trunkline_server.routing.tokens import Count

# An estimate may be so many times what it should be: recordings of more than 1,000 tokens are all within it.
MARGIN = 1.5


class Fit(Enum):
    """How a request and a window go together."""

    FITS = "fits"
    # By the estimate it does not, but that may be wrong: to be asked after all that fit.
    DOUBTFUL = "doubtful"
    TOO_LONG = "too long"


def fits(tokens: int, candidate: Candidate, max_output: int | None = None, *, exact: bool = False) -> Fit:
    """Whether so many tokens go in, and `max_output` come out, within the model's window.

    What comes out at most is no estimate: it is what was asked for, or less where the model gives less. A model whose
    window is not known is taken to be large enough.
    """
    window = candidate.window
    if window is None:
        return Fit.FITS
    room = window - _asked(candidate, max_output)
    if tokens <= room:
        return Fit.FITS
    return Fit.TOO_LONG if exact or tokens > room * MARGIN else Fit.DOUBTFUL


def may_outgrow(request: GenerateRequest, candidate: Candidate) -> bool:
    """Whether it has to be counted to know: with fewer bytes than the window has tokens, it fits uncounted.

    For calls that nothing else has to be counted for. What media take is not seen here: then the provider tells.
    """
    window = candidate.window
    return window is not None and request.ByteSize() > window - _asked(candidate, request.config.max_output_tokens)


def _asked(candidate: Candidate, max_output: int | None) -> int:
    asked = max_output or 0
    return asked if candidate.max_output is None else min(asked, candidate.max_output)


def too_long(count: Count, candidates: Iterable[Candidate], max_output: int | None = None) -> ContextTooLong:
    """What to tell a caller whose request none of these can take: how long it is, and how much the largest takes."""
    largest = max(candidates, key=lambda each: each.window or 0)
    about = "" if count.exact else "about "
    asked = f", and {max_output} more may come out" if max_output else ""
    return ContextTooLong(
        f"the request has {about}{count.at(largest.family)} tokens{asked}; "
        f"the largest window is {largest.window} tokens ({largest.id})",
        largest.id,
    )
