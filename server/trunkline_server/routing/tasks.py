"""Tasks, agents, chains and the environment: what they make of a request, and of the choice of its target. Pure.

Whoever names a model goes to that, whatever its task says: a task then only tells the model how, and caps the answer.
Whoever names a chain goes down the chain, after the model that he names.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import asdict

from trunkline.v1.call_pb2 import Complexity
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline_server.errors import InvalidRequest, UnknownName, Violation
from trunkline_server.routing.analysis import analyse
from trunkline_server.routing.policy import PLAIN, Policy, Weights
from trunkline_server.routing.required import require
from trunkline_server.settings.tasks import AgentSettings, ChainSettings, EnvironmentSettings, TaskSettings, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeVar

    from trunkline.v1.call_pb2 import Routing
    from trunkline_server.settings import Settings

    T = TypeVar("T")

# What the weight of cost is multiplied with.
EMPHASES = {"aggressive": 2.0, "balanced": 1.0, "quality_first": 0.5}
MAX_LABELS = 32
# How alike a name has to be to one that is configured to be taken for a slip.
_SLIP = 0.8
# Names come from callers: only so many are remembered.
_REMEMBERED = 4096
# What to do with a task that only tells calls apart.
_LABELS = "a name for statistics alone is a label (context.labels), or a task that says nothing (tasks: {NAME: {}})"
_NO_TASK, _NO_AGENT, _NO_CHAIN, _NO_ENVIRONMENT = (
    TaskSettings(),
    AgentSettings(),
    ChainSettings(),
    EnvironmentSettings(),
)
_NO_DEFAULTS = _NO_TASK.defaults


class Expanded(NamedTuple):
    """A call in plain words."""

    # Where nothing had to be said in it, the very message that was given.
    request: GenerateRequest
    policy: Policy
    # Names that look like slips.
    warnings: tuple[CallWarning, ...] = ()


class _Named(NamedTuple):
    """What the names of a request stand for. The names are as they are configured, else as they were said."""

    task_name: str
    task: TaskSettings
    agent_name: str
    agent: AgentSettings
    chain_name: str
    chain: ChainSettings
    environment: EnvironmentSettings


def expand(settings: Settings, request: GenerateRequest) -> Expanded:
    """The request with what its task, agent, chain and environment say, and the policy for who is asked.

    An agent that is not configured counts for statistics only. Raises UnknownName for a task or a chain that is not
    configured, and with strict_params for agents; then InvalidRequest for providers that are not.
    """
    if request.model and not settings.environment and not request.HasField("routing"):
        return Expanded(request, PLAIN)
    routing = request.routing
    if request.model and not (routing.task or routing.agent or routing.chain or settings.environment):
        return Expanded(request, PLAIN, _strange(settings, routing))
    named = _named(settings, routing)
    warnings = (*_slips(settings, routing), *_strange(settings, routing))
    return Expanded(_said(request, named), _policy(settings, request, named), warnings)


def _named(settings: Settings, routing: Routing) -> _Named:
    agent_name, agent = _find(settings.agents, routing.agent, _NO_AGENT)
    task_name, task = _find(settings.tasks, routing.task or agent.task, _NO_TASK)
    check_task(settings, routing.task, "routing.task")
    chain_name, chain = _find(settings.chains, routing.chain or task.chain, _NO_CHAIN)
    if chain is _NO_CHAIN and routing.chain:
        raise UnknownName("routing.chain", "chain", routing.chain, settings.chains)
    _, environment = _find(settings.environments, settings.environment, _NO_ENVIRONMENT)
    return _Named(task_name, task, agent_name, agent, chain_name, chain, environment)


def check_task(settings: Settings, name: str, field: str) -> None:
    """Raises UnknownName if no task is configured under the name that `field` says, in any spelling."""
    if name and _find(settings.tasks, name, _NO_TASK)[1] is _NO_TASK:
        raise UnknownName(field, "task", name, settings.tasks, _LABELS)


def _find(known: Mapping[str, T], name: str, nothing: T) -> tuple[str, T]:
    """What a name stands for, in any spelling, and the name as it is configured."""
    if not name:
        return "", nothing
    own = name if name in known else _spelt(name, tuple(known))
    return (own, known[own]) if own else (name, nothing)


@lru_cache(_REMEMBERED)
def _spelt(name: str, known: tuple[str, ...]) -> str:
    """Which of these is the same but for its spelling. Empty = none."""
    wanted = spelling(name)
    return next((own for own in known if spelling(own) == wanted), "")


@lru_cache(_REMEMBERED)
def _nearest(name: str, known: tuple[str, ...]) -> str:
    """Which of these is so like it that it may be meant. Empty = none."""
    return next(iter(get_close_matches(name.lower(), known, n=1, cutoff=_SLIP)), "")


# --- who is asked -----------------------------------------------------------------------------------------------------


def _policy(settings: Settings, request: GenerateRequest, named: _Named) -> Policy:
    task, chain, environment = named.task, named.chain, named.environment
    order, tiers = _targets(settings, request, named)
    uses_chain = bool(request.routing.chain) or not request.model
    return Policy(
        strategy=task.strategy or chain.strategy,
        weights=_weights(task),
        order=order,
        tiers=tiers,
        then_anybody=task.then_anybody and not request.model and not request.routing.chain,
        pinned=task.pinned and not request.model and not request.routing.chain,
        max_output_tokens=task.max_output_tokens,
        quality_target=environment.quality_threshold,
        cost_emphasis=EMPHASES[environment.cost_optimization],
        last_resort=settings.last_resort,
        task=named.task_name,
        chain=named.chain_name if uses_chain else "",
        environment=settings.environment,
    )


def _weights(task: TaskSettings) -> Weights | None:
    said = task.weights
    if said is None:
        return None
    return Weights(cost=said.cost, performance=said.performance, quality=said.quality, specialised=said.specialised)


Targets = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]


def _targets(settings: Settings, request: GenerateRequest, named: _Named) -> Targets:
    """Who is asked in order, and who after them by tiers. Neither: whoever may be."""
    task, chain = named.task, named.chain
    if request.routing.chain:
        first = (request.model,) if request.model and not chain.requires else ()
        return _once((*first, *chain.targets)), chain.tiers
    if request.model:
        return (), ()
    own = _once((*filter(None, (named.agent.model,)), *task.primary, *task.fallback, *chain.targets))
    if not own and not chain.tiers and not chain.requires:
        return _by_complexity(settings, request, named.environment)
    if not task.strategy:
        return own, chain.tiers
    # The task's strategy orders them, all but the one that stays first.
    pinned = 1 if task.pinned else 0
    return own[:pinned], (*((own[pinned:],) if own[pinned:] else ()), *chain.tiers)


def _by_complexity(settings: Settings, request: GenerateRequest, environment: EnvironmentSettings) -> Targets:
    """Whom the first rule names that fits, then who is in its chain."""
    if not settings.complexity:
        return (), ()
    routing = request.routing
    wanted = routing.min_quality if routing.HasField("min_quality") else environment.quality_threshold
    how_hard = Complexity.Name(analyse(request).complexity).removeprefix("COMPLEXITY_").lower()
    for rule in settings.complexity:
        if rule.complexity in (None, how_hard) and wanted <= rule.quality:
            _, chain = _find(settings.chains, rule.chain, _NO_CHAIN)
            return _once((rule.use, *chain.targets)), chain.tiers
    return (), ()


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# --- what is said -----------------------------------------------------------------------------------------------------


def _said(given: GenerateRequest, named: _Named) -> GenerateRequest:
    """The request with all that is said for it. What was given is not changed."""
    task, routing = named.task, given.routing
    requires = named.chain.requires if routing.chain or not given.model else None
    renamed = (named.task_name, named.agent_name) != (routing.task, routing.agent)
    says_how = task.system_prompt or task.max_output_tokens or task.defaults != _NO_DEFAULTS
    if not (renamed or requires or says_how or task.labels):
        return given
    request = GenerateRequest()
    request.CopyFrom(given)
    request.routing.task, request.routing.agent = named.task_name, named.agent_name
    if requires:
        require(request.routing, requires, named.chain_name)
    _instruct(request, task)
    return request


def _instruct(request: GenerateRequest, task: TaskSettings) -> None:
    """What the task says of how it is done."""
    if task.system_prompt:
        own = request.system_instruction
        request.system_instruction = f"{task.system_prompt}\n\n{own}" if own else task.system_prompt
    config = request.config
    if task.defaults != _NO_DEFAULTS:
        said = GenerationConfig(**{name: value for name, value in asdict(task.defaults).items() if value is not None})
        said.MergeFrom(config)
        config.CopyFrom(said)
    if task.max_output_tokens is not None:
        asked = config.max_output_tokens if config.HasField("max_output_tokens") else task.max_output_tokens
        config.max_output_tokens = min(asked, task.max_output_tokens)
    labels = request.context.labels if task.labels else {}
    for name, text in task.labels.items():
        if name not in labels and len(labels) < MAX_LABELS:
            labels[name] = text


def _slips(settings: Settings, routing: Routing) -> Iterator[CallWarning]:
    """An agent that is not configured though one is called nearly so. Raises UnknownName with strict_params."""
    name, known = routing.agent, settings.agents
    if not name or name in known or _spelt(name, tuple(known)):
        return
    if routing.strict_params:
        raise UnknownName("routing.agent", "agent", name, known)
    if close := _nearest(name, tuple(known)):
        yield CallWarning(
            kind=CallWarning.KIND_NAME_UNKNOWN,
            field="routing.agent",
            message=f"no agent of this name is configured: it counts for statistics only; is {close} meant?",
        )


def _strange(settings: Settings, routing: Routing) -> tuple[CallWarning, ...]:
    named = routing.allowed_providers or routing.denied_providers
    return tuple(_strangers(settings, routing)) if named else ()


def _strangers(settings: Settings, routing: Routing) -> Iterator[CallWarning]:
    """Providers that are allowed or denied and that there are not. Raises InvalidRequest with strict_params.

    Who denies one under a wrong name would have his prompt sent to it, and not know.
    """
    for key in ("allowed_providers", "denied_providers"):
        for index, name in enumerate(getattr(routing, key)):
            if name not in settings.providers:
                field = f"routing.{key}[{index}]"
                close = _nearest(name, tuple(settings.providers))
                said = f"no provider {name[:64]!r} is configured{f': is {close} meant?' if close else ''}"
                if routing.strict_params:
                    raise InvalidRequest([Violation(field, said)])
                yield CallWarning(kind=CallWarning.KIND_NAME_UNKNOWN, field=field, message=said)
