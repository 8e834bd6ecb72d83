"""The router: a call becomes an ordered plan of targets, and the reasons for it.

Decides nothing itself: it gathers what a decision is made of (routing/decision.py), and keeps what does not change
from one call to the next. Time, chance and what was measured are given to it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

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
from trunkline_server.routing.ask import ask_of
from trunkline_server.routing.chosen import strategy_for, weights_for
from trunkline_server.routing.constraints import NONE, constraints_of
from trunkline_server.routing.decision import Question, choose, rank
from trunkline_server.routing.experiments import arm_of, unit_of
from trunkline_server.routing.explained import explain
from trunkline_server.routing.learned.shape import prompt_of, shape_of
from trunkline_server.routing.learned.utility import Exchange
from trunkline_server.routing.names import default_name
from trunkline_server.routing.plan import plan_by, plan_of
from trunkline_server.routing.policy import PLAIN
from trunkline_server.routing.replaced import targets_of
from trunkline_server.routing.strategies import DEFAULT, NAMED, Kind, find_strategy
from trunkline_server.routing.tables import Tables
from trunkline_server.routing.taught import Taught, lesson_of
from trunkline_server.routing.window import may_outgrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline.v1.model_service_pb2 import PlanRouteResponse
    from trunkline_server.core import Call
    from trunkline_server.routing.decision import Decision
    from trunkline_server.routing.learned.cells import Quality
    from trunkline_server.routing.learned.lesson import Lesson
    from trunkline_server.routing.learned.shape import Shape
    from trunkline_server.routing.plan import Plan
    from trunkline_server.routing.signal import Signal
    from trunkline_server.routing.steering import Figure
    from trunkline_server.routing.strategies import Strategy
    from trunkline_server.routing.table import Table

    Replaced = dict[tuple[str, str], CallWarning]

# The strategy of calls that the policy's last resort answers.
LAST_RESORT = "last_resort"
# Seconds for which what was seen of all candidates is not looked up anew.
FRESH = 0.05
# Kinds of calls whose turns are counted apart.
MAX_TURNS = 1000
# Targets that a plan has at most: no call makes more attempts.
MOST = 10
# Nano-USD of a USD.
NANO = 1e9
_FIELDS = call_pb2.Routing.DESCRIPTOR.fields_by_name
# What in `routing` makes a choice among targets that are named.
_DECIDING = frozenset(
    _FIELDS[name].number
    for name in (
        "strategy", "allowed_providers", "denied_providers", "required_capabilities", "min_context_window",
        "min_quality", "max_cost_nano_usd", "max_time_to_first_token", "local_only", "max_expected_total_time",
    )
)  # fmt: skip


class Overlay(Protocol):
    """Strategies that were set while the gateway runs; empty names = none."""

    def of_task(self, task: str) -> str:
        """What holds for a task."""

    def of_workspace(self, workspace: str) -> str:
        """What holds for a workspace."""

    def of_gateway(self) -> str:
        """What holds for all."""


class Learner(Protocol):
    """What calls taught: state/learned."""

    def qualities(
        self, task: str, shape: Shape, models: Sequence[str], priors: Mapping[str, float]
    ) -> Sequence[Quality]:
        """What is expected of each "provider/model" on a call."""

    def price_weight(self, target: float) -> float:
        """What price counts for calls that may cost `target` nano-USD on average."""

    def ended(self, call_id: str, lesson: Lesson, served: str, target: float, cost: int | None) -> None:
        """A call has ended that was decided by what was learned; `cost`: nano-USD, if that is known."""


class Routed(NamedTuple):
    """Where a call goes."""

    # Whom to ask, in order; at least one. And whom, if the request is too long for those.
    targets: tuple[Target, ...]
    larger: tuple[Target, ...]
    choice: Choice
    # By provider and model of those that stand in for others: what to tell the caller.
    replaced: Replaced
    # None: the call named whom to ask, and there was nothing to decide.
    decision: Decision | None = None

    @property
    def lesson(self) -> Lesson | None:
        """What can be learned from it. None: nothing was decided by what was learned."""
        if self.decision is None:
            return None
        question = self.decision.ranking.question
        if question.taught is None:
            return None
        return lesson_of(question.taught, question.table, self.decision.ranking.learned, self.choice.task)


class _Seen(NamedTuple):
    """What was seen of a table's models, by index."""

    since: float
    table: Table
    task: str
    signals: Mapping[int, Signal]
    usual: Mapping[int, int]


