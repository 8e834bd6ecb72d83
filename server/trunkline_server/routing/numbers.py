"""What a call is expected to take at every model of a table, at once: what routing/expected.py says of one. Pure.

Here and not there row by row, because every call that names no model waits for it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.expected import HALF_SPEED_FIRST, HALF_SPEED_RATE, cost_at, expected_output
from trunkline_server.routing.signal import expected as line_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline_server.routing.ask import Ask
    from trunkline_server.routing.signal import Signal
    from trunkline_server.routing.table import Table
    from trunkline_server.routing.tokens import Count

_LEAST_SPEED = 0.01
NOTHING: Mapping[int, float] = MappingProxyType({})
# At so many seconds to the first token, and for each after it, the terms of latency and of throughput are a half.
HALF_FIRST = 1.0
HALF_TOKEN = 0.02


# Of a model that was measured: seconds to the first token and to the last; None = that was not.
Times = tuple["float | None", "float | None"]


class Warm(NamedTuple):
    """The row that has read what a prompt begins with, and how many tokens that were."""

    row: int
    tokens: int


class Numbers(NamedTuple):
    """By the index of a row."""

    # Tokens.
    inputs: Sequence[int]
    outputs: Sequence[int]
    # Nano-USD, rounded up. None = its price is not known.
    costs: Sequence[int | None]
    # From 0 to 1, as routing/scoring.py says.
    performance: Sequence[float]
    # Of those that were asked before; and of those that were asked for streams, seconds to the first token.
    signals: Mapping[int, Signal]
    firsts: Mapping[int, float]
    # Tokens of the longest of `inputs`.
    longest: int

    def times(self, index: int) -> Times | None:
        """How long the call takes there. None: it was never asked. Worked out for those who want to know only."""
        signal = self.signals.get(index)
        if signal is None:
            return None
        into = self.inputs[index]
        return signal.first_token(into), signal.total(into, self.outputs[index])


def numbers_of(
    table: Table,
    ask: Ask,
    signals: Mapping[int, Signal],
    usual: Mapping[int, int],
    corrections: Mapping[int, float] = NOTHING,
    warm: Warm | None = None,
    *,
    is_scored: bool = True,
) -> Numbers:
    """What the call takes at each.

    By index: `usual`, how many tokens come out where that was seen; `corrections`, what prompts have there for each
    token that is estimated. `warm`: who has read the beginning before. `is_scored`: whether anybody wants to know how
    they perform; else the catalogue's speeds stand for that.
    """
    inputs, longest = _inputs(table, ask.count, corrections)
    complexity, most = ask.analysis.complexity, ask.max_output
    outputs, fixed = table.answers(expected_output(complexity, None, most))
    if usual:
        outputs, fixed = [*outputs], [*fixed]
        for index, tokens in usual.items():
            out = outputs[index] = table.capped(index, expected_output(complexity, tokens, most))
            fixed[index] = table.fixed(index, out)
    is_measured = is_scored and signals
    performance, firsts = _measured(table, signals, inputs, outputs) if is_measured else (table.speeds, NOTHING)
    costs = _costs(table, inputs, outputs, fixed, signals, longest)
    if warm is not None:
        costs[warm.row] = _cost_of_warm(table, warm, inputs[warm.row], outputs[warm.row], signals)
    return Numbers(inputs, outputs, costs, performance, signals, firsts, longest)


def _inputs(table: Table, count: Count, corrections: Mapping[int, float]) -> tuple[list[int], int]:
    """Tokens that go in at each, and the most of them."""
    by_family = count.by_shape(table.shapes)
    inputs, longest = [by_family[family] for family in table.family_of], max(by_family, default=0)
    for index, correction in corrections.items():
        inputs[index] = tokens = count.at(table.families[table.family_of[index]], correction)
        longest = max(longest, tokens)
    return inputs, longest


def _cost_of_warm(table: Table, warm: Warm, into: int, out: int, signals: Mapping[int, Signal]) -> int | None:
    """Nano-USD where that beginning is still in the provider's prompt cache, as is most likely."""
    tariff = table.rows[warm.row].tariff
    return (
        None
        if tariff is None
        else cost_at(tariff, into, out, warm.tokens, _seconds(table, warm.row, into, out, signals))
    )


def _seconds(table: Table, index: int, into: int, out: int, signals: Mapping[int, Signal]) -> float:
    """What the call takes there, for those that are paid by the second."""
    signal = signals.get(index)
    return (total_by_speed(table, index, out) if signal is None else signal.total(into, out)) or 0.0


def bounds_of(table: Table, ask: Ask, numbers: Numbers) -> Sequence[int | None]:
    """What the call costs at each if all comes out that the request allows; where it does not say so, as expected."""
    if ask.max_output is None:
        return numbers.costs
    outputs, fixed = table.answers(ask.max_output)
    return _costs(table, numbers.inputs, outputs, fixed, numbers.signals, numbers.longest)


def _costs(
    table: Table,
    inputs: Sequence[int],
    outputs: Sequence[int],
    fixed: Sequence[int],
    signals: Mapping[int, Signal],
    longest: int,
) -> list[int | None]:
    """Nano-USD of a call with so many tokens at each; `fixed`: pico-USD of all but what goes in, for rounding up."""
    columns = zip(inputs, table.inputs, fixed, strict=True)
    costs: list[int | None] = [(into * each + rest) // 1000 for into, each, rest in columns]
    for index in table.special if longest > table.first_step else table.intricate:
        tariff, into, out = table.rows[index].tariff, inputs[index], outputs[index]
        seconds = _seconds(table, index, into, out, signals)
        costs[index] = cost_at(tariff, into, out, 0, seconds) if tariff is not None else None
    for index in table.unpriced:
        costs[index] = None
    return costs


def total_by_speed(table: Table, index: int, output: int) -> float | None:
    """Seconds that the whole answer takes, as the catalogue's speed suggests. None = it tells none."""
    speed = table.rows[index].speed
    if speed is None:
        return None
    speed = max(speed, _LEAST_SPEED)
    return HALF_SPEED_FIRST * (1.0 - speed) / speed + output / (HALF_SPEED_RATE * 2.0 * speed)


def _measured(
    table: Table, signals: Mapping[int, Signal], inputs: Sequence[int], outputs: Sequence[int]
) -> tuple[list[float], dict[int, float]]:
    """How each performs, and when its first token comes: Signal.first_token and Signal.total, all in one go."""
    found, firsts = [*table.speeds], dict[int, float]()
    half_first, half_token = HALF_FIRST, HALF_TOKEN
    for index, (base, slope, medians, per_token, whole, residual, errors, _, samples) in signals.items():
        latency = throughput = found[index]
        first = 0.0
        if samples:
            into = inputs[index]
            firsts[index] = first = (line_at(medians, base, slope, into) if medians else base + slope * into) * residual
            latency = half_first / (half_first + first)
        if samples and per_token is not None:
            throughput = half_token / (half_token + per_token)
        elif whole is not None:
            out = outputs[index]
            total = (whole[0] + whole[1] * out) * residual
            throughput = half_token / (half_token + max(0.0, total - first) / max(1, out))
        found[index] = (1.0 - errors) * (latency + throughput) / 2.0
    return found, firsts
