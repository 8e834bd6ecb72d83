"""Which models fit a purpose, the best first, and why. Pure: the same question to the same models has one answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trunkline.v1.model_service_pb2 import Recommendation, RecommendModelsRequest, RecommendModelsResponse
from trunkline_server.core import ANYBODY
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.routing.filters import is_able, quality_of, score_of, violations
from trunkline_server.routing.listing import all_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.core import Identity
    from trunkline_server.routing.filters import Known
    from trunkline_server.snapshot import Snapshot

DEFAULT_RESULTS = 10
MAX_RESULTS = 100
# At so much a call the term of cost is a half, and at so many seconds to the first token that of speed.
HALF_COST = 10_000_000
HALF_TIME = 1.0
OPEN_BONUS = 0.1
# By objective: the weights of cost, quality and speed.
WEIGHTS = {
    RecommendModelsRequest.OBJECTIVE_UNSPECIFIED: (0.4, 0.4, 0.2),
    RecommendModelsRequest.OBJECTIVE_BALANCED: (0.4, 0.4, 0.2),
    RecommendModelsRequest.OBJECTIVE_CHEAPEST: (1.0, 0.0, 0.0),
    RecommendModelsRequest.OBJECTIVE_FASTEST: (0.0, 0.0, 1.0),
    RecommendModelsRequest.OBJECTIVE_BEST: (0.0, 1.0, 0.0),
}


def recommend(
    snapshot: Snapshot, request: RecommendModelsRequest, known: Known, identity: Identity = ANYBODY
) -> RecommendModelsResponse:
    """The models that fit, and that the caller may call. Raises InvalidRequest naming every bad field."""
    if bad := [*violations(request), *_violations(request)]:
        raise InvalidRequest(bad)
    there = all_models(snapshot, known, identity)
    able = [model for model in there if _is_wanted(model, snapshot, request, known)]
    found = sorted((_recommendation(model, request, known) for model in able), key=_order)
    most = min(request.max_results or DEFAULT_RESULTS, MAX_RESULTS)
    return RecommendModelsResponse(recommendations=found[:most])


def _violations(request: RecommendModelsRequest) -> Iterator[Violation]:
    if request.max_results < 0:
        yield Violation("max_results", f"must be from 0 to {MAX_RESULTS}")
    if request.objective not in WEIGHTS:
        yield Violation("objective", "is not an objective")


def _is_wanted(model: Model, snapshot: Snapshot, request: RecommendModelsRequest, known: Known) -> bool:
    """What only says what it was told to say is nobody's recommendation."""
    kind = snapshot.offers[model.provider].kind
    local = model.local or not request.local_only
    return model.available and local and kind != "scripted" and is_able(model, request, known)


def _recommendation(model: Model, request: RecommendModelsRequest, known: Known) -> Recommendation:
    cost, quality, first = known.call_cost(model, request), quality_of(model), known.first_token(model, request)
    speed = score_of(model, "speed") if first is None else HALF_TIME / (HALF_TIME + first)
    terms = (0.0 if cost is None else HALF_COST / (HALF_COST + cost), quality or 0.0, speed or 0.0)
    weights = WEIGHTS[request.objective]
    bonus = OPEN_BONUS if request.prefer_open_weights and model.open_weights else 0.0
    return Recommendation(
        model=model,
        score=math.fsum((*(weight * term for weight, term in zip(weights, terms, strict=True)), bonus)),
        reasons=[*_reasons(model, cost, quality, first, speed), *["its weights can be had"] * bool(bonus)],
        call_cost_nano_usd=cost,
    )


def _reasons(
    model: Model, cost: int | None, quality: float | None, first: float | None, speed: float | None
) -> Iterator[str]:
    yield "its price is not known" if cost is None else f"a call costs {cost / 1e9:.6f} USD"
    if quality is None:
        yield "its quality is not known"
    else:
        sources = dict.fromkeys(score.source for score in model.scores if score.name != "speed")
        yield f"quality {quality:.3f} ({'; '.join(sources)})"
    if first is not None:
        yield f"its first token takes {first:.3f} s (measured)"
    else:
        yield "its speed is not known" if speed is None else f"speed {speed:.3f}"
    if model.local:
        yield "it runs on the gateway's own machine"


def _order(found: Recommendation) -> tuple[float, float, str]:
    cost = found.call_cost_nano_usd if found.HasField("call_cost_nano_usd") else math.inf
    return -found.score, cost, found.model.id
