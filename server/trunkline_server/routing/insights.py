"""What would be cheaper, faster or safer, by what calls used and the catalogue. Pure: same figures, same advice.

Money is exact where it was paid, and the prices of today times the same tokens where it was not: nothing of an
alternative's input counts as cached, and no tier of its prices, since sums do not tell how long each call was.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import Target, Usage
from trunkline.v1.insights_pb2 import Insight, InsightEvidence
from trunkline_server.prices.cost import cost_of
from trunkline_server.prices.rates import CACHE_READ, INPUT, REQUEST, SECOND, Prices, Rate
from trunkline_server.routing.filters import quality_of
from trunkline_server.routing.listing import all_models, model_at
from trunkline_server.spelling import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.routing.filters import Known
    from trunkline_server.routing.spent import Answers, Spending, Spent
    from trunkline_server.snapshot import Snapshot

# Fewer attempts or answers say nothing.
ENOUGH = 20
# What is saved is at least this share of what was paid.
WORTH_IT = 0.1
# Another provider takes at most half the time, and so many microseconds less.
SLOW, LEAST_SLOWER = 2.0, 200_000
# So many calls were lost, and this share of them.
LOST, LOST_SHARE = 5, 0.01
# Providers cache no shorter prompts than about this. Less than this share of the input was read from the cache.
CACHEABLE, UNCACHED = 1024, 0.05
# What stands in for a model that fails may be so much less good.
NEARLY = 0.05


def insights(snapshot: Snapshot, known: Known, spent: Spent) -> list[Insight]:
    """All of them: those that save most first, then those that save time, then the others."""
    there = [model for model in all_models(snapshot, known) if _is_real(model, snapshot)]
    told = chain(
        _cheaper(snapshot, known, there, spent.spending),
        _uncached(snapshot, known, spent.spending),
        _slow(spent.answers),
        _without_fallback(snapshot, known, there, spent.answers),
    )
    return sorted(told, key=_rank)


def _rank(insight: Insight) -> tuple[int, float, int, str, str]:
    figures = {each.name: each.value for each in insight.evidence}
    if insight.HasField("saving_nano_usd"):
        return 0, -insight.saving_nano_usd, insight.kind, insight.model, insight.task
    return insight.kind, -figures.get("saved_time", figures.get("lost", 0.0)), 0, insight.model, insight.task


def _is_real(model: Model, snapshot: Snapshot) -> bool:
    return model.available and snapshot.offers[model.provider].kind != "scripted"


# --- a cheaper model --------------------------------------------------------------------------------------------------


def _cheaper(
    snapshot: Snapshot, known: Known, there: Sequence[Model], spending: Iterable[Spending]
) -> Iterator[Insight]:
    for each in spending:
        used = _model(snapshot, each.provider, each.model)
        if used is None or each.attempts < ENOUGH or each.unpriced or not each.cost:
            continue
        able = [model for model in there if _stands_in(model, used)]
        costs = [(cost, model) for model in able if (cost := _cost(known, model, each)) is not None]
        cost, best = min(costs, key=lambda found: (found[0], found[1].id), default=(each.cost, used))
        if each.cost - cost >= each.cost * WORTH_IT:
            yield _cheaper_told(each, used, best, cost)


def _cheaper_told(each: Spending, used: Model, best: Model, cost: int) -> Insight:
    quality, better = quality_of(used) or 0.0, quality_of(best) or 0.0
    what = f"calls of task {each.task}" if each.task else "calls without a task"
    return Insight(
        kind=Insight.KIND_CHEAPER_MODEL,
        model=used.id,
        task=each.task,
        alternative=best.id,
        recommendation=f"{what} cost {_usd(each.cost)} at {used.id} and would have cost {_usd(cost)} at {best.id}, "
        f"whose quality is {better:.3f}, and that of {used.id} {quality:.3f}: try it on a part of them (experiments:)",
        saving_nano_usd=each.cost - cost,
        evidence=[
            InsightEvidence(name="attempts", value=each.attempts),
            InsightEvidence(name="input_tokens", value=each.input_tokens, unit="tokens"),
            InsightEvidence(name="output_tokens", value=each.output_tokens, unit="tokens"),
            InsightEvidence(name="cost", value=each.cost, unit="nano_usd"),
            InsightEvidence(name="alternative_cost", value=cost, unit="nano_usd"),
            InsightEvidence(name="quality", value=quality),
            InsightEvidence(name="alternative_quality", value=better),
        ],
    )


def _stands_in(model: Model, used: Model, margin: float = 0.0) -> bool:
    """Whether it is another one that is as good, and can do what is known of the other."""
    quality, least = quality_of(model), quality_of(used)
    if model.id == used.id or quality is None or least is None or quality < least - margin:
        return False
    if used.HasField("context_window") and model.context_window < used.context_window:
        return False
    return {*used.capabilities} <= {*model.capabilities} and {*used.input_modalities} <= {*model.input_modalities}


def _cost(known: Known, model: Model, each: Spending) -> int | None:
    """What the same tokens would cost there. None: it cannot be told."""
    prices = known.prices.find(model.provider, model.provider_model, known.when)
    if prices is None or any(not rate.is_free for name, rate in prices.rates.items() if name in (REQUEST, SECOND)):
        return None
    flat = Prices({name: Rate(rate.pico_usd) for name, rate in prices.rates.items()}, prices.version)
    usage = Usage(
        input_tokens=each.input_tokens,
        output_tokens=each.output_tokens,
        reasoning_output_tokens=each.reasoning_tokens,
    )
    cost = cost_of(usage, flat, wall_nanoseconds=0)
    return cost.total_nano_usd if cost.HasField("total_nano_usd") and not cost.unpriced_units else None


# --- a prompt cache that is not used ----------------------------------------------------------------------------------


def _uncached(snapshot: Snapshot, known: Known, spending: Iterable[Spending]) -> Iterator[Insight]:
    for (provider, name), sums in sorted(_by_model(spending).items()):
        model = _model(snapshot, provider, name)
        prices = known.prices.find(provider, name, known.when)
        if model is None or prices is None:
            continue
        attempts, tokens, read = sums
        fresh, cached = prices.rates.get(INPUT), prices.rates.get(CACHE_READ)
        if fresh is None or cached is None or not _is_uncached(attempts, tokens, read):
            continue
        if (saving := (tokens - read) * (fresh.pico_usd - cached.pico_usd) // 1000) > 0:
            yield _uncached_told(model, attempts, tokens, read, saving)


def _is_uncached(attempts: int, tokens: int, read: int) -> bool:
    return attempts >= ENOUGH and tokens >= attempts * CACHEABLE and read < tokens * UNCACHED


def _by_model(spending: Iterable[Spending]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Attempts, input tokens, and those of them that were read from a cache."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for each in spending:
        attempts, tokens, read = found.get((each.provider, each.model), (0, 0, 0))
        sums = attempts + each.attempts, tokens + each.input_tokens, read + each.cache_read_tokens
        found[each.provider, each.model] = sums
    return found


def _uncached_told(model: Model, attempts: int, tokens: int, read: int, saving: int) -> Insight:
    return Insight(
        kind=Insight.KIND_UNUSED_PROMPT_CACHE,
        model=model.id,
        recommendation=f"{tokens / attempts:.0f} tokens go into a call of {model.id} on average, {read / tokens:.1%} "
        "of them from its prompt cache: put what calls have in common first, and mark it (cache_control) where the "
        "provider wants that",
        saving_nano_usd=saving,
        saving_at_most=True,
        evidence=[
            InsightEvidence(name="attempts", value=attempts),
            InsightEvidence(name="input_tokens", value=tokens, unit="tokens"),
            InsightEvidence(name="cache_read_tokens", value=read, unit="tokens"),
        ],
    )


# --- a slow provider --------------------------------------------------------------------------------------------------


def _slow(answers: Iterable[Answers]) -> Iterator[Insight]:
    same: dict[str, list[Answers]] = {}
    for each in answers:
        if each.whole >= ENOUGH:
            same.setdefault(_plain(each), []).append(each)
    for of in same.values():
        best = min(of, key=_mean)
        for each in of:
            slower = _mean(each) - _mean(best)
            if _mean(each) >= SLOW * _mean(best) and slower >= LEAST_SLOWER:
                yield _slow_told(each, best, slower * each.whole / 1e6)


def _plain(of: Answers) -> str:
    """The model, whoever hosts it."""
    return plain(of.model.rpartition("/")[2])


def _mean(of: Answers) -> float:
    return of.time / of.whole


def _slow_told(each: Answers, best: Answers, saved: float) -> Insight:
    name, other = f"{each.provider}/{each.model}", f"{best.provider}/{best.model}"
    mean, fast = _mean(each) / 1e6, _mean(best) / 1e6
    return Insight(
        kind=Insight.KIND_SLOW_PROVIDER,
        model=name,
        alternative=other,
        recommendation=f"whole answers took {mean:.2f} s on average at {name} and {fast:.2f} s at {other}, which is "
        "the same model: ask that first, or let latency_optimized choose",
        evidence=[
            InsightEvidence(name="answers", value=each.whole),
            InsightEvidence(name="mean_time", value=mean, unit="s"),
            InsightEvidence(name="alternative_answers", value=best.whole),
            InsightEvidence(name="alternative_mean_time", value=fast, unit="s"),
            InsightEvidence(name="saved_time", value=saved, unit="s"),
        ],
    )


# --- a fallback that is missing ---------------------------------------------------------------------------------------


def _without_fallback(
    snapshot: Snapshot, known: Known, there: Sequence[Model], answers: Sequence[Answers]
) -> Iterator[Insight]:
    for each in answers:
        used = _model(snapshot, each.provider, each.model)
        if used is None or not _is_lossy(each) or _has_fallback(snapshot, used):
            continue
        if same := _same_elsewhere(each, answers):
            yield _fallback_told(each, used, same)
            continue
        able = [model for model in there if model.provider != used.provider and _stands_in(model, used, NEARLY)]
        best = min(able, key=lambda model: (_price(known, model), model.id), default=None)
        yield _fallback_told(each, used, best.id if best else "")


def _is_lossy(of: Answers) -> bool:
    return of.lost >= max(LOST, of.calls * LOST_SHARE)


def _same_elsewhere(lossy: Answers, answers: Iterable[Answers]) -> str:
    """Another provider where calls of the same model go well, as far as they went there. Empty = there is none."""
    same = (each for each in answers if each.provider != lossy.provider and _plain(each) == _plain(lossy))
    well = [each for each in same if each.whole >= ENOUGH and not _is_lossy(each)]
    best = min(well, key=_mean, default=None)
    return "" if best is None else f"{best.provider}/{best.model}"


def _has_fallback(snapshot: Snapshot, used: Model) -> bool:
    names = {used.id, used.provider_model, *used.aliases}
    if snapshot.offers[used.provider].default_model == used.provider_model:
        names.add(used.provider)
    return any(snapshot.settings.fallbacks.get(name) for name in names)


def _price(known: Known, model: Model) -> float:
    price = known.unit_price(model, INPUT)
    return float("inf") if price is None else price


def _fallback_told(each: Answers, used: Model, other: str) -> Insight:
    line = f"fallbacks: {{{used.id}: [{other or 'another model'}]}}"
    return Insight(
        kind=Insight.KIND_MISSING_FALLBACK,
        model=used.id,
        alternative=other,
        recommendation=f"{each.lost} of {each.calls} calls failed at {used.id} and nobody was asked in its place: say "
        f"whom to ask next, in the configuration ({line}) or in the call (routing.fallback_models)",
        evidence=[
            InsightEvidence(name="calls", value=each.calls),
            InsightEvidence(name="lost", value=each.lost),
        ],
    )


def _model(snapshot: Snapshot, provider: str, model: str) -> Model | None:
    """As the catalogue knows it now. None: the provider is not configured any more, or only says what it is told."""
    offer = snapshot.offers.get(provider)
    if offer is None or offer.kind == "scripted":
        return None
    return model_at(snapshot, Target(provider=provider, model=model))


def _usd(nano: int) -> str:
    return f"{nano / 1e9:.4f} USD"
