"""Builds the packaged price book from genai-prices and our corrections: python -m pricebook.build WHEEL."""

from __future__ import annotations

import hashlib
import sys
import tomllib
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pricebook.genai import Made, read_providers, seconds_of
from trunkline_server.prices.rates import Rate, Step
from trunkline_server.prices.tables import Daily, Period, Table, Tables, fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE = Path(__file__).parent
BOOK = HERE.parent / "trunkline_server" / "prices" / "book.json"
CORRECTIONS = HERE / "corrections.toml"

Rates = dict[str, Rate]
# An entry of corrections.toml.
Correction = dict[str, Any]

# The source's price keys: our unit, and how many of it a price is for.
_MILLION = 1_000_000
UNITS = {
    "input_mtok": ("input", _MILLION),
    "cache_read_mtok": ("cache_read", _MILLION),
    "cache_write_mtok": ("cache_write", _MILLION),
    "cache_write_1h_mtok": ("cache_write_1h", _MILLION),
    "output_mtok": ("output", _MILLION),
    "output_reasoning_mtok": ("reasoning", _MILLION),
    "output_citation_mtok": ("citation_tokens", _MILLION),
    "requests_kcount": ("request", 1000),
    "web_searches_kcount": ("web_search_requests", 1000),
    "storage_searches_kcount": ("file_search_requests", 1000),
    "input_mchars": ("input_characters", _MILLION),
    "input_text_messages_kcount": ("input_messages", 1000),
    "input_document_kpages": ("document_pages", 1000),
    "input_annotated_document_kpages": ("annotated_document_pages", 1000),
    "audio_hours": ("audio_seconds", 3600),
    "input_audio_hours": ("input_audio_seconds", 3600),
} | {
    f"{theirs}_mtok": (ours, _MILLION)
    for modality in ("audio", "image", "video")
    for theirs, ours in (
        (f"input_{modality}", f"input_{modality}_tokens"),
        (f"output_{modality}", f"output_{modality}_tokens"),
        (f"cache_{modality}_read", f"cache_read_input_{modality}_tokens"),
    )
}
# The source's request contexts that are ways of processing a call; the others are no business of the gateway's.
PROCESSING = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
}
SOUND = ("input_audio_tokens", "output_audio_tokens")
# The units that our corrections may have, in USD per 1M tokens.
TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", *SOUND)
CLAUSES = {"Equals": "=", "StartsWith": "^", "EndsWith": "$", "Contains": "*", "Regex": "~", "Or": "|", "And": "&"}
# Hugging Face's router sells for others: "model:seller".
ROUTED = "huggingface_"
# Ids that callers may write without this.
PREFIXES = {"fireworks": "accounts/fireworks/models/"}


# Since when; the rates; hours of the day with theirs, and whether only on weekdays; by way of processing.
Span = tuple[int, Rates, list[tuple[int, int, Rates, bool]], dict[str, Rates]]


@dataclass
class History:
    """Of a model: its periods, the oldest first, with whole rates in place of places."""

    periods: list[Span]

    def until(self, day: int) -> list[Span]:
        """What holds before a moment."""
        return [period for period in self.periods if period[0] < day]

    def since(self, day: int) -> list[Span]:
        """What holds from a moment on."""
        standing = [period for period in self.periods if period[0] <= day][-1]
        return [(day, *standing[1:]), *(period for period in self.periods if period[0] > day)]

    def copy(self) -> History:
        """One whose rates can be changed without changing these."""
        return History(deepcopy(self.periods))


@dataclass
class Draft:
    """A table in the making."""

    # In the source's order: the first that matches is meant.
    entries: list[tuple[Any, History]] = field(default_factory=list)


def main(wheel: Path) -> None:
    """Write the book, and say what is in it."""
    corrections = tomllib.loads(CORRECTIONS.read_text())
    drafts = drafts_of(read_providers(wheel), corrections["kinds"])
    correct(drafts, corrections)
    book = packed(drafts, corrections["kinds"], wheel.name)
    BOOK.write_text(written(book))
    ids = sum(len(table.exact) + len(table.patterns) for table in book.tables.values())
    sizes = f"{len(book.histories)} histories, {len(book.rates)} sets of rates, {BOOK.stat().st_size} bytes"
    print(f"{book.version}: {len(book.tables)} tables, {ids} ids and patterns, {sizes}")


