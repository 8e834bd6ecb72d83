"""The capability fit score: how well a model's scores fit what a request is. Pure.

    coding x 0.4 if the request is about code, else 0.2
    + reasoning x 0.4 if it is complex, else 0.2
    + speed x 0.3 if it is simple, else 0.1
    - 0.3 x effective price (USD per million tokens) / 100

Only models whose window holds the request are scored: routing/window.py. A score that is not known counts 0, and a
price that is not known as 100 USD: nobody wins by what is not known of him.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1.call_pb2 import COMPLEXITY_COMPLEX, COMPLEXITY_SIMPLE

if TYPE_CHECKING:
    from trunkline_server.routing.analysis import Analysis
    from trunkline_server.routing.candidates import Candidate

MUCH_CODING, CODING = 0.4, 0.2
MUCH_REASONING, REASONING = 0.4, 0.2
MUCH_SPEED, SPEED = 0.3, 0.1
PRICE, DEAREST = 0.3, 100.0


class FitTerms(NamedTuple):
    """What the score adds up from."""

    coding: float
    reasoning: float
    speed: float
    price: float


def fit_terms(candidate: Candidate, analysis: Analysis) -> FitTerms:
    """Each term of the score, weighed; that of the price is not above 0."""
    price = candidate.effective_price
    return FitTerms(
        (candidate.coding or 0.0) * (MUCH_CODING if analysis.coding else CODING),
        (candidate.reasoning or 0.0) * (MUCH_REASONING if analysis.complexity == COMPLEXITY_COMPLEX else REASONING),
        (candidate.speed or 0.0) * (MUCH_SPEED if analysis.complexity == COMPLEXITY_SIMPLE else SPEED),
        -PRICE * (DEAREST if price is None else price) / DEAREST,
    )


def fit_score(candidate: Candidate, analysis: Analysis) -> float:
    """How well the model fits the request: at most 1.1, more is better."""
    coding, reasoning, speed, price = fit_terms(candidate, analysis)
    return coding + reasoning + speed + price
