"""What is remembered of providers, with a clock that stands still unless it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from make import call
from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects.limits import Limit
from trunkline_server.errors import CredentialMissing, UpstreamError
from trunkline_server.providers.credential import Fixed
from trunkline_server.state.endpoint.pacer import LONGEST_BLOCK
from trunkline_server.state.provider_health import (
    ERRORS_KEPT,
    LATELY,
    MISSING,
    QUOTA,
    RECHECK,
    REFUSED,
    UNKNOWN,
    VALID,
    EndpointState,
    ProviderStates,
)

SERVING, DEGRADED, NOT_SERVING = (
    pb.HealthCheckResponse.STATE_SERVING,
    pb.HealthCheckResponse.STATE_DEGRADED,
    pb.HealthCheckResponse.STATE_NOT_SERVING,
)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def endpoint(clock: Clock, credential: str = "env:KEY ...abcd", *, required: bool = True) -> EndpointState:
    return EndpointState("https://up/v1", Fixed(credential), required=required, clock=clock, draw=lambda: 0.0)


def error(outcome: call_pb2.Outcome.ValueType, **more: float) -> UpstreamError:
    return UpstreamError(outcome, "their own words", status=429, code="a_code", **more)  # type: ignore[arg-type]


def attempted(outcome: call_pb2.Outcome.ValueType, **more: object) -> call_pb2.Attempt:
    return call_pb2.Attempt(target=call_pb2.Target(provider="p"), outcome=outcome, **more)  # type: ignore[arg-type]


def test_a_credential_is_unknown_until_something_is_known() -> None:
    told = endpoint(Clock()).health()
    assert (told.endpoint, told.credential) == ("https://up/v1", "env:KEY ...abcd")
    assert told.credential_state == UNKNOWN
    assert told.credential_reason
    assert not told.HasField("credential_check_time")
    assert not told.HasField("blocked_until_time")


@pytest.mark.parametrize(
    ("outcome", "state"), [(call_pb2.OUTCOME_AUTH, REFUSED), (call_pb2.OUTCOME_QUOTA, QUOTA)], ids=["auth", "quota"]
)
def test_a_refusal_tells_when_and_why_until_the_credential_is_taken(
    outcome: call_pb2.Outcome.ValueType, state: pb.EndpointHealth.CredentialState.ValueType
) -> None:
    clock = Clock()
    of = endpoint(clock)
    clock.now += 5
    of.failed(error(outcome))
    told = of.health()
    assert told.credential_state == state
    assert "a_code" in told.credential_reason
    assert "their own words" not in told.credential_reason
    assert told.credential_check_time.ToSeconds() == 1_000_005
    assert of.hindrance()
    clock.now += 5
    of.succeeded()
    assert of.health().credential_state == VALID
    assert of.health().credential_check_time.ToSeconds() == 1_000_010
    assert not of.hindrance()


@pytest.mark.parametrize(
    "outcome", sorted({*call_pb2.Outcome.values()} - {call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_QUOTA})
)
def test_other_failures_say_nothing_of_a_credential(outcome: call_pb2.Outcome.ValueType) -> None:
    of = endpoint(Clock())
    of.failed(error(outcome))
    assert of.health().credential_state == UNKNOWN
    of.succeeded()
    of.failed(error(outcome))
    assert of.health().credential_state == VALID


def test_without_a_credential_nothing_is_valid_and_a_refusal_means_that_one_is_missing() -> None:
    of = endpoint(Clock(), "", required=False)
    of.succeeded()
    assert of.health().credential_state == UNKNOWN
    of.failed(error(call_pb2.OUTCOME_AUTH))
    assert of.health().credential_state == MISSING
    assert endpoint(Clock(), "").health().credential_state == MISSING


@dataclass(frozen=True)
class Shown:
    hint: str = "file:/key ...abcd"
    version: int = 0
    missing: str = ""
    note: str = ""


@dataclass
class Changing:
    """A credential that changes when told to."""

    shown: Shown = field(default_factory=Shown)
    refusals: int = 0

    def look(self) -> Shown:
        return self.shown

    def refused(self) -> None:
        self.refusals += 1


def changing(clock: Clock) -> tuple[Changing, EndpointState]:
    credential = Changing()
    return credential, EndpointState("https://up/v1", credential, clock=clock, draw=lambda: 0.0)


def test_of_another_secret_nothing_is_known() -> None:
    clock = Clock()
    credential, of = changing(clock)
    of.failed(error(call_pb2.OUTCOME_RATE_LIMITED, retry_after=60))
    of.failed(error(call_pb2.OUTCOME_AUTH))
    assert credential.refusals == 1
    assert of.wait() == RECHECK
    credential.shown = Shown("file:/key ...wxyz", version=1)
    assert (of.wait(), of.hindrance()) == (0.0, "")
    told = of.health()
    assert (told.credential, told.credential_state, told.credential_reason) == (
        "file:/key ...wxyz",
        UNKNOWN,
        "not tried yet",
    )
    assert not told.HasField("credential_check_time")


def test_a_refusal_of_the_secret_before_says_nothing_of_the_new_one() -> None:
    credential, of = changing(Clock())
    credential.shown = Shown(version=1)
    of.failed(error(call_pb2.OUTCOME_AUTH))
    assert of.health().credential_state == UNKNOWN


def test_one_that_cannot_be_had_is_told_and_comes_last() -> None:
    credential, of = changing(Clock())
    credential.shown = Shown(missing="the store answered 503")
    of.failed(CredentialMissing("the store answered 503"))
    told = of.health()
    assert (told.credential_state, told.credential_reason) == (UNKNOWN, "not available yet: the store answered 503")
    assert of.hindrance() == "not available yet: the store answered 503 (file:/key ...abcd)"
    assert of.wait() > 1e6
    credential.shown = Shown()
    assert (of.wait(), of.hindrance()) == (0.0, "")


def test_what_is_wrong_with_one_that_is_used_all_the_same_is_told_beside() -> None:
    credential, of = changing(Clock())
    of.succeeded()
    credential.shown = Shown(note="its file has changed")
    assert of.health().credential_reason == "the provider took it; its file has changed"
    assert (of.wait(), of.hindrance()) == (0.0, "")


@pytest.mark.parametrize("outcome", [call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_QUOTA], ids=["auth", "quota"])
def test_one_that_was_refused_may_be_tried_again_later(outcome: call_pb2.Outcome.ValueType) -> None:
    clock = Clock()
    of = endpoint(clock)
    assert of.wait() == 0
    of.failed(error(outcome))
    clock.now += RECHECK - 1
    assert of.wait() == 1
    clock.now += 1
    assert of.wait() == 0
    of.failed(error(outcome, retry_after=2 * RECHECK))
    assert of.wait() == 2 * RECHECK


def test_which_credential_calls_use() -> None:
    states = ProviderStates(Clock())
    assert states.credential("p") == ""
    states.open("p", "", [endpoint(Clock())])
    assert states.credential("p") == "env:KEY ...abcd"
    states.open("p", "", [endpoint(Clock())] * 3)
    assert states.credential("p") == "one of 3"


def test_a_block_only_grows_and_passes() -> None:
    clock = Clock()
    of = endpoint(clock)
    of.failed(error(call_pb2.OUTCOME_RATE_LIMITED, retry_after=60))
    of.failed(error(call_pb2.OUTCOME_RATE_LIMITED, retry_after=1))
    of.failed(error(call_pb2.OUTCOME_RATE_LIMITED))
    of.succeeded()
    assert of.health().blocked_until_time.ToSeconds() == 1_000_060
    assert "60 s" in of.hindrance()
    clock.now += 60
    assert not of.health().HasField("blocked_until_time")
    assert not of.hindrance()


def test_no_provider_blocks_for_ever() -> None:
    of = endpoint(Clock())
    of.failed(error(call_pb2.OUTCOME_OVERLOADED, retry_after=1e15))
    assert of.health().blocked_until_time.ToSeconds() == 1_000_000 + LONGEST_BLOCK


def test_the_last_answer_that_tells_of_limits_is_kept() -> None:
    clock = Clock()
    of = endpoint(clock)
    of.limited([Limit("tokens", limit=5)])
    clock.now += 1
    of.limited([Limit("requests", limit=100, remaining=0, reset_after=30.0), Limit("odd", reset_after=1e17)])
    of.limited([])
    requests, odd = of.health().rate_limits
    assert (requests.dimension, requests.limit, requests.remaining) == ("requests", 100, 0)
    assert requests.HasField("remaining")
    assert requests.reset_time.ToSeconds() == 1_000_031
    assert odd == pb.RateLimitSnapshot(dimension="odd")


async def test_the_last_ten_errors_are_kept_newest_first() -> None:
    clock = Clock()
    states = ProviderStates(clock)
    for number in range(ERRORS_KEPT + 2):
        record = attempted(
            call_pb2.OUTCOME_SERVER_ERROR, provider_status=500 + number, provider_request_id=f"req-{number}"
        )
        states.report(structs.replace(call(), id=f"call-{number}"), record)
        clock.now += 1
    states.report(call(), attempted(call_pb2.OUTCOME_CANCELLED))
    states.report(call(), attempted(call_pb2.OUTCOME_SUCCESS))
    errors = states.health("p").recent_errors
    assert [each.call_id for each in errors] == [f"call-{number}" for number in range(11, 1, -1)]
    first = errors[0]
    assert (first.outcome, first.provider_status, first.provider_request_id) == (
        call_pb2.OUTCOME_SERVER_ERROR,
        511,
        "req-11",
    )
    assert first.time.ToSeconds() == 1_000_011


def state_of(states: ProviderStates) -> pb.HealthCheckResponse.State.ValueType:
    told = states.health("p")
    assert bool(told.reason) == (told.state != SERVING)
    return told.state


def test_a_provider_serves_with_all_its_credentials_or_is_degraded_with_some() -> None:
    clock = Clock()
    states, one, other = ProviderStates(clock), endpoint(clock), endpoint(clock)
    assert state_of(states) == SERVING
    states.open("p", "https://status.up", [one, other])
    assert states.health("p").status_url == "https://status.up"
    assert state_of(states) == SERVING
    one.failed(error(call_pb2.OUTCOME_AUTH))
    assert state_of(states) == DEGRADED
    other.failed(error(call_pb2.OUTCOME_RATE_LIMITED, retry_after=10))
    assert state_of(states) == NOT_SERVING
    assert len(states.health("p").endpoints) == 2
    clock.now += 11
    assert state_of(states) == DEGRADED
    one.succeeded()
    assert state_of(states) == SERVING


async def test_a_provider_whose_last_attempt_failed_is_degraded_for_a_while() -> None:
    clock = Clock()
    states = ProviderStates(clock)
    states.report(call(), attempted(call_pb2.OUTCOME_SERVER_ERROR))
    assert state_of(states) == DEGRADED
    states.report(call(), attempted(call_pb2.OUTCOME_INVALID))
    assert state_of(states) == DEGRADED
    states.report(call(), attempted(call_pb2.OUTCOME_SUCCESS))
    assert state_of(states) == SERVING
    states.report(call(), attempted(call_pb2.OUTCOME_CONTEXT_LENGTH))
    assert state_of(states) == SERVING
    states.report(call(), attempted(call_pb2.OUTCOME_TIMEOUT))
    assert state_of(states) == DEGRADED
    clock.now += LATELY + 1
    assert state_of(states) == SERVING
