"""What calls came to since the gateway started: counts, tokens and times, by provider and model.

Kept in this process only and lost when it ends: the ledger is what lasts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from trunkline.v1.call_pb2 import Usage
from trunkline.v1.gateway_service_pb2 import Percentiles, UsageDimension, UsageStatsResponse, UsageTotals
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.state.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline.v1.gateway_service_pb2 import UsageStatsRequest

# Any caller may name any model of an open provider: what is remembered of such names is bounded, in number and length.
MAX_PAIRS = 1000
MAX_MODEL_LENGTH = 256
# Names of units: providers make them up.
MAX_UNITS = 100

_USAGE_FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "reasoning_output_tokens",
)
_MAX_INT64 = 2**63 - 1

# Where a kind stands in a pair of provider and model.
_PLACES: Mapping[UsageDimension.Kind.ValueType, int] = {
    UsageDimension.KIND_PROVIDER: 0,
    UsageDimension.KIND_MODEL: 1,
}


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that has ended. Times are seconds from its arrival."""

    # Who ended it; both empty if no provider was asked.
    provider: str
    # As "provider/model".
    model: str
    # success: a whole answer. cancelled: the caller went away.
    result: Literal["success", "error", "cancelled"]
    # Of errors: broke off after a part of the answer was sent.
    interrupted: bool
    attempts: int
    # None: the provider did not say.
    usage: Usage | None
    total_time: float
    # None: not streamed, or no piece came.
    time_to_first_token: float | None

    def output_rate(self) -> float | None:
        """Output tokens a second from the first piece to the end. None if that cannot be told."""
        if self.usage is None or self.time_to_first_token is None:
            return None
        tokens, span = self.usage.output_tokens, self.total_time - self.time_to_first_token
        return tokens / span if tokens > 0 and span > 0 else None


class Figures:
    """The figures of one group of calls."""

    __slots__ = (
        "attempts",
        "cancelled",
        "errors",
        "interrupted",
        "rate",
        "successes",
        "to_first",
        "tokens",
        "total",
        "units",
    )

    def __init__(self) -> None:
        self.successes = self.errors = self.cancelled = self.attempts = self.interrupted = 0
        # By field of Usage; fields that nobody reported are not in it.
        self.tokens: dict[str, int] = {}
        # By the provider's names for them.
        self.units: dict[str, int] = {}
        self.total, self.to_first, self.rate = Histogram(), Histogram(), Histogram()

    def add(self, call: Finished) -> None:
        """Count a call."""
        self.attempts += call.attempts
        if call.usage is not None:
            self._add_tokens(call.usage)
        if call.result == "success":
            self.successes += 1
            self._add_times(call)
        elif call.result == "cancelled":
            self.cancelled += 1
        else:
            self.errors += 1
            self.interrupted += call.interrupted

    def _add_tokens(self, usage: Usage) -> None:
        for name in _USAGE_FIELDS:
            if usage.HasField(name):
                self.tokens[name] = self.tokens.get(name, 0) + getattr(usage, name)
        for name, count in usage.other_units.items():
            if name in self.units or len(self.units) < MAX_UNITS:
                self.units[name] = self.units.get(name, 0) + count

    def _add_times(self, call: Finished) -> None:
        self.total.record(call.total_time)
        if call.time_to_first_token is not None:
            self.to_first.record(call.time_to_first_token)
            rate = call.output_rate()
            if rate is not None:
                self.rate.record(rate)

    def merge(self, other: Figures) -> None:
        """Count all calls that `other` has counted."""
        self.successes += other.successes
        self.errors += other.errors
        self.cancelled += other.cancelled
        self.attempts += other.attempts
        self.interrupted += other.interrupted
        for name, tokens in other.tokens.items():
            self.tokens[name] = self.tokens.get(name, 0) + tokens
        for name, count in other.units.items():
            self.units[name] = self.units.get(name, 0) + count
        self.total.merge(other.total)
        self.to_first.merge(other.to_first)
        self.rate.merge(other.rate)

    def totals(self) -> UsageTotals:
        """The figures as the contract has them. Distributions of nothing, and tokens of nobody, are left unset."""
        return UsageTotals(
            requests=self.successes + self.errors + self.cancelled,
            successes=self.successes,
            errors=self.errors,
            cancelled=self.cancelled,
            attempts=self.attempts,
            interrupted_streams=self.interrupted,
            usage=_usage(self.tokens, self.units),
            total_time=_percentiles(self.total),
            time_to_first_token=_percentiles(self.to_first),
            output_rate=_percentiles(self.rate),
        )