class Router:
    """For one event loop; nothing in it waits."""

    def __init__(
        self,
        figures: Callable[[Iterable[str]], Mapping[str, Figure]],
        signals: Callable[[Sequence[Target]], Sequence[Signal]],
        lengths: Callable[[str, str], int | None],
        overlay: Overlay,
        learner: Learner,
        seed: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        """`figures` tells how providers do now, `signals` how targets do, `lengths` how many tokens a model's answers
        have in a task, `learner` what calls taught. `seed` gives 64 random bits, `clock` seconds since 1970.
        """
        self._figures, self._signals, self._lengths, self._overlay = figures, signals, lengths, overlay
        self._learner, self._seed, self._clock = learner, seed, clock
        self._kept: Tables | None = None
        self._kept_seen: _Seen | None = None
        self._turns: OrderedDict[object, int] = OrderedDict()

    def route(self, call: Call) -> Routed:
        """Where the call goes. Raises UnknownModel, ModelNotAllowed, ModelGone, NoCandidate; InvalidRequest for a
        strategy that there is not; ConstraintsUnmet and ContextTooLong.
        """
        resolve = _Resolve(call, int(self._clock()))
        plan = self._plan(call, resolve)
        if plan is not None and self._is_simple(call, plan):
            policy = call.policy or PLAIN
            strategy = "priority" if policy.order or policy.tiers else NAMED
            targets = plan.targets[:1] if plan.alone else plan.targets
            choice = Choice(strategy, f"{self._seed():016x}", _task(call))
            return Routed(targets, plan.larger, choice, resolve.replaced)
        return self._decided(call, plan, resolve)

    def _is_simple(self, call: Call, plan: Plan) -> bool:
        """Whether there is nothing to decide: an order that asks for nothing, of models that hold the request."""
        if len(plan.groups) != len(plan.targets) or not _is_plain(call.request.routing):
            return False
        at = self.tables(call).candidates.at
        return not any(may_outgrow(call.request, at(target)) for group in plan.groups for target in group)

    def explain(self, call: Call) -> PlanRouteResponse:
        """Where the call would go, and why. Takes no turn. Raises what `route` raises."""
        resolve = _Resolve(call, int(self._clock()))
        routed = self._decided(call, self._plan(call, resolve), resolve, peek=True)
        return explain(call, routed, self.tables(call).candidates.rows)

    def ended(self, call: Call, routed: Routed, cost: int | None) -> None:
        """A call that `route` sent there has ended. `cost`: nano-USD of its answer; None = not known."""
        if (lesson := routed.lesson) is None:
            return
        served, answered = call.story.target, call.story.outcome == call_pb2.OUTCOME_SUCCESS
        name = f"{served.provider}/{served.model}" if answered else ""
        self._learner.ended(call.id, lesson, name, _budget(call), cost)

    def tables(self, call: Call) -> Tables:
        """What decisions are made of in the call's snapshot."""
        when = int(self._clock())
        if self._kept is None or not self._kept.holds(call.snapshot, when):
            self._kept = Tables(call.snapshot, when)
        return self._kept

    def _plan(self, call: Call, resolve: _Resolve) -> Plan | None:
        """Whom the call, or the policy for it, names. None: nobody."""
        settings, request, policy = call.snapshot.settings, call.request, call.policy
        if policy is not None and (policy.order or policy.tiers):
            try:
                return plan_by(policy, settings, request.routing, resolve)
            except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed):
                if request.routing.chain:
                    raise
                # Else a task prefers them, as many that are built in do: who has none of them asks whoever is there.
        if request.model:
            return plan_of(settings, request.model, request.routing, resolve)
        if settings.default_model and _is_plain(request.routing) and not self._is_said(call):
            return plan_of(settings, "", request.routing, resolve)
        return None

    def _is_said(self, call: Call) -> bool:
        return strategy_for(call, self._overlay) != ""

    def _decided(self, call: Call, plan: Plan | None, resolve: _Resolve, *, peek: bool = False) -> Routed:
        question, strategy, arm = self._question(call, plan, resolve, peek=peek)
        try:
            decision = self._decision(question)
        except (ConstraintsUnmet, ContextTooLong):
            if call.policy is None or not call.policy.last_resort:
                raise
            targets = resolve(call.policy.last_resort)
            return Routed(targets, (), Choice(LAST_RESORT, f"{question.seed:016x}", _task(call)), resolve.replaced)
        choice = Choice(strategy, f"{question.seed:016x}", _task(call), arm)
        return _routed(call, plan, decision, choice, resolve.replaced)

    def _decision(self, question: Question) -> Decision:
        ranking = rank(question)
        return choose(ranking, self._figures(ranking.providers()))

    def _question(self, call: Call, plan: Plan | None, resolve: _Resolve, *, peek: bool) -> tuple[Question, str, str]:
        tables, routing, policy = self.tables(call), call.request.routing, call.policy or PLAIN
        settings = call.snapshot.settings.routing
        table, groups = self._groups(call, plan, tables, resolve)
        strategy = self._strategy(call, tables)
        constraints = NONE if _is_plain(routing) else constraints_of(routing)
        if plan is None and settings.max_latency is not None:
            constraints = constraints_of(routing, settings.max_latency)
        ask, seen = ask_of(call.request, streaming=call.streaming), self._seen(table, _task(call))
        call.story.count = ask.count
        fallback = settings.fallback_strategy if plan is None else ""
        experiment = strategy.experiment if strategy.kind is Kind.EXPERIMENT else None
        arm = arm_of(experiment, _unit(call)) if experiment is not None else ""
        question = Question(
            seed=self._seed(),
            table=table,
            ask=ask,
            groups=groups,
            is_open=plan is None,
            constraints=constraints,
            strategy=strategy,
            fallback=find_strategy(fallback, tables.strategies, "routing.fallback_strategy") if fallback else None,
            prefer_local=settings.prefer_local and plan is None,
            prefer_open=routing.prefer_open_weights,
            weights=weights_for(call),
            cost_emphasis=policy.cost_emphasis,
            quality_target=policy.quality_target,
            signals=seen.signals,
            usual=seen.usual,
            named=tables.named(strategy, table),
            turn=self._turn(call, strategy, peek=peek) if strategy.kind is Kind.ROUND_ROBIN else 0,
            arm=tables.arm(experiment, arm, table) if experiment is not None and arm else (),
            taught=self._taught(call, table, one_group=len(groups) == 1) if strategy.kind is Kind.LEARNED else None,
        )
        return question, strategy.name, f"{experiment.name}/{arm}" if experiment is not None and arm else ""

    def _taught(self, call: Call, table: Table, *, one_group: bool) -> Taught:
        """Where there is an order beside what was learned nothing is tried: how probable it was would not be known."""
        learning, shape = call.snapshot.settings.learning, shape_of(prompt_of(call.request))
        models = [row.id for row in table.rows]
        reference = _budget(call)
        weight = self._learner.price_weight(reference) if reference else learning.price_weight
        exchange = Exchange(
            price_weight=weight, reference=reference, time_weight=learning.time_weight, promise=learning.promise
        )
        known = self._learner.qualities(_task(call), shape, models, dict(zip(models, table.qualities, strict=True)))
        return Taught(tuple(known), exchange, learning.explore if one_group else 0.0, shape)

    def _groups(
        self, call: Call, plan: Plan | None, tables: Tables, resolve: _Resolve
    ) -> tuple[Table, tuple[tuple[int, ...], ...]]:
        if plan is None:
            table = tables.open_to(call.identity)
            if not table.rows:
                default_name(call.snapshot, call.identity)  # tells why nobody can be called
            return table, (*self._preferred(call, table, resolve), tuple(range(len(table.rows))))
        table = tables.of((*plan.targets, *plan.larger))
        at = {row.id: index for index, row in enumerate(table.rows)}
        groups = (*plan.groups, plan.larger) if plan.larger else plan.groups
        if call.request.routing.strategy and call.policy is not None and not call.policy.pinned:
            groups = (plan.targets,)  # what the call says itself goes before the order of its task or chain
        return table, tuple(tuple(at[f"{each.provider}/{each.model}"] for each in group) for group in groups)

    def _preferred(self, call: Call, table: Table, resolve: _Resolve) -> tuple[tuple[int, ...], ...]:
        """The default model goes first, unless somebody said a strategy."""
        if not call.snapshot.settings.default_model or self._is_said(call):
            return ()
        wanted = {f"{each.provider}/{each.model}" for each in resolve("")}
        return (tuple(index for index, row in enumerate(table.rows) if row.id in wanted),)

    def _strategy(self, call: Call, tables: Tables) -> Strategy:
        name = strategy_for(call, self._overlay)
        return find_strategy(name, tables.strategies, "routing.strategy") if name else DEFAULT

    def _seen(self, table: Table, task: str) -> _Seen:
        """What calls of before tell of a table's models, a moment ago at most."""
        now = self._clock()
        kept = self._kept_seen
        if kept is not None and kept.table is table and kept.task == task and 0.0 <= now - kept.since < FRESH:
            return kept
        self._kept_seen = kept = _Seen(now, table, task, self._measured(table), self._usual(table, task))
        return kept

    def _measured(self, table: Table) -> dict[int, Signal]:
        found = enumerate(self._signals(table.targets))
        return {index: s for index, s in found if s.samples or s.whole or s.errors or s.utilisation}

    def _usual(self, table: Table, task: str) -> dict[int, int]:
        found = ((index, self._lengths(row.id, task)) for index, row in enumerate(table.rows))
        return {index: tokens for index, tokens in found if tokens is not None}

    def _turn(self, call: Call, strategy: Strategy, *, peek: bool) -> int:
        routing, policy = call.request.routing, call.policy or PLAIN
        key = (strategy.name, call.request.model, policy.order, policy.tiers, constraints_of(routing))
        turn = self._turns.get(key, -1) + 1
        if peek:
            return turn
        self._turns[key] = turn
        self._turns.move_to_end(key)
        if len(self._turns) > MAX_TURNS:
            self._turns.popitem(last=False)
        return turn


