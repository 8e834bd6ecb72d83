"""What the configuration says of experiments, and of what is learned from calls, as typed values."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from trunkline_server.sections import Seconds, Section

_Weight = Annotated[float, Meta(ge=0, le=1_000_000)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Error = Annotated[float, Meta(ge=0.0001, le=0.5)]
_Price = Annotated[float, Meta(ge=0, le=100)]


class ExperimentSettings(Section, frozen=True, kw_only=True):
    """An experiment: its name is a strategy, and calls by that are given to its arms."""

    # By arm: how many callers it has beside the others. An arm asks whom its name means: a model, an alias, a provider;
    # `others` is everybody whom no other arm asks.
    arms: dict[str, _Weight] = field(default_factory=dict)
    # Whom an arm asks whose name means nobody.
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # Another one gives all callers out anew.
    salt: Annotated[str, Meta(pattern=r"^[!-~]{0,64}$", description="at most 64 characters without blanks")] = ""
    # With what probability an arm may be called the best, ever, that is not.
    error: _Error = 0.05


class LearningSettings(Section, frozen=True, kw_only=True):
    """What strategy performance_based makes of what calls taught."""

    # The quality, from 0 to 1, that is given up for saving what the candidates cost on average.
    price_weight: _Price = 0.05
    # USD that calls may cost on average: sets the weight of price as it takes to keep to that. Unset = price_weight.
    cost_per_call: Annotated[float, Meta(ge=1e-9, le=1_000_000)] | None = None
    # The quality that is given up for each second that an answer is expected to take beyond `promise`.
    time_weight: _Price = 0.0
    promise: Seconds = Seconds(0.0)
    # The share of calls that may try a target that is not known to be the best. 0 = none: the callers should know.
    explore: _Share = 0.0
