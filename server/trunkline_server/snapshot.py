"""What a call runs on, from start to end: the settings, the catalogue, the prices; immutable, under one version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline_server.prices.book import PriceBook
from trunkline_server.spelling import by_spelling, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from re import Pattern

    from trunkline.v1.model_pb2 import Capability, Model
    from trunkline_server.listed import Known
    from trunkline_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Offer:
    """What a configured provider offers."""

    provider: str
    # By the provider's own id, in the order of the configuration.
    models: Mapping[str, Model]
    default_model: str
    # Whether ids beyond `models` are passed on.
    open: bool
    # Another name that means the default model. Empty = there is none.
    spelling: str
    # Whether it is here without being configured.
    builtin: bool
    # Empty = it can be called; else why not, and what to do about it.
    unavailable_reason: str
    # By an id or by its plain spelling: the id that the provider knows the model by.
    spellings: Mapping[str, str] = field(default_factory=dict)
    # What all ids look like that are the vendor's own, in lower case. None = it takes only what is named.
    family: Pattern[str] | None = None
    # By plain spelling: models of others that it hosts.
    hosted: Mapping[str, str] = field(default_factory=dict)
    # Whose tables of the data on models tell of its models.
    kind: str = ""
    # What a request to it has words for, of what the data tells of models.
    says: frozenset[Capability.ValueType] = frozenset()
    # Whether it is asked at its vendor's own address: elsewhere names mean what that server says.
    at_home: bool = False
    # What it told of its models. None = nothing so far.
    known: Known | None = None
    # Whether it takes only models that it lists.
    lists_all: bool = False
    # The dialect that it is asked in; models that it is asked for in the Responses API instead, where it has one.
    dialect: str = ""
    responses: Pattern[str] | None = None
    # Whether it runs on the gateway's own machine.
    local: bool = False
    # What it has before ids that come without a slash, unless they are listed so.
    prefix: str = ""
    # Types of tools that it runs itself and that the operator allows.
    tools: frozenset[str] = frozenset()

    # What it lists itself beyond `models`.
    discovered: Mapping[str, Model] = field(default_factory=dict)
    # Models, of either kind, that cannot be called though the provider can: why, and what to do about it.
    gone: Mapping[str, str] = field(default_factory=dict)
    # By plain spelling: which of `discovered` is meant; those that are gone come last.
    spelt: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every call looks up."""
        live = [model for model in self.discovered if model not in self.gone]
        object.__setattr__(self, "spelt", {**by_spelling(self.discovered), **by_spelling(live)})

    def listed_as(self, model: str) -> str:
        """The id that the provider knows for what a caller wrote; what it would be asked for if none is known."""
        if model in self.discovered:
            return model
        spelling = plain(model)
        if found := self.spellings.get(model) or self.spellings.get(spelling) or self.spelt.get(spelling):
            return found
        return self.listed_as(self.prefix + model) if self.prefix and model and "/" not in model else model

    def hindrance(self, model: str) -> str:
        """Why this model cannot be called now, and what to do about it. Empty = it can."""
        return self.unavailable_reason or self.gone.get(model, "")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A configuration, and what its providers offer. Never changed: whatever changes makes another."""

    # Of the configuration alone: what providers list, and which are switched off, does not change it.
    version: str
    settings: Settings
    # By provider name, in order of preference for calls that name no model.
    offers: Mapping[str, Offer]
    prices: PriceBook = field(default_factory=PriceBook)
