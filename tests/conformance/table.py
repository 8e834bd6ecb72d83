"""The table of what is proven: providers by features."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conformance.answers import Decoded, decode, dialect_named
from conformance.said_again import Again, say_again

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, Part, ResponseFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from conformance.exchanges import Exchange

FEATURES = (
    "plain",
    "stream",
    "tools",
    "parallel tools",
    "schema",
    "vision",
    "reasoning",
    "cache usage",
    "logprobs",
    "errors",
)
PASS, REAL, FAKE, SYNTHETIC, NOT_OFFERED, NOT_TRIED, NOT_PROVEN, FAIL = (
    "pass",
    "real",
    "fake",
    "synthetic",
    "not offered",
    # The server of others that would prove it is not on this machine.
    "not tried",
    "not proven",
    "FAIL",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one exchange."""

    exchange: Exchange
    decoded: Decoded
    again: Again
    # Whether its dialect is there.
    tried: bool = True

    def shows(self) -> Iterator[str]:
        """The features that it proves."""
        if not self.tried or self.decoded.fault:
            return
        if self.decoded.response is None:
            yield "errors"
            return
        yield "stream" if self.exchange.kind == "stream" else "plain"
        yield from (feature for feature, is_shown in SHOWN.items() if is_shown(self))

    def carries(self) -> Iterator[str]:
        """The features that it has, or what it proves fails with."""
        if self.exchange.failed or (self.decoded.error and not self.decoded.fault):
            yield "errors"
            return
        yield "stream" if self.exchange.kind == "stream" else "plain"
        yield from (feature for feature, word in WORDS.items() if word in self.exchange.features)


# What the index calls the features.
WORDS = {
    "tools": "tools",
    "parallel tools": "parallel_tools",
    "schema": "json_schema",
    "vision": "vision",
    "reasoning": "reasoning",
    "cache usage": "cache_tokens",
    "logprobs": "logprobs",
}


def _answer_has(result: Result, kind: str, count: int = 1) -> bool:
    parts = result.decoded.response.message.parts if result.decoded.response else ()
    return sum(part.WhichOneof("data") == kind for part in parts) >= count


def _asks(result: Result, is_asked: Callable[[Again], bool]) -> bool:
    """Whether it was asked for, and would be once more in the same words."""
    return result.again.request is not None and not result.again.differs and is_asked(result.again)


def _has_schema(again: Again) -> bool:
    return bool(again.request and again.request.response_format.kind == ResponseFormat.KIND_JSON_SCHEMA)


def _parts(again: Again) -> Iterator[Part]:
    for message in again.request.messages if again.request else ():
        for part in message.parts:
            yield part
            yield from part.tool_result.parts


def _has_image(again: Again) -> bool:
    return any(part.media.mime_type.startswith("image/") or part.media.uri for part in _parts(again))


def _replays_parallel_calls(again: Again) -> bool:
    messages = again.request.messages if again.request else ()
    said = (message.parts for message in messages if message.role == ROLE_ASSISTANT)
    return any(sum(part.HasField("tool_call") for part in parts) > 1 for parts in said)


def _counts_cache(result: Result) -> bool:
    usage = result.decoded.response and result.decoded.response.usage
    return bool(usage and usage.cache_read_input_tokens + usage.cache_write_input_tokens)


# What of an answer, or of the request once more, proves that a feature works.
SHOWN: Mapping[str, Callable[[Result], bool]] = {
    "tools": lambda result: _answer_has(result, "tool_call"),
    "parallel tools": lambda result: _answer_has(result, "tool_call", 2) or _asks(result, _replays_parallel_calls),
    "schema": lambda result: _asks(result, _has_schema),
    "vision": lambda result: _asks(result, _has_image),
    "reasoning": lambda result: _answer_has(result, "reasoning"),
    "cache usage": _counts_cache,
    "logprobs": lambda result: bool(result.decoded.response and result.decoded.response.logprobs),
}


@dataclass(slots=True)
class Cell:
    """What is known of one feature of one provider."""

    # Exchanges that prove it.
    shown: int = 0
    # Exchanges that have it and were misread.
    faults: list[str] = field(default_factory=list)
    # What the committed file says where no exchange proves it.
    claim: str = ""

    @property
    def state(self) -> str:
        return FAIL if self.faults else PASS if self.shown else self.claim or NOT_PROVEN

    def __str__(self) -> str:
        return f"{self.state} {self.shown}" if self.shown and not self.faults else self.state


Table = dict[str, dict[str, Cell]]


def result_of(exchange: Exchange) -> Result:
    """Read the answer and say the request again."""
    dialect = dialect_named(exchange.dialect)
    if dialect is None:
        missing = f"there is no dialect {exchange.dialect}"
        return Result(exchange, Decoded(fault=missing), Again(skipped=missing), tried=False)
    return Result(exchange, decode(exchange, dialect), say_again(exchange, dialect))


def table_of(
    results: Iterable[Result], claims: Mapping[str, Mapping[str, str]], providers: Iterable[str] = ()
) -> Table:
    """One row for each provider that has exchanges or claims, and for each of these: nothing proven is shown, too."""
    table: Table = defaultdict(lambda: {feature: Cell() for feature in FEATURES})
    for name in providers:
        _ = table[name]
    for result in results:
        row = table[result.exchange.row]
        for feature in result.shows():
            row[feature].shown += 1
        if result.tried and result.decoded.fault:
            for feature in result.carries():
                row[feature].faults.append(result.exchange.id)
    for provider, said in claims.items():
        for feature, state in said.items():
            table[provider][feature].claim = state
    return dict(sorted(table.items()))


def print_table(table: Table) -> None:
    """The table, and how many cells of each kind it has."""
    print((f"{'provider':19}" + "".join(f"{feature:16}" for feature in FEATURES)).rstrip())
    for provider, row in table.items():
        print(f"{provider:19}" + "".join(f"{row[feature]!s:16}" for feature in FEATURES).rstrip())
    states = Counter(cell.state for row in table.values() for cell in row.values())
    order = (PASS, REAL, FAKE, SYNTHETIC, NOT_OFFERED, NOT_TRIED, NOT_PROVEN, FAIL)
    print("\ncells: " + ", ".join(f"{states[state]} {state}" for state in order))