# --- from the source --------------------------------------------------------------------------------------------------


def drafts_of(providers: list[Made], kinds: dict[str, list[str]]) -> dict[str, Draft]:
    """The tables that our kinds need."""
    needed = {table for tables in kinds.values() for table in tables}
    drafts = {table: Draft() for table in sorted(needed)}
    for provider in providers:
        name = provider.get("id")
        seller = name.removeprefix(ROUTED) if name.startswith(ROUTED) else ""
        draft = drafts.get("huggingface" if seller else name)
        for model in provider.get("models") if draft else ():
            pattern = pattern_of(model.get("match"))
            history = history_of(model)
            if draft and history:
                draft.entries.append((routed(pattern, seller) if seller else pattern, history))
    return drafts


def pattern_of(clause: Made) -> list[Any]:
    """The source's match logic in signs. It ignores case, and so do we: all ids are in lower case."""
    sign = CLAUSES[clause.name.removeprefix("Clause")]
    (operand,) = clause.fields.values()
    if sign in "|&":
        return [sign, *map(pattern_of, operand)]
    return [sign, operand if sign == "~" else operand.lower()]


def routed(pattern: list[Any], seller: str) -> list[Any]:
    """The same with the seller behind the id. Raises ValueError for what is no list of ids."""
    return ["|", *(["=", f"{each}:{seller}"] for each in ids_of(pattern))]


def ids_of(pattern: list[Any]) -> list[str]:
    """The ids that a pattern lists. Raises ValueError if it is more than a list."""
    sign, *operands = pattern
    if sign == "|":
        return [name for operand in operands for name in ids_of(operand)]
    if sign != "=":
        raise ValueError(f"{pattern} is no list of ids")
    return [str(operands[0])]


def history_of(model: Made) -> History | None:
    """A model's periods: one for each day on which any of its prices changes. None: the source has no price for it."""
    prices, variants = model.get("prices"), model.get("price_variants") or []
    standard = prices if isinstance(prices, list) else [Made("ConditionalPrice", {"prices": prices})]
    days = sorted({0, *(_start(each) for each in (*standard, *variants))})
    periods = [_period(day, standard, variants, is_free=model.get("id").endswith(":free")) for day in days]
    return History(periods) if any(rates for _, rates, _, _ in periods) else None


def _start(each: Made) -> int:
    constraint = each.get("constraint")
    return seconds_of(constraint.get("start_date")) if constraint and constraint.get("start_date") else 0


def _period(day: int, standard: list[Made], variants: list[Made], *, is_free: bool) -> Any:
    """What holds from `day` on: the last price that has begun, before it those of hours of the day."""
    daily = []
    for each in reversed(standard):
        constraint = each.get("constraint")
        if constraint and constraint.get("start_time"):
            span = (constraint.get("start_time"), constraint.get("end_time"))
            daily.append(
                (*(at.hour * 3600 + at.minute * 60 + at.second for at in span), rates_of(each.get("prices")), False)
            )
        elif _start(each) <= day:
            break
    else:
        each = standard[0]
    rates = rates_of(each.get("prices")) or ({"input": Rate(0), "output": Rate(0)} if is_free else {})
    return day, rates, daily, _processing(day, rates, variants)


def _processing(day: int, rates: Rates, variants: list[Made]) -> dict[str, Rates]:
    """By way of processing: the standard rates, with those of the first variant that says otherwise."""
    found: dict[str, Rates] = {}
    for variant in variants:
        name = PROCESSING.get(next(iter(variant.get("when").items())))
        if name and _start(variant) <= day:
            found[name] = rates_of(variant.get("prices")) | found.get(name, {})
    return {name: rates | own for name, own in found.items()}


