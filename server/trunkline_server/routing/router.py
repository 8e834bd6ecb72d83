"""The router: a call becomes an ordered plan of targets, and the reasons for it.

Decides nothing itself: what a decision is made of is gathered in routing/gathering.py, the decision made in
routing/decision.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trunkline.v1 import call_pb2
from trunkline_server.core import Choice
from trunkline_server.errors import (
    ConstraintsUnmet,
    ContextTooLong,
    ModelGone,
    ModelNotAllowed,
    NoCandidate,
    UnknownModel,
)
from trunkline_server.routing.ask import own_tools
from trunkline_server.routing.chosen import policy_for
from trunkline_server.routing.constraints import promises
from trunkline_server.routing.decision import Question, choose, rank
from trunkline_server.routing.explained import explain
from trunkline_server.routing.gathering import Gathering, budget_of, is_alone, is_open_to_arms, is_plain, task_of
from trunkline_server.routing.plan import plan_by, plan_of
from trunkline_server.routing.policy import PLAIN
from trunkline_server.routing.remembered import Names, key_of
from trunkline_server.routing.replaced import targets_of
from trunkline_server.routing.routed import Routed
from trunkline_server.routing.strategies import NAMED
from trunkline_server.routing.window import may_outgrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline.v1.model_service_pb2 import PlanRouteResponse
    from trunkline_server.core import Call
    from trunkline_server.routing.candidates import Candidate
    from trunkline_server.routing.decision import Decision
    from trunkline_server.routing.gathering import Sources
    from trunkline_server.routing.plan import Plan
    from trunkline_server.routing.routed import Replaced

# The strategies of calls that the policy's last resort answers, and that are asked in its order.
LAST_RESORT, PRIORITY = "last_resort", "priority"
# Targets that a plan has at most: no call makes more attempts.
MOST = 10


class Router:
    """For one event loop; nothing in it waits."""

    def __init__(self, sources: Sources, seed: Callable[[], int], clock: Callable[[], float]) -> None:
        """`seed` gives 64 random bits, `clock` seconds since 1970."""
        self._sources, self._seed, self._clock = sources, seed, clock
        self._gathering = Gathering(sources, seed, clock)
        self._names = Names()

    def route(self, call: Call) -> Routed:
        """Where the call goes. Raises UnknownModel, ModelNotAllowed, ModelGone, NoCandidate; InvalidRequest for a
        strategy that there is not; ConstraintsUnmet and ContextTooLong.
        """
        if (meaning := self._names.recall(call, self._clock)) is not None:
            # Its name is all that the call says: no task either.
            return Routed(meaning.targets, meaning.larger, Choice(NAMED, f"{self._seed():016x}"), {})
        when = int(self._clock())
        resolve = _Resolve(call, self._clock)
        plan = self._plan(call, resolve)
        if plan is None or not self._is_simple(call, plan):
            return self._decided(call, plan, resolve)
        targets = plan.targets[:1] if plan.alone else plan.targets
        choice = Choice(_said_order(call), f"{self._seed():016x}", task_of(call))
        routed = Routed(targets, plan.larger, choice, resolve.replaced)
        if not resolve.replaced and (key := key_of(call)) is not None:
            self._names.remember(key, call.snapshot, when, routed, self._rows(call, plan))
        return routed

    def _is_simple(self, call: Call, plan: Plan) -> bool:
        """Whether there is nothing to decide: an order that asks for nothing, of models that hold the request."""
        if len(plan.groups) != len(plan.targets) or not is_plain(call.request.routing):
            return False
        if (call.policy or PLAIN).strategy and is_open_to_arms(call):
            return False
        if len(plan.groups) > 1 and call.request.tools and own_tools(call.request):
            return False
        return not any(may_outgrow(call.request, row) for row in self._rows(call, plan))

    def _rows(self, call: Call, plan: Plan) -> list[Candidate]:
        """Those that have to hold the request."""
        at = self._gathering.tables(call).candidates.at
        return [at(target) for group in plan.groups for target in group]

    def explain(self, call: Call, warnings: Iterable[CallWarning] = ()) -> PlanRouteResponse:
        """Where the call would go, and why. Takes no turn. Raises what `route` raises.

        `warnings`: what else its caller would be told.
        """
        resolve = _Resolve(call, self._clock)
        plan = self._plan(call, resolve)
        routed = self._decided(call, plan, resolve, peek=True)
        told = explain(call, routed, cast("Decision", routed.decision), self._gathering.tables(call).candidates.rows)
        if plan is not None and self._is_simple(call, plan):
            told.strategy, told.experiment_arm = _said_order(call), ""  # as `route` says
        told.warnings.extend(warnings)
        return told

    def ended(self, call: Call, routed: Routed, cost: int | None) -> None:
        """A call that `route` sent there has ended. `cost`: nano-USD of its answer; None = not known."""
        served, answered = call.story.target, call.story.outcome == call_pb2.OUTCOME_SUCCESS
        if routed.prefix and answered and routed.decision is not None:
            self._sources.affinity.read_by(routed.prefix, served, _input_tokens(routed.decision, served))
        if (lesson := routed.lesson) is not None:
            name = f"{served.provider}/{served.model}" if answered else ""
            self._sources.learner.ended(call.id, lesson, name, budget_of(call), cost)

    def _plan(self, call: Call, resolve: _Resolve) -> Plan | None:
        """Whom the call, or the policy for it, names. None: nobody."""
        settings, request = call.snapshot.settings, call.request
        policy = policy_for(call, self._sources.overlay)
        if policy.order or policy.tiers:
            try:
                plan = plan_by(policy, settings, request.routing, resolve)
                return self._open_ended(call, plan) if policy.then_anybody else plan
            except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed):
                if request.routing.chain:
                    raise
                # Else a task prefers them, as many that are built in do: who has none of them asks whoever is there.
        if request.model:
            return plan_of(settings, request.model, request.routing, resolve)
        if settings.default_model and is_plain(request.routing) and not self._gathering.is_said(call):
            return plan_of(settings, "", request.routing, resolve)
        return None

    def _open_ended(self, call: Call, plan: Plan) -> Plan:
        """The plan, everybody else after it, the embedded model last. Who says a strategy chooses of those named."""
        if plan.alone or call.request.routing.strategy:
            return plan
        table = self._gathering.tables(call).open_to(call.identity)
        last = [table.targets[index] for index in table.embedded]
        groups = [tuple(target for target in group if target not in last) for group in plan.groups]
        named = {f"{target.provider}/{target.model}" for group in groups for target in group}
        rest = [table.targets[index] for index in table.hosted if table.rows[index].id not in named]
        return plan._replace(groups=tuple(filter(None, (*groups, tuple(rest), tuple(last)))))

    def _decided(self, call: Call, plan: Plan | None, resolve: _Resolve, *, peek: bool = False) -> Routed:
        question, strategy, arm, prefix, replaced = self._gathering.gather(call, plan, resolve, peek=peek)
        resolve.replaced.update(replaced)
        try:
            decision = self._decision(question)
        except (ConstraintsUnmet, ContextTooLong):
            if (resort := self._last_resort(call, question, resolve)) is None:
                raise
            return resort
        choice = Choice(strategy, f"{question.seed:016x}", task_of(call), arm)
        targets, larger = _targets(call, plan, decision)
        return Routed(targets, larger, choice, resolve.replaced, decision, prefix)

    def _last_resort(self, call: Call, question: Question, resolve: _Resolve) -> Routed | None:
        """Whom the policy has for calls that nobody is left for, if it holds the request and keeps what is promised.

        None: it has nobody, or he cannot be asked.
        """
        if call.policy is None or not call.policy.last_resort:
            return None
        try:
            targets = resolve(call.policy.last_resort)
            table = self._gathering.tables(call).of(targets)
            promised = promises(question.constraints)
            decision = self._decision(
                Question(
                    seed=question.seed, table=table, ask=question.ask, groups=(table.everybody,), constraints=promised
                )
            )
        except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed, ConstraintsUnmet, ContextTooLong):
            return None
        choice = Choice(LAST_RESORT, f"{question.seed:016x}", task_of(call))
        return Routed(_targets(call, None, decision)[0], (), choice, resolve.replaced, decision)

    def _decision(self, question: Question) -> Decision:
        ranking = rank(question)
        return choose(ranking, self._sources.figures(ranking.providers()))


class _Resolve:
    """What names mean for one call; remembers who stands in for whom."""

    def __init__(self, call: Call, clock: Callable[[], float]) -> None:
        self._call, self._clock = call, clock
        self.replaced: Replaced = {}

    def __call__(self, name: str) -> tuple[Target, ...]:
        call = self._call
        strict = call.request.routing.strict_params
        targets, instead = targets_of(call.snapshot, name, int(self._clock()), call.identity, strict=strict)
        if instead:
            self.replaced.update(instead)
        return targets


def _input_tokens(decision: Decision, served: Target) -> int:
    """How many the one that answered has read, by estimate."""
    ranking = decision.ranking
    rows = ranking.question.table.rows
    index = next((each for each in decision.order if rows[each].target == served), decision.order[0])
    return ranking.numbers.inputs[index]


def _targets(call: Call, plan: Plan | None, decision: Decision) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Whom to ask, and whom if the request is too long for those."""
    known, most = decision.ranking.question.table.targets, 1 if is_alone(call) else MOST
    if plan is None or not plan.larger:
        return tuple([known[index] for index in decision.order[:most]]), ()
    targets = [known[index] for index in decision.order]
    first = [target for target in targets if target not in plan.larger]
    rest = [target for target in targets if target in plan.larger] if first else []
    return tuple((first or targets)[:most]), tuple(rest)


def _said_order(call: Call) -> str:
    """The strategy of calls where nothing is decided: whom they, or their policy, name is asked in that order."""
    policy = call.policy or PLAIN
    return PRIORITY if policy.order or policy.tiers else NAMED
