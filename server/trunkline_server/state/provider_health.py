"""What is known of each provider: its credentials, how it limits us, how it failed. Kept in this process only."""

from __future__ import annotations

import random
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Protocol

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.errors import CredentialMissing
from trunkline_server.state.endpoint.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from trunkline_server.core import Call
    from trunkline_server.errors import UpstreamError
    from trunkline_server.state.endpoint.upstream_limits import Limit

    Clock = Callable[[], float]
    Tell = Callable[[AuditEvent.Kind.ValueType, str, str], None]

ERRORS_KEPT = 10
# Seconds. A provider whose last attempt failed no longer ago than this is DEGRADED.
LATELY = 300.0
# Seconds. A credential that was refused may be tried again after this: where no probe asks about it, a call has to.
RECHECK = 600.0
# Seconds. Later than everything else: what cannot be sent is tried last.
_NEVER = 1e9
# Seconds: a hundred years. What is further away is no time of reset.
_LONGEST_RESET = 3_155_760_000.0

VALID = pb.EndpointHealth.CREDENTIAL_STATE_VALID
REFUSED = pb.EndpointHealth.CREDENTIAL_STATE_REFUSED
QUOTA = pb.EndpointHealth.CREDENTIAL_STATE_QUOTA
UNKNOWN = pb.EndpointHealth.CREDENTIAL_STATE_UNKNOWN
MISSING = pb.EndpointHealth.CREDENTIAL_STATE_MISSING

# What keeps a credential from being used, and what to do about it.
_REMEDIES = {
    REFUSED: "the provider refuses the credential: set another one",
    QUOTA: "the account has no quota or credit left: see to it at the provider",
    MISSING: "the provider wants a credential and there is none: set one",
}
_UNTRIED = "not tried yet"
# What failed attempts say of the request or of us, and not of the provider.
_NOT_THEIR_FAULT = frozenset(
    {
        call_pb2.OUTCOME_INVALID,
        call_pb2.OUTCOME_CONTEXT_LENGTH,
        call_pb2.OUTCOME_CONTENT_FILTER,
        call_pb2.OUTCOME_MODEL_NOT_FOUND,
        call_pb2.OUTCOME_NOT_SENT,
    }
)


class Shown(Protocol):
    """How a credential is at this moment."""

    @property
    def hint(self) -> str:
        """Enough to tell it from others. Empty = there is none."""

    @property
    def version(self) -> int:
        """Another number: another secret stands in its place, of which nothing is known yet."""

    @property
    def missing(self) -> str:
        """Why there is nothing to send at present. Empty = there is."""

    @property
    def note(self) -> str:
        """What is wrong with it while it is used all the same. Empty = nothing."""


class Credential(Protocol):
    """What is sent to the provider, as far as it concerns its state."""

    def look(self) -> Shown:
        """How it is now."""

    def refused(self) -> None:
        """The provider refuses it: a newer one may be had."""


def _nobody(*_: object) -> None:
    """Nobody wants to know."""


