"""What the configuration says of tasks, agents, chains and environments, as typed values."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from trunkline_server.sections import Seconds, Section
from trunkline_server.settings.experiments import ExperimentSettings, LearningSettings
from trunkline_server.settings.models import CapabilityName, MeasuredSettings  # noqa: TC001 - msgspec reads it
from trunkline_server.settings.routing import RoutingSettings, WeightSettings
from trunkline_server.settings.vendors import GenerationDefaults

# As callers may say it in Routing.task, Routing.agent and Routing.chain.
RouteName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="at most 64 letters, digits, - and _")]
Share = Annotated[float, Meta(ge=0, le=1)]
_Tokens = Annotated[int, Meta(ge=1, le=1 << 31)]
LabelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="at most 64 letters, digits, ., - and _")
]
LabelText = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]{0,256}$", description="at most 256 characters, in one line")]


class TaskSettings(Section, frozen=True, kw_only=True):
    """What calls with this `Routing.task` are: how the model is told to do it, and who is asked."""

    # Goes in front of what the caller tells the model as its system.
    system_prompt: str = ""
    # How those who may be asked are ordered. Empty = in the order below; without one, as the gateway does it.
    strategy: str = ""
    # What counts how much in that. Unset = as the strategy has it.
    weights: WeightSettings | None = None
    # Models, aliases or providers: who is asked first, and who is asked after them.
    primary: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    # A chain whose targets are asked after those.
    chain: str = ""
    # After all of those whoever else may be asked: there is always somebody.
    then_anybody: bool = False
    # The first of them stays first, whatever is measured.
    pinned: bool = False
    # No answer is longer, whatever the caller asks for. Unset = no cap.
    max_output_tokens: _Tokens | None = None
    # What is said where the caller is silent, before what the provider has of its own.
    defaults: GenerationDefaults = GenerationDefaults()
    # Why these are asked, in words: for people.
    criteria: str = ""
    # Labels of such calls in the statistics, unless the caller gives them others.
    labels: dict[LabelName, LabelText] = field(default_factory=dict)


class AgentSettings(Section, frozen=True, kw_only=True):
    """Whose calls have this `Routing.agent`: what it does, and who does it for it."""

    # The task of its calls that name none.
    task: str = ""
    # A model, an alias or a provider that is asked before those of the task.
    model: str = ""


class RequirementSettings(Section, frozen=True, kw_only=True):
    """What the targets of a chain have to be. Beside what a request asks for itself: the stricter holds."""

    capabilities: tuple[CapabilityName, ...] = ()
    min_context_window: Annotated[int, Meta(ge=1, le=1 << 40)] | None = None
    min_quality: Share | None = None
    # USD that a call is expected to cost at most.
    max_cost: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    max_time_to_first_token: Seconds | None = None
    # Until the last token of the answer.
    max_expected_total_time: Seconds | None = None
    # Only models on this machine.
    local_only: bool = False
    prefer_open_weights: bool = False
    # Providers. Empty = all.
    providers: tuple[str, ...] = ()


class ChainSettings(Section, frozen=True, kw_only=True):
    """Whom calls with this `Routing.chain` go to. It says one of targets, tiers and requires."""

    # Models, aliases or providers, asked in this order.
    targets: tuple[str, ...] = ()
    # The same in tiers: those of one are ordered by the strategy, and come before all of the next.
    tiers: tuple[tuple[str, ...], ...] = ()
    # Whoever meets this, ordered by the strategy.
    requires: RequirementSettings | None = None
    # For tiers and requires. Empty = the task's, else the gateway's.
    strategy: str = ""


class ComplexitySettings(Section, frozen=True, kw_only=True):
    """Who is asked first by how hard a request is, where nothing else says who."""

    # How hard it is. Unset = however hard.
    complexity: Literal["simple", "moderate", "complex"] | None = None
    # Only if no more quality than this is wanted, by the request's min_quality or by the environment.
    quality: Share = 1.0
    # A model, an alias or a provider.
    use: str
    # A chain that goes on from there.
    chain: str = ""


class EnvironmentSettings(Section, frozen=True, kw_only=True):
    """How the gateway weighs things in one of the places that it runs in."""

    # aggressive: cost counts twice. quality_first: it counts half.
    cost_optimization: Literal["aggressive", "balanced", "quality_first"] = "balanced"
    # What lies below it loses score. It removes nobody: a request's min_quality does.
    quality_threshold: Share = 0.0
    # quick_degradation: whoever fails is not asked again, the next one is. maximum_resilience: providers are asked
    # again more often, and calls may take more attempts.
    fallback: Literal["quick_degradation", "graceful_degradation", "maximum_resilience"] = "graceful_degradation"
    # logs.monitoring_level where the file does not say it.
    monitoring: Literal["basic", "detailed", "comprehensive"] | None = None


class RoutingSections(Section, frozen=True, kw_only=True):
    """The parts of the configuration that say what calls are for, and who is asked."""

    # What is built in and what the file leaves out: one of `trunkline config presets`. Empty = what is built in.
    preset: str = ""
    # By the names that callers say; case, - and _ do not matter.
    tasks: dict[RouteName, TaskSettings] = field(default_factory=dict)
    agents: dict[RouteName, AgentSettings] = field(default_factory=dict)
    chains: dict[RouteName, ChainSettings] = field(default_factory=dict)
    # The first that fits decides.
    complexity: tuple[ComplexitySettings, ...] = ()
    environments: dict[RouteName, EnvironmentSettings] = field(default_factory=dict)
    # Which of them this gateway runs in. Empty = none.
    environment: str = ""
    # By "provider/model": beside what `trunkline benchmark` has written down itself.
    measured: dict[str, MeasuredSettings] = field(default_factory=dict)
    # How many attempts a call may take that does not say: retries, fallbacks and hedges together.
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = 4
    # Who is asked if what a call asks for leaves nobody: a model, an alias or a provider. Empty = the call fails.
    last_resort: str = ""
    experiments: dict[RouteName, ExperimentSettings] = field(default_factory=dict)
    learning: LearningSettings = LearningSettings()
    routing: RoutingSettings = RoutingSettings()


def spelling(name: str) -> str:
    """A name without what does not matter in it: the letters' case, - and _."""
    return name.lower().replace("-", "").replace("_", "")
