"""What a decision is made of, gathered: the call and what its snapshot, calls of before and the moment say of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trunkline.v1 import call_pb2
from trunkline_server.routing.ask import ask_of
from trunkline_server.routing.chosen import Overlay, strategy_for, weights_for
from trunkline_server.routing.constraints import NONE, constraints_of
from trunkline_server.routing.decision import Fallback, Question
from trunkline_server.routing.experiments import arm_of, unit_of
from trunkline_server.routing.learned.shape import prompt_of, shape_of
from trunkline_server.routing.learned.utility import Exchange
from trunkline_server.routing.naming import sides_of
from trunkline_server.routing.numbers import Warm
from trunkline_server.routing.policy import PLAIN
from trunkline_server.routing.prefix import prefix_key
from trunkline_server.routing.strategies import DEFAULT, Kind, find_strategy
from trunkline_server.routing.tables import Tables
from trunkline_server.routing.taught import Taught

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline_server.core import Call
    from trunkline_server.routing.learned.cells import Quality
    from trunkline_server.routing.learned.lesson import Lesson
    from trunkline_server.routing.learned.shape import Shape
    from trunkline_server.routing.naming import Naming
    from trunkline_server.routing.plan import Plan, Resolve
    from trunkline_server.routing.signal import Signal
    from trunkline_server.routing.steering import Figure
    from trunkline_server.routing.strategies import Strategy
    from trunkline_server.routing.table import Table

# Seconds for which what was seen of all candidates is not looked up anew.
FRESH = 0.05
# Kinds of calls whose turns are counted apart.
MAX_TURNS = 1000
# Tokens. No provider that sells reads from its cache for much less keeps shorter prompts, or they are hardly worth it.
LEAST_READ = 1024
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


class Lengths(Protocol):
    """How long what goes in and comes out is, as calls told: state/lengths.py."""

    def output(self, model: str, task: str = "") -> int | None:
        """How many tokens the answers of a "provider/model" have in a task. None: not known."""

    def correction(self, model: str) -> float:
        """What to multiply estimates of its prompts with."""


class Reader(Protocol):
    """A target that has read what a prompt begins with."""

    @property
    def provider(self) -> str:
        """Its provider."""

    @property
    def model(self) -> str:
        """Its model."""

    @property
    def input_tokens(self) -> int:
        """Of the call that it read."""


class Affinity(Protocol):
    """Who has read what: state/signals/affinity.py."""

    def read_by(self, key: bytes, target: Target, input_tokens: int) -> None:
        """The target has answered a call that begins so."""

    def find(self, key: bytes, blocked: Callable[[str], bool]) -> Reader | None:
        """Who has read it; forgotten if its provider is `blocked`."""


class Sources(NamedTuple):
    """Whoever tells a router what it does not know of itself."""

    # How providers do now, and how targets do.
    figures: Callable[[Iterable[str]], Mapping[str, Figure]]
    signals: Callable[[Sequence[Target]], Sequence[Signal]]
    lengths: Lengths
    affinity: Affinity
    # What was set at run time, and what calls taught.
    overlay: Overlay
    learner: Learner


class Gathered(NamedTuple):
    """What is decided, and what of it the decision itself need not know."""

    question: Question
    strategy: str
    # Of an experiment; empty = none.
    arm: str
    # Of what the prompt begins with. Empty = nobody would read it for less.
    prefix: bytes
    # Of those that stand in for models which the strategy names: what to tell the caller.
    replaced: Mapping[tuple[str, str], CallWarning]


class _Seen(NamedTuple):
    """What was seen of a table's models, by index."""

    since: float
    table: Table
    task: str
    signals: Mapping[int, Signal]
    usual: Mapping[int, int]
    corrections: Mapping[int, float]


