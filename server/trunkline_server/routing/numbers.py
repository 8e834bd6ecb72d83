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
# At so many seconds to the first token, and for each after it, the terms of latency and of throughput are a half.
HALF_FIRST = 1.0
HALF_TOKEN = 0.02


# Of a model that was measured: seconds to the first token and to the last; None = that was not. A plain tuple, since
# one is made for every model and every call.
Times = tuple["float | None", "float | None"]


class Numbers(NamedTuple):
    """By the index of a row."""

    # Tokens.
    inputs: Sequence[int]
    outputs: Sequence[int]
    # Nano-USD, rounded up. None = its price is not known.
    costs: Sequence[int | None]
    # Of those that were measured.
    times: Mapping[int, Times]
    # From 0 to 1, as routing/scoring.py says.
    performance: Sequence[float]


def numbers_of(table: Table, ask: Ask, signals: Mapping[int, Signal], usual: Mapping[int, int]) -> Numbers:
    """What the call takes at each. `usual`: by index, how many tokens come out where that was seen."""
    by_family = [ask.count.at(family) for family in table.families]
    inputs = [by_family[family] for family in table.family_of]
    outputs = [expected_output(ask.analysis.complexity, None, ask.max_output)] * len(inputs)
    for index, tokens in usual.items():
        outputs[index] = expected_output(ask.analysis.complexity, tokens, ask.max_output)
    _cap(table, outputs)
    times: dict[int, Times] = {}
    performance: Sequence[float] = table.speeds
    if signals:
        performance = _measured(table, signals, inputs, outputs, times)
    return Numbers(inputs, outputs, costs_at(table, inputs, outputs, times), times, performance)


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
        total = how[1] if how is not None else total_by_speed(table, index, outputs[index])
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


def _measured(
    table: Table,
    signals: Mapping[int, Signal],
    inputs: Sequence[int],
    outputs: Sequence[int],
    times: dict[int, Times],
) -> list[float]:
    """How each performs; fills in `times`, as Signal.first_token and Signal.total have them, all in one go."""
    found = [*table.speeds]
    for index, (base, slope, medians, per_token, whole, residual, errors, _, samples) in signals.items():
        latency = throughput = found[index]
        first = total = None
        out = outputs[index]
        if samples:
            into = inputs[index]
            first = (line_at(medians, base, slope, into) if medians else base + slope * into) * residual
            latency = HALF_FIRST / (HALF_FIRST + first)
        if first is not None and per_token is not None:
            total = first + out * per_token
            throughput = HALF_TOKEN / (HALF_TOKEN + per_token)
        elif whole is not None:
            total = (whole[0] + whole[1] * out) * residual
            throughput = HALF_TOKEN / (HALF_TOKEN + max(0.0, total - (first or 0.0)) / max(1, out))
        times[index] = first, total
        found[index] = (1.0 - errors) * (latency + throughput) / 2.0
    return found
