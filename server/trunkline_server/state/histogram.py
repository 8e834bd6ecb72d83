"""A histogram with logarithmic buckets: bounded in memory, mergeable, with a bounded error.

The buckets are those of OpenTelemetry's exponential histogram at scale 5 (metrics data model, "Exponential Histogram"):
bucket i holds the values in (b^i, b^(i+1)] with b = 2^(1/32), so that counts can be exported without loss. A bucket is
told by its geometric middle, b^(i+1/2), which is at most 2^(1/64) - 1 = 1.09% away from any value in it.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import ceil, inf, log2

# Buckets to a doubling: 2^scale.
_RESOLUTION = 32
# Kept apart: from 2^-20, a microsecond if values are seconds, to 2^40, a million million if they are rates.
LOWEST, HIGHEST = 2.0**-20, 2.0**40
_FIRST, _LAST = -20 * _RESOLUTION, 40 * _RESOLUTION - 1
# The first bucket's upper edge. Just above LOWEST itself, a rounded logarithm would tell of the bucket before it.
_EDGE = 2.0 ** (-20 + 1 / _RESOLUTION)
# Where zeros are counted: before all others.
ZERO = _FIRST - 1


class Histogram:
    """How values of zero and more are distributed: how many, their sum, and their quantiles.

    A quantile's relative error is at most 1.09% for values from LOWEST to HIGHEST. Smaller values are counted in the
    first bucket, larger ones in the last, zeros in one of their own: never more than 1,921 buckets.
    """

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.sum = 0.0
        # How many values by bucket; only buckets that have any.
        self.buckets: dict[int, int] = {}

    @property
    def count(self) -> int:
        """How many values: worked out, for many are recorded before anybody asks."""
        return sum(self.buckets.values())

    def record(self, value: float) -> None:
        """Count a value. Raises ValueError, and counts nothing, if it is negative or not finite."""
        bucket = bucket_of(value)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.sum += value

    def merge(self, other: Histogram) -> None:
        """Count everything that `other` has counted, as if it had been recorded here."""
        if not self.buckets:
            self.buckets = dict(other.buckets)
        else:
            for bucket, count in other.buckets.items():
                self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.sum += other.sum

    def mean(self) -> float:
        """The mean of the values themselves; the buckets play no part. Raises ValueError if there are none."""
        if not self.buckets:
            raise ValueError("a histogram without values has no mean")
        return self.sum / self.count

    def quantile(self, q: float) -> float:
        """The smallest value that at least the share `q` (0 to 1) of all values do not exceed.

        Raises ValueError if there are no values.
        """
        return self.quantiles(q)[0]

    def quantiles(self, *shares: float) -> list[float]:
        """`quantile` of each share; the buckets are sorted only once."""
        if not self.buckets or not all(0.0 <= q <= 1.0 for q in shares):
            raise ValueError("quantiles need values, and shares from 0 to 1")
        order = sorted(self.buckets)
        ranks = list(accumulate(map(self.buckets.__getitem__, order)))
        return [_middle(order[bisect_left(ranks, max(1, ceil(q * ranks[-1])))]) for q in shares]


def bucket_of(value: float) -> int:
    """The number of the bucket that the value is counted in. Raises ValueError if it is negative or not finite."""
    # Up, not toward zero: a bucket's upper edge is in it.
    return ceil(log2(value) * _RESOLUTION) - 1 if _EDGE < value <= HIGHEST else _outside(value)


def _outside(value: float) -> int:
    if value == 0.0:
        return ZERO
    if 0.0 < value < inf:
        return _FIRST if value <= _EDGE else _LAST
    raise ValueError("a histogram counts finite values of zero and more")


def _middle(bucket: int) -> float:
    return 0.0 if bucket == ZERO else 2.0 ** ((bucket + 0.5) / _RESOLUTION)
