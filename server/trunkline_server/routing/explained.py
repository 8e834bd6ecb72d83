"""A decision in the contract's words: who would be asked, who would not and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.model_service_pb2 import PlannedTarget, PlanRouteResponse, RemovedTarget
from trunkline_server.routing.allowed import may_use_model
from trunkline_server.routing.constraints import Removed
from trunkline_server.routing.expected import Expected, Size, expected
from trunkline_server.routing.fit import fit_terms
from trunkline_server.routing.gathering import is_alone
from trunkline_server.routing.ranking import is_scored, scores_by, terms_by
from trunkline_server.routing.scoring import TERMS, shares_of
from trunkline_server.routing.strategies import Kind
from trunkline_server.routing.taught import worths_of
from trunkline_server.spans import set_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline_server.core import Call
    from trunkline_server.routing.candidates import Candidate
    from trunkline_server.routing.decision import Decision, Ranking
    from trunkline_server.routing.routed import Routed
    from trunkline_server.routing.taught import Taught

    # How good a row is, and what that is made of.
    Merit = tuple[float, Mapping[str, float]]

_NO_MERIT: Merit = 0.0, {}


def explain(call: Call, routed: Routed, decision: Decision, everybody: Iterable[Candidate]) -> PlanRouteResponse:
    """What became of the call's candidates. Of `everybody`, those that cannot be called are told of, too.

    Nobody is told of whom the caller may not use.
    """
    choice = routed.choice
    question = decision.ranking.question
    asked, rest = (decision.order[:1], decision.order[1:]) if is_alone(call) else (decision.order, ())
    told = PlanRouteResponse(
        strategy=choice.strategy,
        task=choice.task,
        experiment_arm=choice.arm,
        input_tokens=decision.ranking.numbers.inputs[decision.order[0]],
        input_tokens_exact=question.ask.count.exact,
        expected_output_tokens=decision.ranking.numbers.outputs[decision.order[0]],
        complexity=question.ask.analysis.complexity,
        config_version=call.snapshot.version,
        targets=_planned(decision, asked),
        warnings=_warnings(routed, (question.table.targets[index] for index in asked)),
    )
    if is_scored(question.strategy):
        weights = question.effective_weights()
        told.weights.update(zip(TERMS, shares_of(weights), strict=True))
    alone = "disable_fallback" if call.request.routing.disable_fallback else "routing.fallback"
    spared = [Removed(index, alone, "nobody is asked but the first") for index in rest]
    removed = [
        *_removed(decision, (*decision.ranking.removed, *spared)),
        *(_missing(call, everybody) if question.is_open else ()),
    ]
    told.removed.extend(sorted(removed, key=lambda each: each.id))
    return told


def _warnings(routed: Routed, targets: Iterable[Target]) -> Iterator[CallWarning]:
    found = (routed.replaced.get((target.provider, target.model)) for target in targets)
    return (warning for warning in found if warning is not None)


def _planned(decision: Decision, asked: Iterable[int]) -> Iterator[PlannedTarget]:
    ranking, question = decision.ranking, decision.ranking.question
    merit = _merits(ranking)
    for index in asked:
        row, how = question.table.rows[index], ranking.numbers.times(index)
        cost = ranking.numbers.costs[index]
        planned = PlannedTarget(target=row.target, id=row.id, expected_cost_nano_usd=cost, measured=how is not None)
        planned.score, terms = merit(index)
        planned.terms.update(terms)
        if (first := how[0] if how is not None else _suggested(ranking, index).first_token) is not None:
            set_seconds(planned.expected_time_to_first_token, first)
        if (total := how[1] if how is not None else _suggested(ranking, index).total) is not None:
            set_seconds(planned.expected_total_time, total)
        yield planned


def _merits(ranking: Ranking) -> Callable[[int], Merit]:
    """What the strategy orders each row by. Turns are no merit."""
    question, known = ranking.question, ranking.known
    kind, rows = question.strategy.kind, question.table.rows
    if kind is Kind.CAPABILITY:
        return lambda index: (known.fits[index], fit_terms(rows[index], question.ask.analysis)._asdict())
    if kind is Kind.LOAD:
        return lambda index: (1.0 - known.loads.get(index, 0.0), {"unused": 1.0 - known.loads.get(index, 0.0)})
    if question.taught is not None:
        return _worth(ranking, question.taught)
    if not is_scored(question.strategy):
        return lambda _: _NO_MERIT
    scores = scores_by(known)
    return lambda index: (scores[index], terms_by(known, index))


def _worth(ranking: Ranking, taught: Taught) -> Callable[[int], Merit]:
    """Of those that were chosen among by what was learned."""
    worths = worths_of(taught, ranking.numbers, [*ranking.learned.chances])

    def merit(index: int) -> Merit:
        if index not in worths:
            return _NO_MERIT
        quality = taught.qualities[index].mean
        return worths[index], {"quality": quality, "price": worths[index] - quality}

    return merit


def _suggested(ranking: Ranking, index: int) -> Expected:
    """What the catalogue's speed suggests."""
    numbers = ranking.numbers
    return expected(ranking.question.table.rows[index], Size(numbers.inputs[index], numbers.outputs[index]))


def _removed(decision: Decision, removed: Iterable[Removed]) -> Iterator[RemovedTarget]:
    rows = decision.ranking.question.table.rows
    for each in removed:
        row = rows[each.row]
        yield RemovedTarget(target=row.target, id=row.id, constraint=each.constraint, detail=each.detail)


def _missing(call: Call, everybody: Iterable[Candidate]) -> Iterator[RemovedTarget]:
    for row in everybody:
        if row.hindrance and may_use_model(call.identity, row.provider, row.model):
            yield RemovedTarget(target=row.target, id=row.id, constraint="unavailable", detail=row.hindrance)
