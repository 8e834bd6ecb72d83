"""What a call runs on, from start to end: the settings, the catalogue, the prices; immutable, under one version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline_server.prices.book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.model_pb2 import Model
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A configuration. Never changed: a reload makes another."""

    version: str
    settings: Settings
    # By provider name, in order of preference for calls that name no model.
    offers: Mapping[str, Offer]
    prices: PriceBook = field(default_factory=PriceBook)
