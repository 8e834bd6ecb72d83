"""What a call runs on, from start to end: the settings, the catalogue, the prices; immutable, under one version."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline_server.prices.book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping
    from re import Pattern

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.settings import Settings

_DATED = re.compile(r"-(latest|20\d{6}|20\d\d-\d\d-\d\d)$")


def plain(model: str) -> str:
    """A model's id without what people write differently: letters' case, dots and underscores, dates, "latest"."""
    return _DATED.sub("", re.sub(r"[._]", "-", model.lower()))


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

    def listed_as(self, model: str) -> str:
        """The id that the provider knows for what a caller wrote; what he wrote if none is known."""
        return self.spellings.get(model) or self.spellings.get(plain(model), model)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A configuration. Never changed: a reload makes another."""

    version: str
    settings: Settings
    # By provider name, in order of preference for calls that name no model.
    offers: Mapping[str, Offer]
    prices: PriceBook = field(default_factory=PriceBook)
