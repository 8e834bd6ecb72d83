"""What is committed of the table: cells.toml; and what has become worse than it says."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.table import FAKE, FEATURES, NOT_OFFERED, NOT_TRIED, PASS, REAL, SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from conformance.table import Result, Table

FILE = Path(__file__).with_name("cells.toml")


@dataclass(frozen=True, slots=True)
class Expectations:
    """Cells and exchanges, as the committed file has them."""

    # How many exchanges prove a feature of a provider, at least.
    passing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # The source that a provider does not have a feature.
    not_offered: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # The test that stands in for a recording, and the source of what it is written from.
    synthetic: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    # The servers of others that prove a feature of a provider, too: others/proofs.py.
    fakes: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    # Of these, the servers that are no fakes but what others run, too: a model's or a gateway.
    real: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    # Why a request is not said again, or not in the same words.
    requests: Mapping[str, str] = field(default_factory=dict)

    def claims(self, is_there: Callable[[str], bool]) -> dict[str, dict[str, str]]:
        """The state of each cell that needs no exchange. `is_there`: whether a server of others can be asked here."""
        claims: dict[str, dict[str, str]] = {}
        told = ((NOT_OFFERED, self.not_offered), (SYNTHETIC, self.synthetic), (FAKE, self.fakes), (REAL, self.real))
        for state, cells in told:
            for provider, features in cells.items():
                claims.setdefault(provider, {}).update(dict.fromkeys(features, state))
                if state in {FAKE, REAL}:
                    away = [name for name, servers in features.items() if not any(map(is_there, servers))]
                    claims[provider].update(dict.fromkeys(away, NOT_TRIED))
        return claims


def expectations() -> Expectations:
    """Those of the committed file."""
    said: dict[str, Any] = tomllib.loads(FILE.read_text())
    return Expectations(
        said["pass"], said["not_offered"], said["synthetic"], said["fake"], said["real"], said["requests"]
    )


def misread(results: Iterable[Result]) -> Iterator[str]:
    """Every answer that was not understood."""
    for result in results:
        if result.tried and result.decoded.fault:
            yield f"{result.exchange.id}: the answer: {result.decoded.fault}"


def said_otherwise(results: Iterable[Result], expected: Expectations) -> Iterator[str]:
    """Every request that means something else when it is said again, without a warning or a listed reason."""
    for result in results:
        again = result.again
        if again.differs and not again.warned and result.exchange.id not in expected.requests:
            yield f"{result.exchange.id}: the request differs: {', '.join(again.differs[:5])} {again.skipped}".rstrip()


def unlisted(results: Iterable[Result], expected: Expectations) -> Iterator[str]:
    """Every request that is not said again in the same words, and no reason is listed; and reasons without one."""
    left_out = {
        r.exchange.id: r.again for r in results if r.tried and _recorded(r) and (r.again.skipped or r.again.differs)
    }
    for name in sorted(left_out.keys() - expected.requests.keys()):
        why = left_out[name].skipped or f"warned of {', '.join(left_out[name].warned)}"
        yield f"{name}: the request is not said again, and no reason is listed: {why}"
    for name in sorted(expected.requests.keys() - left_out.keys()):
        yield f"{name}: the request is said again, or not there: take it off the list"


def _recorded(result: Result) -> bool:
    exchange = result.exchange
    return exchange.asks_for_answer and isinstance(exchange.request.get("body"), dict)


def lost(table: Table, expected: Expectations) -> Iterator[str]:
    """Every cell that less proves than is listed, or that is proven though it is said not to be offered."""
    for provider, features in expected.passing.items():
        for feature, least in features.items():
            cell = table[provider][feature] if provider in table else None
            if cell is None or cell.state != PASS or cell.shown < least:
                found = str(cell) if cell else "no exchange"
                yield f"{provider}, {feature}: pass {least} is listed, found {found}"
    for provider, row in table.items():
        for feature in FEATURES:
            if row[feature].claim == NOT_OFFERED and row[feature].shown:
                yield f"{provider}, {feature}: said not to be offered, but there is a recording of it"
