"""What a call is expected to take at every model of a table, at once: what routing/expected.py says of one. Pure.

Here and not there row by row, because every call that names no model waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.expected import HALF_SPEED_FIRST, HALF_SPEED_RATE, cost_at, expected_output
from trunkline_server.routing.signal import expected as line_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline_server.routing.ask import Ask
    from trunkline_server.routing.signal import Signal
    from trunkline_server.routing.table import Table

_LEAST_SPEED = 0.01


class Times(NamedTuple):
    """Of a model that was measured: seconds; None = that was not. And the share of its latest calls that failed."""

    first: float | None
    total: float | None
    errors: float


class Numbers(NamedTuple):
    """By the index of a row."""

    # Tokens.
    inputs: Sequence[int]
    outputs: Sequence[int]
    # Nano-USD, rounded up. None = its price is not known.
    costs: Sequence[int | None]
    # Of those that were measured.
    times: Mapping[int, Times]


def numbers_of(table: Table, ask: Ask, signals: Mapping[int, Signal], usual: Mapping[int, int]) -> Numbers:
    """What the call takes at each. `usual`: by index, how many tokens come out where that was seen."""
    by_family = [ask.count.at(family) for family in table.families]
    inputs = [by_family[family] for family in table.family_of]
    outputs = [expected_output(ask.analysis.complexity, None, ask.max_output)] * len(inputs)
    for index, tokens in usual.items():
        outputs[index] = expected_output(ask.analysis.complexity, tokens, ask.max_output)
    _cap(table, outputs)
    times = {index: _times(signal, inputs[index], outputs[index]) for index, signal in signals.items()}
    return Numbers(inputs, outputs, costs_at(table, inputs, outputs, times), times)


def bounds_of(table: Table, ask: Ask, numbers: Numbers) -> Sequence[int | None]:
    """What the call costs at each if all comes out that the request allows; where it does not say so, as expected."""
    if ask.max_output is None:
        return numbers.costs
    outputs = [ask.max_output] * len(numbers.inputs)
    _cap(table, outputs)
    return costs_at(table, numbers.inputs, outputs, numbers.times)


def _cap(table: Table, outputs: list[int]) -> None:
    """No model gives more than its most."""
    if outputs and max(outputs) > table.smallest_output:
        for index, row in enumerate(table.rows):
            if row.max_output is not None and outputs[index] > row.max_output:
                outputs[index] = row.max_output


def costs_at(
    table: Table, inputs: Sequence[int], outputs: Sequence[int], times: Mapping[int, Times]
) -> list[int | None]:
    """Nano-USD of a call with so many tokens at each."""
    columns = zip(inputs, table.inputs, outputs, table.outputs, table.requests, strict=True)
    costs: list[int | None] = [-(-(into * i + out * o + r) // 1000) for into, i, out, o, r in columns]
    for index in table.special:
        tariff, how = table.rows[index].tariff, times.get(index)
        total = how.total if how is not None else total_by_speed(table, index, outputs[index])
        costs[index] = cost_at(tariff, inputs[index], outputs[index], 0, total or 0.0) if tariff is not None else None
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


def _times(signal: Signal, into: int, out: int) -> Times:
    """What Signal.first_token and Signal.total say, looked up once."""
    base, slope, medians, per_token, whole, residual, errors, _, samples = signal
    first = line_at(medians, base, slope, into) * residual if samples else None
    if first is not None and per_token is not None:
        return Times(first, first + out * per_token, errors)
    return Times(first, (whole[0] + whole[1] * out) * residual if whole else None, errors)
