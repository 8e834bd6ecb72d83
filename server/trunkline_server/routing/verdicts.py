"""What an experiment's figures say: when an arm has won, and whether the shares are what they should be.

The figures may be looked at after each call: what is said is wrong with at most the probability that is stated, however
often it is asked (a generalised likelihood ratio with a threshold that grows with the number of observations). Arms are
judged by the calls that were given to them: a call that another target had to answer is its arm's failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, inf, lgamma, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# Observations of each arm before which nothing is said.
LEAST = 30
# A normal variable is within so many deviations of its mean in 95 of 100 cases.
_DEVIATIONS = 1.959964
# Shares that come about by chance less often than this are taken as wrong.
SUSPECT = 0.001


@dataclass(frozen=True, slots=True)
class Sample:
    """Observations of an arm: their number, sum, and sum of squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """Their mean; 0 without any."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """How far they are spread: as if a 0 and a 1 more had been seen, for a few that are alike prove little."""
        n, mean = self.n + 2, (self.total + 1) / (self.n + 2)
        return max(0.0, (self.squares + 1) / n - mean * mean)


class Interval(NamedTuple):
    """A figure, and the limits within which it is with 95%."""

    mean: float
    low: float
    high: float


class Verdict(NamedTuple):
    """The arm that is ahead, and whether that may be relied on."""

    leader: str
    # It is the best, with the error that was allowed.
    is_final: bool
    # How strong the evidence is, and from where on it is enough.
    evidence: float
    threshold: float


def observed(sample: Sample, value: float) -> Sample:
    """The sample with one more observation, from 0 to 1."""
    return Sample(sample.n + 1, sample.total + value, sample.squares + value * value)


def verdict(samples: Mapping[str, Sample], error: float = 0.05) -> Verdict | None:
    """Which arm's values, from 0 to 1, are the highest. None until all arms have LEAST observations.

    `error`: with what probability an arm may be called the best, ever, that is not.
    """
    if len(samples) < 2 or any(sample.n < LEAST for sample in samples.values()):
        return None
    leader = max(samples, key=lambda arm: (samples[arm].mean, arm))
    evidence = min(_ratio(samples[leader], sample) for arm, sample in samples.items() if arm != leader)
    threshold = log((len(samples) - 1) * (1 + log(sum(sample.n for sample in samples.values()))) / error)
    return Verdict(leader, evidence > threshold, evidence, threshold)


def _ratio(ahead: Sample, behind: Sample) -> float:
    spread = ahead.variance / ahead.n + behind.variance / behind.n
    return (ahead.mean - behind.mean) ** 2 / (2 * spread) if spread > 0 else 0.0


def share_interval(successes: float, n: int) -> Interval:
    """A share, by Wilson's interval."""
    if not n:
        return Interval(0.0, 0.0, 1.0)
    share, z = successes / n, _DEVIATIONS**2 / n
    middle = (share + z / 2) / (1 + z)
    half = sqrt(z * (share * (1 - share) + z / 4)) / (1 + z)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def mean_interval(sample: Sample) -> Interval | None:
    """A mean, by the normal approximation. None below two observations."""
    n, mean = sample.n, sample.mean
    if n < 2:
        return None
    half = _DEVIATIONS * sqrt(max(0.0, sample.squares / n - mean * mean) / (n - 1))
    return Interval(mean, mean - half, mean + half)


def share_mismatch(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """How often chance alone would give arms shares that are at least as far from their weights as these.

    Below SUSPECT something gives calls to arms that should not: then no figure of the experiment means anything.
    """
    arms = [arm for arm, weight in weights.items() if weight > 0]
    n, total = sum(counts.get(arm, 0) for arm in arms), sum(weights[arm] for arm in arms)
    if len(arms) < 2 or not n:
        return 1.0
    expected = {arm: n * weights[arm] / total for arm in arms}
    return _beyond(sum((counts.get(arm, 0) - of) ** 2 / of for arm, of in expected.items()), len(arms) - 1)


def _beyond(value: float, freedom: int) -> float:
    """How often a chi-squared variable is at least this large: by the series for even freedom, from erfc for odd."""
    half = value / 2
    if half <= 0:
        return 1.0
    if half == inf:
        return 0.0
    start, found = (0.0, 0.0) if freedom % 2 == 0 else (0.5, erfc(sqrt(half)))
    steps = range(freedom // 2)
    return min(1.0, found + sum(exp((start + k) * log(half) - half - lgamma(start + k + 1)) for k in steps))