class Gathering:
    """For one event loop; nothing in it waits."""

    def __init__(self, sources: Sources, seed: Callable[[], int], clock: Callable[[], float]) -> None:
        """`seed` gives 64 random bits, `clock` seconds since 1970."""
        self._sources, self._seed, self._clock = sources, seed, clock
        self._kept: Tables | None = None
        self._kept_seen: _Seen | None = None
        self._turns: OrderedDict[object, int] = OrderedDict()

    def tables(self, call: Call) -> Tables:
        """What decisions are made of in the call's snapshot."""
        when = int(self._clock())
        if self._kept is None or not self._kept.holds(call.snapshot, when):
            self._kept = Tables(call.snapshot, when)
        return self._kept

    def is_said(self, call: Call) -> bool:
        """Whether anybody said a strategy for it."""
        return strategy_for(call, self._sources.overlay) != ""

    def gather(self, call: Call, plan: Plan | None, resolve: Resolve, *, peek: bool) -> Gathered:
        """What is asked about a call. `peek`: takes no turn."""
        tables, routing, policy = self.tables(call), call.request.routing, call.policy or PLAIN
        settings = call.snapshot.settings.routing
        strategy = self._strategy(call, tables)
        arm = self._arm(call, plan, tables, strategy) if strategy.experiment is not None else ""
        naming = self._naming(call, tables, strategy, arm)
        # An arm that is given to a call is asked, though its task names others: its figures would be those of others.
        named = naming.targets if plan is None or (arm and is_open_to_arms(call)) else ()
        table, groups = self._groups(call, plan, tables, resolve, named)
        sides = sides_of(strategy, arm, naming, table)
        constraints = NONE if is_plain(routing) else constraints_of(routing)
        if plan is None and settings.max_latency is not None:
            constraints = constraints_of(routing, settings.max_latency)
        ask, seen = ask_of(call.request, streaming=call.streaming), self._seen(table, task_of(call))
        call.story.count = ask.count
        is_kept = table.caches and ask.input_tokens >= LEAST_READ
        prefix = prefix_key(call.identity.workspace, call.request) if is_kept else b""
        question = Question(
            seed=self._seed(),
            table=table,
            ask=ask,
            groups=groups,
            is_open=plan is None,
            constraints=constraints,
            strategy=strategy,
            fallback=self._fallback(call, tables, table) if plan is None and settings.fallback_strategy else None,
            prefer_local=settings.prefer_local and plan is None,
            prefer_open=routing.prefer_open_weights,
            weights=weights_for(call),
            cost_emphasis=policy.cost_emphasis,
            quality_target=policy.quality_target,
            signals=seen.signals,
            usual=seen.usual,
            corrections=seen.corrections,
            warm=self._warm(prefix, table),
            named=sides.named,
            turn=self._turn(call, strategy, peek=peek) if strategy.kind is Kind.ROUND_ROBIN else 0,
            arm=sides.arm,
            taught=self._taught(call, table, one_group=len(groups) == 1) if strategy.kind is Kind.LEARNED else None,
        )
        told = f"{strategy.experiment.name}/{arm}" if strategy.experiment is not None and arm else ""
        return Gathered(question, strategy.name, told, prefix, naming.replaced)

    def _arm(self, call: Call, plan: Plan | None, tables: Tables, strategy: Strategy) -> str:
        """The arm that has the call. Empty = none: of those whom it names first some arm means nobody."""
        experiment = strategy.experiment
        if experiment is None:
            return ""
        if plan is not None and not is_open_to_arms(call):
            table = tables.of(plan.targets if _is_one_group(call) else plan.groups[0])
            arms = [arm for arm, weight in experiment.weights.items() if weight > 0]
            sides = (sides_of(strategy, arm, self._naming(call, tables, strategy, arm), table) for arm in arms)
            if not all(any(side.arm) for side in sides):
                return ""
        return arm_of(experiment, _unit(call))

    def _fallback(self, call: Call, tables: Tables, table: Table) -> Fallback:
        """Whom it names and no provider lists is no candidate: the first of all is not its choice."""
        name = call.snapshot.settings.routing.fallback_strategy
        strategy = find_strategy(name, tables.strategies, "routing.fallback_strategy")
        arm = arm_of(strategy.experiment, _unit(call)) if strategy.experiment is not None else ""
        sides = sides_of(strategy, arm, self._naming(call, tables, strategy, arm), table)
        taught = self._taught(call, table, one_group=False) if strategy.kind is Kind.LEARNED else None
        return Fallback(strategy, sides, taught)

    def _naming(self, call: Call, tables: Tables, strategy: Strategy, arm: str) -> Naming:
        strict = call.request.routing.strict_params
        return tables.namings.find(strategy, arm, call.identity, int(self._clock()), strict=strict)

    def _warm(self, prefix: bytes, table: Table) -> Warm | None:
        """Who of the table has read it, if it reads it for less again."""
        found = self._sources.affinity.find(prefix, self._is_blocked) if prefix else None
        if found is None:
            return None
        id_ = f"{found.provider}/{found.model}"
        row = next((index for index, row in enumerate(table.rows) if row.id == id_), None)
        return Warm(row, found.input_tokens) if row is not None and table.caches_at(row) else None

    def _is_blocked(self, provider: str) -> bool:
        figure = self._sources.figures((provider,)).get(provider)
        return figure is not None and figure.wait > 0.0

    def _taught(self, call: Call, table: Table, *, one_group: bool) -> Taught:
        """Where there is an order beside what was learned nothing is tried: how probable it was would not be known."""
        learning, shape = call.snapshot.settings.learning, shape_of(prompt_of(call.request))
        models = [row.id for row in table.rows]
        reference = budget_of(call)
        weight = self._sources.learner.price_weight(reference) if reference else learning.price_weight
        exchange = Exchange(
            price_weight=weight, reference=reference, time_weight=learning.time_weight, promise=learning.promise
        )
        known = self._sources.learner.qualities(
            task_of(call), shape, models, dict(zip(models, table.qualities, strict=True))
        )
        return Taught(tuple(known), exchange, learning.explore if one_group else 0.0, shape)

    def _groups(
        self, call: Call, plan: Plan | None, tables: Tables, resolve: Resolve, named: Sequence[Target]
    ) -> tuple[Table, tuple[tuple[int, ...], ...]]:
        if plan is None:
            table = tables.open_to(call.identity, named)
            if not table.rows:
                table = tables.of(resolve(""))  # the default; without one it tells why nobody can be called
            return table, (*self._preferred(call, table, resolve), table.everybody)
        table = tables.of((*named, *plan.targets, *plan.larger))
        at = {row.id: index for index, row in enumerate(table.rows)}
        groups = (*plan.groups, plan.larger) if plan.larger else plan.groups
        if _is_one_group(call):
            groups = (plan.targets,)
        groups = (tuple(named), *groups) if named else groups
        return table, tuple(tuple(at[f"{each.provider}/{each.model}"] for each in group) for group in groups)

    def _preferred(self, call: Call, table: Table, resolve: Resolve) -> tuple[tuple[int, ...], ...]:
        """The default model goes first, unless somebody said a strategy."""
        if not call.snapshot.settings.default_model or self.is_said(call):
            return ()
        wanted = {f"{each.provider}/{each.model}" for each in resolve("")}
        return (tuple(index for index, row in enumerate(table.rows) if row.id in wanted),)

    def _strategy(self, call: Call, tables: Tables) -> Strategy:
        name = strategy_for(call, self._sources.overlay)
        return find_strategy(name, tables.strategies, "routing.strategy") if name else DEFAULT

    def _seen(self, table: Table, task: str) -> _Seen:
        """What calls of before tell of a table's models, a moment ago at most."""
        now = self._clock()
        kept = self._kept_seen
        if kept is not None and kept.table is table and kept.task == task and 0.0 <= now - kept.since < FRESH:
            return kept
        self._kept_seen = kept = _Seen(
            now, table, task, self._measured(table), self._usual(table, task), self._corrections(table)
        )
        return kept

    def _measured(self, table: Table) -> dict[int, Signal]:
        found = enumerate(self._sources.signals(table.targets))
        return {index: s for index, s in found if s.samples or s.whole or s.errors or s.utilisation}

    def _usual(self, table: Table, task: str) -> dict[int, int]:
        found = ((index, self._sources.lengths.output(row.id, task)) for index, row in enumerate(table.rows))
        return {index: tokens for index, tokens in found if tokens is not None}

    def _corrections(self, table: Table) -> dict[int, float]:
        found = ((index, self._sources.lengths.correction(row.id)) for index, row in enumerate(table.rows))
        return {index: ratio for index, ratio in found if ratio != 1.0}

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