class EndpointState:
    """One credential at one endpoint. For one event loop; nothing in it waits."""

    def __init__(
        self,
        address: str,
        credential: Credential,
        *,
        required: bool = False,
        clock: Clock = time.time,
        draw: Callable[[], float] = random.random,
        tell: Tell = _nobody,
    ) -> None:
        """`required`: the provider wants a credential.

        `clock` gives seconds since 1970, `draw` random numbers from 0 to 1. `tell` hears once of each credential that
        is refused or replaced: how it is shown, and why.
        """
        self._tell = tell
        self.address = address
        self.clock = clock
        self._credential = credential
        self._draw = draw
        shown = credential.look()
        self._version, self._hint = shown.version, shown.hint
        self._state: pb.EndpointHealth.CredentialState.ValueType = MISSING if required and not shown.hint else UNKNOWN
        self._reason = _UNTRIED if shown.hint else "there is none"
        self._learned: float | None = None
        self._pacer = Pacer(draw)
        self._limits: tuple[pb.RateLimitSnapshot, ...] = ()

    @property
    def credential(self) -> str:
        """How the credential is shown now. Empty = there is none."""
        return self._look().hint

    def limited(self, limits: Sequence[Limit]) -> None:
        """An answer came, and said this of its limits. One that says nothing leaves what the last one said."""
        if limits:
            now = self.clock()
            self._limits = tuple(_snapshot(limit, now) for limit in limits)

    def succeeded(self) -> None:
        """The provider took the credential. Where there is none, that says nothing of one."""
        if self._look().hint:
            self._learn(VALID, "the provider took it")

    def failed(self, error: UpstreamError) -> None:
        """A call or a probe ended so. Only AUTH and QUOTA tell of the credential."""
        if isinstance(error, CredentialMissing):
            return  # the credential itself tells of that
        known, shown = self._version, self._look()
        if self._version != known:
            return  # that was another credential
        if error.retry_after is not None:
            self._pacer.block(error.retry_after, self.clock())
        if error.outcome == call_pb2.OUTCOME_AUTH:
            self._learn(REFUSED if shown.hint else MISSING, _said(error))
            self._credential.refused()
        elif error.outcome == call_pb2.OUTCOME_QUOTA:
            self._learn(QUOTA, _said(error))
        elif self._state == UNKNOWN and shown.hint:
            self._reason = f"it could not be told: {_said(error)}"

    def _learn(self, state: pb.EndpointHealth.CredentialState.ValueType, reason: str) -> None:
        if state != self._state and state in (REFUSED, QUOTA):
            self._tell(AuditEvent.KIND_CREDENTIAL_REFUSED, self._hint, reason)
        self._state, self._reason, self._learned = state, reason, self.clock()

    def _look(self) -> Shown:
        """How the credential is. What is known of one is not known of another."""
        shown = self._credential.look()
        if shown.version != self._version:
            if shown.hint != self._hint:  # a token that renews itself is the same to everybody
                self._tell(AuditEvent.KIND_CREDENTIAL_CHANGED, shown.hint, f"before: {self._hint or 'none'}")
            self._version, self._hint = shown.version, shown.hint
            self._state, self._reason, self._learned, self._pacer = UNKNOWN, _UNTRIED, None, Pacer(self._draw)
        return shown

    def wait(self) -> float:
        """Seconds until it makes sense to use the credential. 0 = now."""
        if self._look().missing:
            return _NEVER
        now = self.clock()
        recheck = (self._learned or 0.0) + RECHECK if self._state in (REFUSED, QUOTA) else 0.0
        return max(self._pacer.wait(now), recheck - now)

    def blocked(self) -> float:
        """Seconds for which the provider asked us to wait. 0 = it did not, or they have passed."""
        self._look()
        return self._pacer.wait(self.clock()) if self._pacer.blocked_until else 0.0

    def missing(self) -> str:
        """Why there is nothing to send at present. Empty = there is."""
        shown = self._look()
        return f"not available yet: {shown.missing} ({shown.hint or self.address})" if shown.missing else ""

    def hindrance(self) -> str:
        """Why the credential may not be used now, and what to do about it. Empty = it may."""
        if missing := self.missing():
            return missing
        shown = self._look()
        remedy = _REMEDIES.get(self._state, "")
        wait = self._pacer.wait(self.clock())
        if not remedy and wait > 0:
            return f"the provider asked us to wait for another {wait:.0f} s: call again then, or another provider"
        return f"{remedy} ({shown.hint or self.address}: {self._reason})" if remedy else ""

    def health(self) -> pb.EndpointHealth:
        """What is known of the credential and its limits, as the contract has it."""
        shown = self._look()
        health = pb.EndpointHealth(
            endpoint=self.address,
            credential=shown.hint,
            credential_state=self._state,
            credential_reason=_reason(shown, self._reason),
            rate_limits=self._limits,
        )
        if self._learned is not None:
            _set(health.credential_check_time, self._learned)
        if self._pacer.wait(self.clock()):
            _set(health.blocked_until_time, self._pacer.blocked_until)
        return health


class Told(Protocol):
    """An endpoint, as far as health tells of it; see state/endpoints.py."""

    @property
    def credential(self) -> str:
        """How the credential is shown now. Empty = there is none."""

    def missing(self) -> str:
        """Why there is no credential to send at present. Empty = there is."""

    def hindrance(self) -> str:
        """Why it cannot be asked now, and what to do about it. Empty = it can."""

    def health(self) -> pb.EndpointHealth:
        """All of it, as the contract has it."""