def rates_of(prices: Made) -> Rates:
    """A price of the source's in whole pico-USD a unit."""
    return {UNITS[key][0]: rate_of(price, UNITS[key][1]) for key, price in prices.fields.items()}


def rate_of(price: Any, per: int) -> Rate:
    """With its tiers: in the source a call beyond a threshold costs the higher rate as a whole."""
    if isinstance(price, Decimal):
        return Rate(pico(price, per))
    tiers = sorted(price.get("tiers"), key=lambda tier: tier.get("start"))
    return Rate(pico(price.get("base"), per), tuple(Step(t.get("start"), pico(t.get("price"), per)) for t in tiers))


def pico(usd: Decimal, per: int) -> int:
    """USD for so many units in pico-USD for one, the nearest whole one.

    All but 60 of 7,537 prices are whole; those came to the source through floats (0.13999999999999999), or are thirds.
    """
    if usd < 0:
        raise ValueError(f"{usd} is below zero")
    numerator, denominator = (usd * 10**12).as_integer_ratio()
    return (2 * numerator + denominator * per) // (2 * denominator * per)


# --- our corrections --------------------------------------------------------------------------------------------------


def correct(drafts: dict[str, Draft], corrections: dict[str, Any]) -> None:
    """Put our own entries before those of the source, then what holds for whole tables."""
    for own in reversed(corrections["price"]):
        history = History([(0, own_rates(own), [], {})])
        pattern = own.get("match") or ["|", *(["=", name.lower()] for name in own["ids"])]
        drafts[own["table"]].entries.insert(0, (pattern, history))
    for section, periods_of in (("before", _before), ("since", _since), ("hours", _with_hours)):
        for own in corrections[section]:
            _rewrite(drafts[own["table"]], own, periods_of)
    for own in corrections["charge"]:
        _charge(drafts, own)
    for own in corrections["same"]:
        for rates in _all_rates(drafts[own["table"]].entries):
            if own["as"] in rates:
                rates.setdefault(own["unit"], rates[own["as"]])


def own_rates(own: Correction) -> Rates:
    """The rates of a correction: those of its keys that are units of tokens."""
    rates = {}
    for unit in TOKENS:
        if unit in own:
            above = own.get(f"{unit}_above")
            steps = (Step(own["above"], pico(Decimal(above), _MILLION)),) if above else ()
            rates[unit] = Rate(pico(Decimal(own[unit]), _MILLION), steps)
    return rates


def _rewrite(draft: Draft, own: Correction, periods_of: Callable[[History, Correction], list[Span]]) -> None:
    """Give some ids periods of their own, made from those that they have."""
    for name in (name.lower() for name in own["ids"]):
        draft.entries.insert(0, (["=", name], History(periods_of(_history(draft, name), own))))


def _before(history: History, own: Correction) -> list[Span]:
    return [(0, own_rates(own), [], {}), *history.since(seconds_of(own["until"]))]


def _since(history: History, own: Correction) -> list[Span]:
    day = seconds_of(own["since"])
    return [*history.until(day), (day, own_rates(own), [], {})]


def _history(draft: Draft, name: str) -> History:
    return next(history for pattern, history in draft.entries if fits(pattern, name))


def _with_hours(history: History, own: Correction) -> list[Span]:
    """Hours of the day only since a day, and since another only from Monday to Friday."""
    start, weekdays = seconds_of(own["since"]), seconds_of(own["weekdays_since"])
    periods = [*history.until(start), *history.since(start)] if history.periods[0][0] < start else history.periods
    whole = History(periods)
    return [
        (since, rates, [(a, b, of, since >= weekdays) for a, b, of, _ in daily] if since >= start else [], processing)
        for since, rates, daily, processing in [*whole.until(weekdays), *whole.since(weekdays)]
    ]