class Statistics:
    """The figures of all calls that this process has ended. For one event loop; nothing in it waits."""

    def __init__(self, started: float) -> None:
        """`started` is the gateway's start in seconds since 1970."""
        self._started = started
        self._pairs: dict[tuple[str, str], Figures] = {}
        self._successes: dict[str, float] = {}
        self._failures: dict[str, float] = {}

    def record(self, call: Finished, now: float) -> None:
        """Count a call that ended at `now`, in seconds since 1970. Takes about 2 microseconds.

        Past MAX_PAIRS pairs of provider and model, or MAX_MODEL_LENGTH characters of a model's id, the call is counted
        under the model "provider/other". Raises ValueError if a time is negative or not finite.
        """
        figures = self._pairs.get((call.provider, call.model))
        if figures is None:
            figures = self._open(call.provider, call.model)
        figures.add(call)
        if call.result == "success":
            self._successes[call.provider] = now
        elif call.result == "error":
            self._failures[call.provider] = now

    def _open(self, provider: str, model: str) -> Figures:
        if model and (len(self._pairs) >= MAX_PAIRS or len(model) > MAX_MODEL_LENGTH):
            model = f"{provider}/other"
        return self._pairs.setdefault((provider, model), Figures())

    def last(self, provider: str) -> tuple[float | None, float | None]:
        """When a call that `provider` ended last succeeded and last failed, in seconds since 1970. None: not yet.

        A call whose caller went away is neither.
        """
        return self._successes.get(provider), self._failures.get(provider)

    async def usage(self, request: UsageStatsRequest) -> UsageStatsResponse:
        """The figures in the groups asked for. The totals are those of the rows; calls may end while it counts.

        Raises InvalidRequest, naming `group_by[i].kind`, for a kind that is not known or stands there twice.
        """
        kinds = [dimension.kind for dimension in request.group_by]
        violations = list(islice(_violations(kinds), 10))  # enough to see what is wrong
        if violations:
            raise InvalidRequest(violations)
        groups = await self._grouped([_PLACES[kind] for kind in kinds])
        response, totals = UsageStatsResponse(), Figures()
        for group in sorted(groups):
            totals.merge(groups[group])
            response.rows.add(group=group, totals=groups[group].totals())
            await asyncio.sleep(0)  # a thousand groups at once would hold up every stream for 0.1 s
        response.totals.CopyFrom(totals.totals())
        response.start_time.FromMicroseconds(round(self._started * 1e6))
        return response

    async def _grouped(self, places: Sequence[int]) -> dict[tuple[str, ...], Figures]:
        groups: dict[tuple[str, ...], Figures] = {} if places else {(): Figures()}
        for pair, figures in tuple(self._pairs.items()):
            group = tuple(pair[place] for place in places)
            groups.setdefault(group, Figures()).merge(figures)
            await asyncio.sleep(0)
        return groups


def _violations(kinds: Sequence[UsageDimension.Kind.ValueType]) -> Iterator[Violation]:
    for i, kind in enumerate(kinds):
        if kind not in _PLACES:
            yield Violation(f"group_by[{i}].kind", "say KIND_PROVIDER or KIND_MODEL")
        elif kind in kinds[:i]:
            yield Violation(f"group_by[{i}].kind", f"{UsageDimension.Kind.Name(kind)} stands here twice: name it once")


def _usage(tokens: Mapping[str, int], units: Mapping[str, int]) -> Usage | None:
    if not tokens and not units:
        return None
    usage = Usage()
    for name, total in tokens.items():
        # Providers' numbers: their sum need not fit.
        setattr(usage, name, min(max(total, 0), _MAX_INT64))
    usage.other_units.update({name: min(max(count, 0), _MAX_INT64) for name, count in units.items()})
    return usage


def _percentiles(times: Histogram) -> Percentiles | None:
    if not times.count:
        return None
    p50, p90, p95, p99 = times.quantiles(0.5, 0.9, 0.95, 0.99)
    return Percentiles(count=times.count, mean=times.mean(), p50=p50, p90=p90, p95=p95, p99=p99)