class _Provider:
    """What is known of one provider beside its endpoints."""

    def __init__(self) -> None:
        self.status_url = ""
        self.endpoints: tuple[Told, ...] = ()
        # Newest first.
        self.errors: deque[pb.ProviderError] = deque(maxlen=ERRORS_KEPT)
        # The last attempt's failure, if it failed by the provider's doing: when, and how.
        self.failure: tuple[float, pb.ProviderError] | None = None

    def problem(self, now: float) -> tuple[pb.HealthCheckResponse.State.ValueType, str]:
        hindrances = [hindrance for endpoint in self.endpoints if (hindrance := endpoint.hindrance())]
        if hindrances and len(hindrances) == len(self.endpoints):
            return pb.HealthCheckResponse.STATE_NOT_SERVING, hindrances[0]
        if hindrances:
            return pb.HealthCheckResponse.STATE_DEGRADED, hindrances[0]
        if self.failure is not None and now - self.failure[0] <= LATELY:
            outcome = call_pb2.Outcome.Name(self.failure[1].outcome).removeprefix("OUTCOME_")
            page = " and its status page" if self.status_url else ""
            reason = f"its last attempt failed ({outcome}): see its recent errors{page}"
            return pb.HealthCheckResponse.STATE_DEGRADED, reason
        return pb.HealthCheckResponse.STATE_SERVING, ""


class ProviderStates:
    """What is known of all providers. For one event loop; nothing in it waits."""

    def __init__(self, clock: Clock = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._providers: defaultdict[str, _Provider] = defaultdict(_Provider)

    def open(self, provider: str, status_url: str, endpoints: Iterable[Told]) -> None:
        """A configuration has this provider with these endpoints. Its errors of before are kept."""
        state = self._providers[provider]
        state.status_url, state.endpoints = status_url, tuple(endpoints)

    def report(self, call: Call, record: call_pb2.Attempt) -> None:
        """An attempt has ended. What the caller gave up says nothing."""
        state = self._providers[record.target.provider]
        if record.outcome == call_pb2.OUTCOME_SUCCESS:
            state.failure = None
        elif record.outcome != call_pb2.OUTCOME_CANCELLED:
            now = self._clock()
            error = _error(call, record, now)
            state.errors.appendleft(error)
            if record.outcome not in _NOT_THEIR_FAULT:
                state.failure = now, error

    def health(self, provider: str) -> pb.ProviderHealth:
        """All but the times of calls and the probes. A provider that nothing is known of is SERVING."""
        known = self._providers.get(provider) or _Provider()
        state, reason = known.problem(self._clock())
        return pb.ProviderHealth(
            provider=provider,
            state=state,
            reason=reason,
            endpoints=[endpoint.health() for endpoint in known.endpoints],
            recent_errors=known.errors,
            status_url=known.status_url,
        )

    def missing(self, provider: str) -> str:
        """Why the provider has nothing to send at present: each credential of it is still to be had. Empty = it has."""
        known = self._providers.get(provider)
        why = [endpoint.missing() for endpoint in known.endpoints] if known else []
        return why[0] if why and all(why) else ""

    def credential(self, provider: str) -> str:
        """How the credential that calls of this provider use is shown. Empty = there is none."""
        known = self._providers.get(provider)
        endpoints = known.endpoints if known else ()
        return f"one of {len(endpoints)}" if len(endpoints) > 1 else "".join(each.credential for each in endpoints)


def _reason(shown: Shown, learnt: str) -> str:
    return f"not available yet: {shown.missing}" if shown.missing else "; ".join(filter(None, (learnt, shown.note)))


def _said(error: UpstreamError) -> str:
    """The failure in a few words; never the provider's own text, which may quote a prompt."""
    outcome = call_pb2.Outcome.Name(error.outcome).removeprefix("OUTCOME_")
    details = [f"status {error.status}"] * bool(error.status) + [error.code] * bool(error.code)
    return ", ".join([outcome, *details])


def _error(call: Call, record: call_pb2.Attempt, now: float) -> pb.ProviderError:
    error = pb.ProviderError(
        outcome=record.outcome,
        call_id=call.id,
        provider_status=record.provider_status,
        provider_request_id=record.provider_request_id,
    )
    _set(error.time, now)
    return error


def _snapshot(limit: Limit, now: float) -> pb.RateLimitSnapshot:
    snapshot = pb.RateLimitSnapshot(dimension=limit.dimension, limit=limit.limit, remaining=limit.remaining)
    if limit.reset_after is not None and limit.reset_after <= _LONGEST_RESET:
        _set(snapshot.reset_time, now + limit.reset_after)
    return snapshot


def _set(timestamp: Timestamp, seconds: float) -> None:
    timestamp.FromMicroseconds(round(seconds * 1e6))
