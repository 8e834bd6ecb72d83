"""What an endpoint takes from us a minute: as it is configured, else as the endpoint itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from trunkline_server.state.endpoint.bucket import Admitted, Bucket, Claim, Wait, reserve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trunkline.v1.call_pb2 import Usage
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.settings.reliability import ProviderLimits

# Bytes of a request to a token of it.
BYTES_PER_TOKEN = 3
# Tokens of an answer where the request sets no limit.
USUAL_OUTPUT = 500
_DIMENSIONS = ("requests", "tokens", "input_tokens", "output_tokens")
# A limit that is full again in less than this part of a minute's share is not one a minute.
_SLOWEST = 0.5


class Limit(Protocol):
    """What an answer said of one limit; see RateLimitSnapshot."""

    @property
    def dimension(self) -> str:
        """What is limited."""

    @property
    def limit(self) -> int | None:
        """How much in all."""

    @property
    def remaining(self) -> int | None:
        """How much is left."""

    @property
    def reset_after(self) -> float | None:
        """Seconds until it is full again."""


class Left(NamedTuple):
    """One limit, and what is left of it."""

    dimension: str
    limit: int
    remaining: int


class Reserved:
    """What a call may use. Settled once, however it ends."""

    __slots__ = ("_admitted", "_dimensions", "units")

    def __init__(self, admitted: Admitted, dimensions: Sequence[str], units: Sequence[int]) -> None:
        self._admitted = admitted
        self._dimensions = dimensions
        self.units = dict(zip(dimensions, units, strict=True))

    def settle(self, usage: Usage | None, now: float) -> None:
        """The provider took the call and, as far as is known, used so much: without `usage` all that was reserved."""
        used = [self._used(dimension, usage) for dimension in self._dimensions]
        self._admitted.settle(used, now, exact=usage is not None)

    def _used(self, dimension: str, usage: Usage | None) -> int:
        if dimension == "requests":
            return 1
        if usage is None:
            return self.units[dimension]
        used = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        return used.get(dimension, usage.input_tokens + usage.output_tokens)

    def release(self, now: float) -> None:
        """It never reached the provider."""
        self._admitted.release(now)


class UpstreamLimits:
    """One endpoint's."""

    def __init__(self, configured: ProviderLimits) -> None:
        limits = {each: getattr(configured, f"{each}_per_minute") for each in _DIMENSIONS}
        self._buckets = {each: Bucket(limit) for each, limit in limits.items()}
        self._configured = frozenset(each for each, limit in limits.items() if limit is not None)
        # By dimension. Where there are none nothing need be reserved.
        self.known = {each: bucket for each, bucket in self._buckets.items() if bucket.limit is not None}
        # What was reserved for calls that have no answer yet: what the provider says next may not know of them.
        self._unseen = dict.fromkeys(_DIMENSIONS, 0)

    def reserve(self, request: GenerateRequest, now: float, patience: float) -> tuple[Reserved, float] | Wait:
        """Reserve what `request` may use. It may begin after so many seconds, at most `patience`.

        Those who wait have their turn already: who comes later waits longer. What is more than a minute's whole is
        asked for as the whole. A Wait reserves nothing.
        """
        estimated = _estimate(request)
        units = [min(estimated[each], bucket.limit or 0) for each, bucket in self.known.items()]
        claims = [Claim(bucket, count) for bucket, count in zip(self.known.values(), units, strict=True)]
        wait, found = 0.0, reserve(claims, now)
        if isinstance(found, Wait) and found.seconds <= patience:
            for claim in claims:
                claim.bucket.take(claim.units, now)
            wait, found = found.seconds, Admitted(claims)
        if not isinstance(found, Admitted):
            return found if isinstance(found, Wait) else Wait(60.0, found.claim)
        reserved = Reserved(found, tuple(self.known), units)
        self._count(reserved, 1)
        return reserved, wait

    def seen(self, reserved: Reserved) -> None:
        """The call has an answer, or will have none."""
        self._count(reserved, -1)

    def _count(self, reserved: Reserved, sign: int) -> None:
        for dimension, units in reserved.units.items():
            self._unseen[dimension] += sign * units

    def wait(self, now: float) -> float:
        """Seconds until there is anything left of each limit."""
        return max((bucket.wait(1, now) or 0.0 for bucket in self.known.values()), default=0.0)

    def used(self, now: float) -> float:
        """How much of the scarcest is used up, from 0 to 1. What is reserved is used."""
        return max((bucket.used(now) for bucket in self.known.values()), default=0.0)

    def learn(self, limits: Iterable[Limit], now: float) -> None:
        """An answer said this. What is configured stands; what is left according to the provider only takes away."""
        for limit in limits:
            bucket = self._buckets.get(limit.dimension)
            if bucket is None or not _is_a_minutes(limit):
                continue
            adopted = None if limit.dimension in self._configured else limit.limit or None
            bucket.learn(adopted, limit.remaining, self._unseen[limit.dimension], now)
            if bucket.limit is not None:
                self.known[limit.dimension] = bucket

    def left(self, now: float) -> Iterator[Left]:
        """All that are known."""
        for dimension, bucket in self.known.items():
            yield Left(dimension, bucket.limit or 0, int(bucket.level(now)))


def _estimate(request: GenerateRequest) -> Mapping[str, int]:
    given = request.ByteSize() // BYTES_PER_TOKEN
    answer = request.config.max_output_tokens or USUAL_OUTPUT
    return {"requests": 1, "tokens": given + answer, "input_tokens": given, "output_tokens": answer}


def _is_a_minutes(limit: Limit) -> bool:
    """Limits of a second or a day have the same names. Held a minute, that of a second is too strict."""
    if not limit.limit or limit.remaining is None or limit.reset_after is None:
        return True
    used = limit.limit - limit.remaining
    return used <= 1 or limit.reset_after >= _SLOWEST * 60 * used / limit.limit