def _charge(drafts: dict[str, Draft], own: Correction) -> None:
    """Add the price of a unit wherever there is none: for some ids, or for all of a table."""
    draft = drafts[own["table"]]
    price = Rate(pico(Decimal(own.get("usd") or own["usd_per_million"]), 1 if "usd" in own else _MILLION))
    patterns = [own["match"]] if "match" in own else [["=", name.lower()] for name in own.get("ids", ())]
    for pattern in patterns:
        draft.entries.insert(0, (pattern, _history(draft, pattern[1]).copy()))
    entries = draft.entries[: len(patterns)] if patterns else draft.entries
    for rates in _all_rates(entries):
        if own.get("with", "input") in rates:
            rates.setdefault(own["unit"], price)


def _all_rates(entries: list[tuple[Any, History]]) -> list[Rates]:
    found = []
    for _, history in entries:
        for _, rates, daily, processing in history.periods:
            found += [rates, *(own for _, _, own, _ in daily), *processing.values()]
    return found


# --- the book ---------------------------------------------------------------------------------------------------------


def packed(drafts: dict[str, Draft], kinds: dict[str, list[str]], source: str) -> Tables:
    """The tables, with each set of rates and each history once."""
    rates: dict[bytes, tuple[int, Rates]] = {}
    histories: dict[bytes, tuple[int, Any]] = {}

    def place(of: Rates) -> int:
        ordered = dict(sorted(of.items()))
        return rates.setdefault(msgspec.json.encode(ordered), (len(rates), ordered))[0]

    def period(since: int, own: Rates, daily: Any, processing: dict[str, Rates]) -> Period:
        hours = tuple(Daily(start, end, place(of), weekdays) for start, end, of, weekdays in daily)
        return Period(since, place(own), hours, {name: place(of) for name, of in sorted(processing.items())})

    def keep(history: History) -> int:
        periods = tuple(period(*each) for each in history.periods)
        return histories.setdefault(msgspec.json.encode(periods), (len(histories), periods))[0]

    tables = {name: _table(name, [(pattern, keep(each)) for pattern, each in d.entries]) for name, d in drafts.items()}
    book = Tables(
        version="",
        kinds={kind: tuple(names) for kind, names in kinds.items()},
        tables=tables,
        histories=tuple(periods for _, periods in histories.values()),
        rates=tuple(each for _, each in rates.values()),
    )
    digest = hashlib.sha256(msgspec.json.encode(book)).hexdigest()[:8]
    return msgspec.structs.replace(book, version=f"{'-'.join(source.split('-')[:2])}-{digest}")


def written(book: Tables) -> str:
    """The book as JSON, with a line for each table, history and set of rates: changes show line by line."""
    lines = []
    for name, value in msgspec.to_builtins(book).items():
        begin, end = "{}" if isinstance(value, dict) else "[]"
        items = [f"{encoded(k)}:{encoded(v)}" for k, v in value.items()] if begin == "{" else map(encoded, value)
        lines.append(f"{encoded(name)}:" + (encoded(value) if name == "version" else f"{begin}\n{_rows(items)}\n{end}"))
    return "{" + ",\n".join(lines) + "}\n"


def encoded(value: Any) -> str:
    """A value as JSON."""
    return msgspec.json.encode(value).decode()


def _rows(items: Iterable[str]) -> str:
    return ",\n".join(items)


def _table(name: str, entries: list[tuple[Any, int]]) -> Table:
    """Ids in a dictionary, each with the entry that the source's order gives it; all else as patterns in that order."""
    listed = [each for pattern, _ in entries for each in equals(pattern)]
    exact = {each: next(place for pattern, place in entries if fits(pattern, each)) for each in listed}
    prefix = PREFIXES.get(name, "")
    short = {each.removeprefix(prefix): place for each, place in exact.items() if prefix and each.startswith(prefix)}
    patterns = tuple((pattern, place) for pattern, place in entries if not is_list(pattern))
    return Table(short | exact, patterns)


def equals(pattern: list[Any]) -> list[str]:
    """The ids that a pattern names whole."""
    sign, *operands = pattern
    if sign == "|":
        return [name for operand in operands for name in equals(operand)]
    return [operands[0]] if sign == "=" else []


def is_list(pattern: list[Any]) -> bool:
    """Whether a pattern is nothing but ids."""
    sign, *operands = pattern
    return sign == "=" or (sign == "|" and all(map(is_list, operands)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
