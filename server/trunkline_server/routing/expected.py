"""What a call costs and takes at a model, before it is made: estimates, each told apart from what is certain. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from trunkline.v1.call_pb2 import COMPLEXITY_COMPLEX, COMPLEXITY_SIMPLE
from trunkline_server.prices.cost import MOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.call_pb2 import Complexity
    from trunkline_server.routing.candidates import Candidate, Tariff

# Tokens that come out where nothing was seen of a model's answers.
USUAL_OUTPUT = 400
PRIOR_OUTPUT: Mapping[Complexity.ValueType, int] = {COMPLEXITY_SIMPLE: 150, COMPLEXITY_COMPLEX: 1000}
# Seconds to the first token and tokens a second of a model whose speed in the catalogue is a half: scores of speed are
# 1 / (1 + seconds to the first token), as in routing/recommend.py, and rates go with them.
HALF_SPEED_FIRST, HALF_SPEED_RATE = 1.0, 50.0
_LEAST_SPEED = 0.01
_PICO = 1_000_000_000
_NANO = 1_000_000_000_000


class Times(Protocol):
    """How a target does now: routing/signal.py. None = not measured."""

    def first_token(self, prompt_tokens: int) -> float | None:
        """Seconds until a prompt of this size is answered with a first token."""

    def total(self, prompt_tokens: int, output_tokens: int) -> float | None:
        """Seconds until the whole answer is there."""


class Size(NamedTuple):
    """How large a call is, in tokens."""

    # Input, of which the provider's prompt cache most likely has so many; the output that is expected.
    input: int
    output: int
    # What may come out at most. None = nobody set a limit.
    most: int | None = None
    cached: int = 0


class Expected(NamedTuple):
    """What a call costs and takes."""

    # Nano-USD, rounded up. None = its price is not known.
    cost: int | None
    # What it costs if all comes out that may. None = that has no limit, or no price.
    bound: int | None
    # Seconds. None = neither measured nor told by the catalogue.
    first_token: float | None
    total: float | None
    # Whether the times were measured; if not, they are what the catalogue's score of speed suggests.
    measured: bool


def expected(candidate: Candidate, size: Size, times: Times | None = None) -> Expected:
    """What this call costs and takes at the candidate."""
    most = _most(candidate, size.most)
    output = size.output if most is None else min(size.output, most)
    first, total, measured = _times(candidate, size.input, output, times)
    tariff = candidate.tariff
    if tariff is None:
        return Expected(None, None, first, total, measured)
    cost = cost_at(tariff, size.input, output, size.cached, total or 0.0)
    bound = None if most is None else cost_at(tariff, size.input, most, size.cached, total or 0.0)
    return Expected(cost, bound, first, total, measured)


def _most(candidate: Candidate, most: int | None) -> int | None:
    own = candidate.max_output
    if own is None or most is None:
        return own if most is None else most
    return min(most, own)


def cost_at(tariff: Tariff, into: int, out: int, cached: int = 0, seconds: float = 0.0) -> int:
    """Nano-USD of a call with so many tokens, rounded up once: what prices/cost.py makes of the same counts.

    `cached` of those that go in are read from the provider's cache. Above 9.2 billion USD it stays there.
    """
    cached = min(cached, into) if cached else 0
    if tariff.stepped is None:
        pico = (into - cached) * tariff.input + cached * tariff.cache_read + out * tariff.output
    else:
        fresh, written, read = tariff.stepped
        pico = fresh.amount(into - cached, into) + written.amount(out, into) + read.amount(cached, into)
    pico += tariff.request
    if not tariff.second:
        nano = -(-pico // 1000)
        return min(MOST, nano)
    return min(-(-(pico * _PICO + tariff.second * round(seconds * 1e9)) // _NANO), MOST)


def is_too_dear(candidate: Candidate, size: Size, limit: int, times: Times | None = None) -> bool:
    """Whether a call would cost more than `limit` nano-USD at the candidate.

    What may come out at most decides where the call or its task sets that limit: then what is promised holds, but for
    the estimate of the input. Without, what usually comes out does: a model's own limit is a hundred times what answers
    have, and would leave nobody. A model whose price is not known is too dear.
    """
    tariff, most = candidate.tariff, _most(candidate, size.most)
    if tariff is None:
        return True
    output = size.output if size.most is None or most is None else most
    seconds = _times(candidate, size.input, output, times)[1] if tariff.second else None
    return cost_at(tariff, size.input, output, size.cached, seconds or 0.0) > limit


def _times(candidate: Candidate, into: int, out: int, times: Times | None) -> tuple[float | None, float | None, bool]:
    first = times.first_token(into) if times is not None else None
    total = times.total(into, out) if times is not None else None
    if first is not None or total is not None:
        return first, total, True
    if candidate.speed is None:
        return None, None, False
    speed = max(candidate.speed, _LEAST_SPEED)
    first = HALF_SPEED_FIRST * (1.0 - speed) / speed
    return first, first + out / (HALF_SPEED_RATE * 2.0 * speed), False


def expected_output(complexity: Complexity.ValueType, usual: int | None, most: int | None = None) -> int:
    """How many tokens come out: `usual` as state/lengths.py has it, else by how hard the request is; `most` at most."""
    tokens = PRIOR_OUTPUT.get(complexity, USUAL_OUTPUT) if usual is None else usual
    return tokens if most is None else min(tokens, most)
