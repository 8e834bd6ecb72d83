"""Holds the price book to a source that it was not built from: python -m pricebook.check TABLE.

TABLE is the litellm wheel, or a JSON file in the form of its model table. Every model that both know is compared; each
disagreement stands in decided.toml, with what both say and why we follow whom. Anything else fails, and so does a
decision about what is no longer so.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline_server.prices.book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.prices.rates import Prices

MEMBER = "litellm/model_prices_and_context_window_backup.json"
DECIDED = Path(__file__).parent / "decided.toml"
# Their sellers: our kind of provider, and what stands before the model's id in their table.
SELLERS = {
    "openai": ("openai", ""),
    "azure": ("azure_openai", "azure/"),
    "anthropic": ("anthropic", ""),
    "gemini": ("gemini", "gemini/"),
    "vertex_ai-language-models": ("vertex", ""),
    "vertex_ai-anthropic_models": ("vertex", "vertex_ai/"),
    "bedrock": ("bedrock", ""),
    "bedrock_converse": ("bedrock", ""),
    "cohere": ("cohere", ""),
    "cohere_chat": ("cohere", ""),
    "mistral": ("mistral", "mistral/"),
    "together_ai": ("together", "together_ai/"),
    "fireworks_ai": ("fireworks", "fireworks_ai/"),
    "groq": ("groq", "groq/"),
    "deepseek": ("deepseek", "deepseek/"),
    "xai": ("xai", "xai/"),
    "cerebras": ("cerebras", "cerebras/"),
    "perplexity": ("perplexity", "perplexity/"),
    "moonshot": ("moonshot", "moonshot/"),
    "zai": ("zai", "zai/"),
}
# Only there do ids have slashes of their own; elsewhere they are regions and deployments, which our ids do not name.
SLASHED = {"fireworks", "together", "groq", "perplexity"}
MODES = {"chat", "responses", "completion"}
# Our units, their keys, and what a unit without a price of its own costs.
UNITS = {
    "input": ("input_cost_per_token", ()),
    "cache_read": ("cache_read_input_token_cost", ("input",)),
    "cache_write": ("cache_creation_input_token_cost", ("input",)),
    "cache_write_1h": ("cache_creation_input_token_cost_above_1hr", ("cache_write", "input")),
    "output": ("output_cost_per_token", ()),
    "reasoning": ("output_cost_per_reasoning_token", ("output",)),
    "input_audio_tokens": ("input_cost_per_audio_token", ("input",)),
    "output_audio_tokens": ("output_cost_per_audio_token", ("output",)),
}
# Kinds that never report cache writes: a price for them meets no count.
WRITES_UNCOUNTED = {"deepseek", "zai", "xai", "mistral", "gemini", "moonshot"}

# A price, and the prices of larger calls by how many tokens they begin above.
Price = tuple[int, tuple[tuple[int, int], ...]]


@dataclass
class Findings:
    """What came of the comparison."""

    counts: Counter[str] = field(default_factory=Counter)
    # A line for each disagreement: the model, and unit by unit what the book says | what they say, USD per 1M tokens.
    disagreements: list[str] = field(default_factory=list)


def main(source: Path) -> int:
    """Print what was found. The exit code is 0 if each disagreement is decided and each decision is needed."""
    decided = tomllib.loads(DECIDED.read_text())
    found = compare(read_table(source), int(decided["as_of"].timestamp()))
    lines = {line for decision in decided["decision"] for line in decision["models"]}
    undecided, stale = undecided_and_stale(found.disagreements, lines)
    for title, rest in (("Not decided", undecided), ("Decided, but no longer so", stale)):
        if rest:
            print(f"{title}:", *rest, sep="\n  ")
    print(", ".join(f"{count} {what}" for what, count in sorted(found.counts.items())))
    print(f"{len(found.disagreements)} disagree, {len(found.disagreements) - len(undecided)} of them decided")
    return 1 if undecided or stale else 0


def undecided_and_stale(disagreements: list[str], decided: set[str]) -> tuple[list[str], list[str]]:
    """What is not decided, and what is decided without being found."""
    return sorted(set(disagreements) - decided), sorted(decided - set(disagreements))


def read_table(source: Path) -> dict[str, dict[str, Any]]:
    """Their table, its numbers exact."""
    raw = zipfile.ZipFile(source).read(MEMBER) if source.suffix == ".whl" else source.read_bytes()
    table: dict[str, dict[str, Any]] = json.loads(raw, parse_float=Decimal, parse_int=Decimal)
    return table


def compare(table: dict[str, dict[str, Any]], when: int) -> Findings:
    """Every model that both know, at a time in seconds since 1970."""
    book = PriceBook({})
    found = Findings()
    for name, theirs in table.items():
        target = target_of(name, theirs)
        if target is None:
            found.counts["of sellers, regions and modes that are not compared"] += 1
            continue
        kind, model = target
        ours = book.find(kind, model, when)
        if ours is None:
            found.counts["unpriced in the book"] += 1
            continue
        differences = list(differences_of(kind, ours, theirs))
        if differences:
            found.disagreements.append(f"{kind}/{model}: {'; '.join(differences)}")
        else:
            found.counts["agree"] += 1
    return found


def target_of(name: str, theirs: dict[str, Any]) -> tuple[str, str] | None:
    """Our name of a model. None: it is none that the gateway calls."""
    kind, prefix = SELLERS.get(str(theirs.get("litellm_provider")), ("", ""))
    model = name.removeprefix(prefix)
    if not kind or theirs.get("mode") not in MODES or not name.startswith(prefix):
        return None
    return None if "/" in model and kind not in SLASHED else (kind, model)


def differences_of(kind: str, ours: Prices, theirs: dict[str, Any]) -> Iterator[str]:
    """Unit by unit, where either has a price for it."""
    for unit, (key, _) in UNITS.items():
        if kind in WRITES_UNCOUNTED and unit.startswith("cache_write"):
            continue
        if unit in ours.rates or theirs.get(key) is not None:
            book, other = our_price(ours, unit), their_price(theirs, unit)
            if not alike(book, other):
                yield f"{unit} {shown(book)} | {shown(other)}"


def our_price(ours: Prices, unit: str) -> Price | None:
    """What the book says a unit costs, of itself or of its whole."""
    for name in (unit, *UNITS[unit][1]):
        if (rate := ours.rates.get(name)) is not None:
            return rate.pico_usd, tuple((step.above, step.pico_usd) for step in rate.steps)
    return None


def their_price(theirs: dict[str, Any], unit: str) -> Price | None:
    """The same of theirs."""
    for name in (unit, *UNITS[unit][1]):
        key = UNITS[name][0]
        if theirs.get(key) is not None:
            larger = {
                int(m[1]) * 1000: theirs[k] for k in theirs if (m := re.fullmatch(rf"{key}_above_(\d+)k_tokens", k))
            }
            return pico(theirs[key]), tuple((above, pico(price)) for above, price in sorted(larger.items()))
    return None


def pico(usd: Decimal) -> int:
    """To the nearest pico-USD: some of theirs came through floats."""
    return int((usd * 10**12).to_integral_value())


def alike(book: Price | None, other: Price | None) -> bool:
    """Whether they say the same. "From 200,000 tokens" and "above 200,000 tokens" are taken for the same."""
    if book is None or other is None:
        return book is other
    if book[0] != other[0] or len(book[1]) != len(other[1]):
        return False
    return all(abs(a[0] - b[0]) <= 1 and a[1] == b[1] for a, b in zip(book[1], other[1], strict=True))


def shown(price: Price | None) -> str:
    """In USD per 1M tokens, exactly."""
    if price is None:
        return "-"
    return " ".join([usd(price[0]), *(f">{above} {usd(each)}" for above, each in price[1])])


def usd(pico_usd: int) -> str:
    """Pico-USD a token as USD per 1M tokens."""
    return f"{Decimal(pico_usd).scaleb(-6):f}".rstrip("0").rstrip(".") if pico_usd else "0"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