def is_plain(routing: call_pb2.Routing) -> bool:
    """Whether it asks for nothing that a target that is named might not be."""
    return not any(field.number in _DECIDING for field, _ in routing.ListFields())


def is_alone(call: Call) -> bool:
    """Whether nobody is asked but the first."""
    return call.request.routing.disable_fallback or not call.snapshot.settings.routing.fallback


def is_open_to_arms(call: Call) -> bool:
    """Whether an experiment may say whom to ask: the call itself does not, and no model of its task is pinned."""
    policy = call.policy or PLAIN
    return not (call.request.model or call.request.routing.chain or policy.pinned)


def task_of(call: Call) -> str:
    """What the caller is doing, if he said so."""
    return (call.policy.task if call.policy is not None else "") or call.request.routing.task


def budget_of(call: Call) -> float:
    """Nano-USD that calls may cost on average. 0 = nobody said."""
    return (call.snapshot.settings.learning.cost_per_call or 0.0) * NANO


def _is_one_group(call: Call) -> bool:
    """Whether a strategy that the call says itself goes before the order of its task or chain."""
    return call.request.routing.strategy != "" and call.policy is not None and not call.policy.pinned


def _unit(call: Call) -> str:
    return unit_of(call.request.routing.sticky_key, call.request.context.end_user_id, call.id)
