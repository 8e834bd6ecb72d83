"""What a decision needs to know of each model, worked out once for a snapshot: compact rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import Target
from trunkline_server.prices.rates import CACHE_READ, FREE, INPUT, OUTPUT, REQUEST, SECOND
from trunkline_server.routing.described import own_of, retirement_of
from trunkline_server.routing.filters import quality_of, score_of
from trunkline_server.routing.listing import model_at
from trunkline_server.routing.replaced import gone_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.model_pb2 import Capability, Model
    from trunkline_server.prices.rates import Rate
    from trunkline_server.snapshot import Offer, Snapshot

# Where nobody says what a token costs in and out together: three that go in to one that comes out.
INPUT_SHARE, OUTPUT_SHARE = 3, 1
# So many targets are remembered that a provider takes without listing them: names come from callers.
MAX_UNLISTED = 1000
_FREE = FREE[INPUT]
# The dialect of the Responses API.
RESPONSES = "openai_responses"


@dataclass(frozen=True, slots=True)
class Tariff:
    """What calls cost: pico-USD a token, a call, and a second."""

    input: int
    output: int
    cache_read: int
    request: int
    second: int
    # Input, output and cached input at their steps. None: they cost the same in calls of every size.
    stepped: tuple[Rate, Rate, Rate] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model at a provider, as a decision sees it. None = not known."""

    # "provider/model".
    id: str
    target: Target
    provider: str
    model: str
    # Of its provider: whose tables tell of it; embedded, scripted.
    kind: str
    # Whose line it is of: claude, gpt, llama. Empty = not known.
    family: str
    # Empty = it can be called; else why not.
    hindrance: str
    local: bool
    open_weights: bool | None
    capabilities: frozenset[Capability.ValueType]
    # In tokens: in and out together; out at most.
    window: int | None
    max_output: int | None
    # From 0 to 1. Quality is its own score, else the mean of what makes it up.
    quality: float | None
    coding: float | None
    reasoning: float | None
    speed: float | None
    # A model on the gateway's own machine that nobody prices is free.
    tariff: Tariff | None
    # USD per million tokens, in and out together: to compare models by price alone.
    effective_price: float | None
    # What it is asked in, then what it may be asked in; types of tools that its provider may run.
    dialects: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()


@dataclass(slots=True)
class Candidates:
    """All models of a snapshot, in the order of its providers and of what they offer."""

    snapshot: Snapshot
    # Seconds since 1970: for when it was worked out, and when a price or an availability may be another.
    since: int
    until: int | None
    rows: tuple[Candidate, ...]
    by_id: Mapping[str, Candidate]
    _unlisted: dict[str, Candidate] = field(default_factory=dict)

    def holds(self, snapshot: Snapshot, when: int) -> bool:
        """Whether it is what `build_candidates` would make of these."""
        return self.snapshot is snapshot and self.since <= when and (self.until is None or when < self.until)

    def at(self, target: Target) -> Candidate:
        """The row of a target, also of one that its provider takes without listing it."""
        id_ = f"{target.provider}/{target.model}"
        return self.by_id.get(id_) or self._unlisted.get(id_) or self._find(id_, target)

    def _find(self, id_: str, target: Target) -> Candidate:
        row = _candidate(
            self.snapshot, self.snapshot.offers[target.provider], model_at(self.snapshot, target), self.since
        )
        if len(self._unlisted) < MAX_UNLISTED:
            self._unlisted[id_] = row
        return row


def build_candidates(snapshot: Snapshot, when: int) -> Candidates:
    """Every model that is configured or listed, at a time in seconds since 1970; those that cannot be called, too."""
    rows = tuple(
        _candidate(snapshot, offer, model, when)
        for offer in snapshot.offers.values()
        for model in (*offer.models.values(), *offer.discovered.values())
    )
    changes = (moment for row in rows for moment in _changes(snapshot, row, when))
    return Candidates(snapshot, when, min(changes, default=None), rows, {row.id: row for row in rows})


def _candidate(snapshot: Snapshot, offer: Offer, model: Model, when: int) -> Candidate:
    target = Target(provider=model.provider, model=model.provider_model)
    tariff = _tariff(snapshot, model, when)
    return Candidate(
        id=model.id,
        target=target,
        provider=model.provider,
        model=model.provider_model,
        kind=offer.kind,
        family=model.family,
        hindrance=offer.hindrance(target.model) or gone_reason(snapshot, target, when),
        local=model.local,
        open_weights=model.open_weights if model.HasField("open_weights") else None,
        capabilities=frozenset(model.capabilities),
        window=model.context_window if model.HasField("context_window") else None,
        max_output=model.max_output_tokens if model.HasField("max_output_tokens") else None,
        quality=quality_of(model),
        coding=score_of(model, "coding"),
        reasoning=score_of(model, "reasoning"),
        speed=score_of(model, "speed"),
        tariff=tariff,
        effective_price=_effective_price(snapshot, model, tariff),
        dialects=_dialects(offer, model.provider_model),
        tools=offer.tools,
    )


def _dialects(offer: Offer, model: str) -> tuple[str, ...]:
    if offer.responses is None:
        return (offer.dialect,)
    return (RESPONSES,) if offer.responses.fullmatch(model) else (offer.dialect, RESPONSES)


def _changes(snapshot: Snapshot, row: Candidate, when: int) -> Iterator[int]:
    """The moments after `when` at which the row may be another."""
    if (change := snapshot.prices.next_change(row.provider, row.model, when)) is not None:
        yield change
    retirement = retirement_of(snapshot.settings, row.provider, row.kind, row.model)
    if retirement is not None and retirement > when:
        yield retirement


def _tariff(snapshot: Snapshot, model: Model, when: int) -> Tariff | None:
    found = snapshot.prices.find(model.provider, model.provider_model, when)
    if found is not None:
        return tariff_of(found.rates)
    return tariff_of(FREE) if model.local else None


def tariff_of(rates: Mapping[str, Rate]) -> Tariff:
    """These rates as a decision needs them. What has no price costs what its whole costs; without that, nothing."""
    into, out = rates.get(INPUT, _FREE), rates.get(OUTPUT, _FREE)
    read = rates.get(CACHE_READ, into)
    return Tariff(
        input=into.pico_usd,
        output=out.pico_usd,
        cache_read=read.pico_usd,
        request=rates[REQUEST].pico_usd if REQUEST in rates else 0,
        second=rates[SECOND].pico_usd if SECOND in rates else 0,
        stepped=(into, out, read) if into.steps or out.steps or read.steps else None,
    )


def _effective_price(snapshot: Snapshot, model: Model, tariff: Tariff | None) -> float | None:
    own = own_of(snapshot.settings, model.provider, model.provider_model)
    if own is not None and own.effective_price is not None:
        return own.effective_price
    if tariff is None:
        return None
    return (INPUT_SHARE * tariff.input + OUTPUT_SHARE * tariff.output) / (INPUT_SHARE + OUTPUT_SHARE) / 1e6
