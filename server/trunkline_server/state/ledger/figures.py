"""Figures of the ledger: what is summed, how sums are merged, and what follows from them. Pure.

Sums are integers wherever they can be: a total does not depend on the grouping that it was summed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, sqrt
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import Usage
from trunkline.v1.gateway_service_pb2 import Percentiles, Score, UsageTotals
from trunkline_server.state.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

# Sums of distributions are in millionths: of times microseconds, of rates millionths of a token a second.
MILLION = 1_000_000
_NANO = 1_000_000_000
_MAX_INT64 = 2**63 - 1
# With fewer values than this no pair of them holds the median with 95% confidence.
_ENOUGH_FOR_MEDIAN = 6

# How an attempt ends when the provider is at fault. A rate limit, a refused key or an empty account are ours.
PROVIDERS_FAULTS = frozenset(
    {
        call_pb2.OUTCOME_OVERLOADED,
        call_pb2.OUTCOME_SERVER_ERROR,
        call_pb2.OUTCOME_TIMEOUT,
        call_pb2.OUTCOME_NOT_CONNECTED,
        call_pb2.OUTCOME_INTERRUPTED,
        call_pb2.OUTCOME_PROTOCOL_ERROR,
    }
)
# What is counted of calls and of attempts; the names are those of the queries' columns, too.
CALL_SUMS = ("successes", "errors", "cancelled", "fallbacks", "interrupted")
ATTEMPT_SUMS = (
    "attempts",
    "provider_faults",
    "estimated_attempts",
    "unpriced",
    "cost",
    "saved",
    "wasted",
    "estimated",
)
# Of attempts that no call holds alone: a call that has one of these has another attempt, too.
TRIES = ("retries", "hedges")
# The ledger's names of tokens, and the contract's.
TOKENS: Mapping[str, str] = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_write_input_tokens",
    "reasoning_tokens": "reasoning_output_tokens",
}
DISTRIBUTIONS = ("total_time", "time_to_first_token", "output_rate")


@dataclass(slots=True)
class Figures:
    """What one group came to."""

    # By CALL_SUMS, ATTEMPT_SUMS, TOKENS and TRIES.
    sums: dict[str, int] = field(default_factory=dict)
    # By the providers' names for them.
    units: dict[str, int] = field(default_factory=dict)
    # By DISTRIBUTIONS.
    distributions: dict[str, Histogram] = field(default_factory=dict)
    # How many and their sum, by feedback metric.
    scores: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, name: str, amount: int) -> None:
        """Count more of one of the sums."""
        self.sums[name] = self.sums.get(name, 0) + amount

    def add_units(self, name: str, count: int) -> None:
        """Count another unit."""
        self.units[name] = self.units.get(name, 0) + count

    def add_scores(self, metric: str, count: int, total: float) -> None:
        """Count scores."""
        counted, summed = self.scores.get(metric, (0, 0))
        self.scores[metric] = counted + count, summed + total

    def distribution(self, name: str) -> Histogram:
        """One of the distributions, to be added to."""
        return self.distributions.setdefault(name, Histogram())

    def merge(self, other: Figures) -> None:
        """Count all that `other` has counted."""
        for name, amount in other.sums.items():
            self.add(name, amount)
        for name, count in other.units.items():
            self.add_units(name, count)
        for name, histogram in other.distributions.items():
            self.distribution(name).merge(histogram)
        for metric, (count, total) in other.scores.items():
            self.add_scores(metric, count, total)

    def totals(self, distributions: Container[str] = DISTRIBUTIONS) -> UsageTotals:
        """The figures as the contract has them, with what follows from them. Nothing is told of what did not occur.

        Percentiles are what takes time: those of `distributions` are told.
        """
        of = self.sums.get
        successes, errors, cancelled, attempts = (
            of(name, 0) for name in ("successes", "errors", "cancelled", "attempts")
        )
        totals = UsageTotals(
            requests=successes + errors + cancelled,
            successes=successes,
            errors=errors,
            cancelled=cancelled,
            attempts=attempts,
            retries=of("retries", 0),
            hedges=of("hedges", 0),
            fallbacks=of("fallbacks", 0),
            interrupted_streams=of("interrupted", 0),
            cost_nano_usd=_fitting(of("cost", 0)),
            unpriced_attempts=of("unpriced", 0),
            saved_nano_usd=_fitting(of("saved", 0)),
            wasted_nano_usd=_fitting(of("wasted", 0)),
            estimated_nano_usd=_fitting(of("estimated", 0)),
            estimated_attempts=of("estimated_attempts", 0),
            usage=self._usage(),
            scores={metric: _score(*each) for metric, each in self.scores.items() if each[0]},
            **{  # type: ignore[arg-type]
                name: percentiles(each) for name, each in self.distributions.items() if name in distributions
            },
        )
        _derive(totals, of("provider_faults", 0))
        return totals

    def _usage(self) -> Usage | None:
        tokens = {field: count for name, field in TOKENS.items() if (count := self.sums.get(name))}
        if not tokens and not self.units:
            return None
        units = {name: _fitting(count) for name, count in self.units.items()}
        return Usage(other_units=units, **{field: _fitting(count) for field, count in tokens.items()})


def percentiles(distribution: Histogram) -> Percentiles | None:
    """A distribution as the contract has it. None if there is nothing in it."""
    count = distribution.count
    if not count:
        return None
    around = _around_median(count) if count >= _ENOUGH_FOR_MEDIAN else ()
    p50, p90, p95, p99, *median = distribution.quantiles(0.5, 0.9, 0.95, 0.99, *around)
    mean = distribution.sum / (MILLION * count)
    told = Percentiles(count=count, mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)
    if median:
        told.p50_low, told.p50_high = median
    return told


def _around_median(count: int) -> tuple[float, float]:
    """The shares of the order statistics between which the median lies with 95% confidence, whatever the distribution.

    Ranks count/2 -+ 1.96 sqrt(count)/2, rounded outward: the normal approximation of the binomial (Conover, Practical
    Nonparametric Statistics, 3rd edition, section 3.2).
    """
    half = 1.96 * sqrt(count) / 2
    low, high = floor(count / 2 - half), ceil(count / 2 + 1 + half)
    return max(low, 1) / count, min(high, count) / count


def _derive(totals: UsageTotals, provider_faults: int) -> None:
    """Set what has a denominator."""
    if ended := totals.successes + totals.errors:
        totals.success_rate = totals.successes / ended
    if totals.requests:
        totals.fallback_rate = totals.fallbacks / totals.requests
    # What has no price is not free: where there is such an attempt, nothing is known of what a success or a token cost.
    priced = not totals.unpriced_attempts
    if priced and totals.successes:
        totals.nano_usd_per_success = -(-totals.cost_nano_usd // totals.successes)
    if priced and totals.cost_nano_usd:
        tokens = totals.usage.input_tokens + totals.usage.output_tokens
        totals.tokens_per_usd = tokens * _NANO / totals.cost_nano_usd
    if totals.attempts:
        totals.uptime = 1 - provider_faults / totals.attempts


def _score(count: int, total: float) -> Score:
    return Score(mean=total / count, count=count)


def _fitting(amount: int) -> int:
    """Providers' numbers: their sum need not fit."""
    return min(max(amount, 0), _MAX_INT64)