class _Resolve:
    """What names mean for one call; remembers who stands in for whom."""

    def __init__(self, call: Call, when: int) -> None:
        self._call, self._when = call, when
        self.replaced: Replaced = {}

    def __call__(self, name: str) -> tuple[Target, ...]:
        call = self._call
        strict = call.request.routing.strict_params
        targets, instead = targets_of(call.snapshot, name, self._when, call.identity, strict=strict)
        if instead:
            self.replaced.update(instead)
        return targets


def _is_plain(routing: call_pb2.Routing) -> bool:
    """Whether it asks for nothing that a target that is named might not be."""
    return not any(field.number in _DECIDING for field, _ in routing.ListFields())


def _task(call: Call) -> str:
    return (call.policy.task if call.policy is not None else "") or call.request.routing.task


def _budget(call: Call) -> float:
    """Nano-USD that calls may cost on average. 0 = nobody said."""
    return (call.snapshot.settings.learning.cost_per_call or 0.0) * NANO


def _unit(call: Call) -> str:
    return unit_of(call.request.routing.sticky_key, call.request.context.end_user_id, call.id)


def _routed(call: Call, plan: Plan | None, decision: Decision, choice: Choice, replaced: Replaced) -> Routed:
    rows, most = decision.ranking.question.table.rows, 1 if _is_alone(call) else MOST
    if plan is None or not plan.larger:
        return Routed(tuple([rows[i].target for i in decision.order[:most]]), (), choice, replaced, decision)
    targets = [rows[index].target for index in decision.order]
    first = [target for target in targets if target not in plan.larger]
    rest = [target for target in targets if target in plan.larger] if first else []
    return Routed(tuple((first or targets)[:most]), tuple(rest), choice, replaced, decision)


def _is_alone(call: Call) -> bool:
    return call.request.routing.disable_fallback or not call.snapshot.settings.routing.fallback
