"""What the configuration says of failures and limits of providers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from trunkline_server.sections import Seconds, Section

Retryable = Literal[
    "rate_limited", "overloaded", "server_error", "not_connected", "timeout", "interrupted", "protocol_error"
]


class RetrySettings(Section, frozen=True, kw_only=True):
    """When a failed attempt is made again at the same provider. Elsewhere it is made without any of this."""

    # In all, the first included. More than 4 raise what a call that goes here first has in all, unless its caller says
    # how many it has.
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = 4
    # Before the n-th retry a wait of up to base * multiplier**(n - 1), at most cap.
    base: Seconds = Seconds(0.5)
    cap: Seconds = Seconds(8.0)
    multiplier: Annotated[float, Meta(ge=1, le=10)] = 2.0
    # The share of the wait that is left to chance; 0 = always the longest.
    jitter: Annotated[float, Meta(ge=0, le=1)] = 1.0
    # Which failures. After timeout, interrupted and protocol_error the provider may have charged for what failed.
    retryable: tuple[Retryable, ...] = ("rate_limited", "overloaded", "server_error", "not_connected")
    # How long an attempt may take: until the whole answer is there, and in a stream until its first piece. Unset = as
    # long as the call.
    attempt_timeout: Seconds | None = None


class BreakerSettings(Section, frozen=True, kw_only=True):
    """When a provider that fails is left alone for a while."""

    # So many failures in a row; or half of all calls.
    failures: Annotated[int, Meta(ge=1, le=1000)] = 5
    # For so long. Unset = 5 seconds, doubled each time, up to 5 minutes.
    recovery: Seconds | None = None


class ProviderLimits(Section, frozen=True, kw_only=True):
    """What a provider takes from us, a key. Unset = what it says itself."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    input_tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    output_tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    # Calls at once. Unset = found out.
    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
