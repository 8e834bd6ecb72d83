"""What is bad, and how bad: each condition at the figures that decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.v1 import call_pb2
from trunkline.v1.alerts_pb2 import Alert
from trunkline.v1.gateway_service_pb2 import EndpointHealth, ProviderHealth
from trunkline_server.state.alerts import conditions
from trunkline_server.state.alerts.reading import Is
from trunkline_server.state.alerts.scores import Scores, Sums
from trunkline_server.state.alerts.tally import TURN, Failures, Pace, Tally
from trunkline_server.state.statistics import Finished

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline_server.state.alerts.reading import Reading

MEDIUM, HIGH, CRITICAL, LOW = Alert.SEVERITY_MEDIUM, Alert.SEVERITY_HIGH, Alert.SEVERITY_CRITICAL, Alert.SEVERITY_LOW
CLOSED, OPEN, HALF = EndpointHealth.CIRCUIT_CLOSED, EndpointHealth.CIRCUIT_OPEN, EndpointHealth.CIRCUIT_HALF_OPEN
VALID, REFUSED = EndpointHealth.CREDENTIAL_STATE_VALID, EndpointHealth.CREDENTIAL_STATE_REFUSED
QUOTA, UNKNOWN = EndpointHealth.CREDENTIAL_STATE_QUOTA, EndpointHealth.CREDENTIAL_STATE_UNKNOWN
SUCCESS = call_pb2.OUTCOME_SUCCESS
DAY = 86400.0


def only(readings: Iterable[Reading]) -> tuple[Is, int]:
    (reading,) = readings
    assert reading.summary
    assert reading.remedy
    assert reading.evidence
    return reading.state, reading.severity


@pytest.mark.parametrize(
    ("failed", "state", "severity"),
    [(4, Is.WELL, MEDIUM), (5, Is.BETWEEN, MEDIUM), (10, Is.BAD, MEDIUM), (25, Is.BAD, HIGH), (50, Is.BAD, CRITICAL)],
)
def test_error_rates(failed: int, state: Is, severity: int) -> None:
    assert only(conditions.error_rates([Failures("up", 100, failed)])) == (state, severity)


def test_few_attempts_say_nothing() -> None:
    assert [*conditions.error_rates([Failures("up", 19, 19)])] == []


@pytest.mark.parametrize(
    ("now", "state", "severity"),
    [
        (1.4, Is.WELL, MEDIUM),
        (1.5, Is.BETWEEN, MEDIUM),
        (2.0, Is.BAD, MEDIUM),
        (4.0, Is.BAD, HIGH),
        (8, Is.BAD, CRITICAL),
    ],
)
def test_latencies(now: float, state: Is, severity: int) -> None:
    assert only(conditions.latencies([Pace("up/m", True, now, 1.0, 20, 20)])) == (state, severity)


def test_milliseconds_and_few_answers_are_no_latency() -> None:
    assert only(conditions.latencies([Pace("up/m", True, 0.1, 0.01, 20, 20)]))[0] is Is.WELL
    assert [*conditions.latencies([Pace("up/m", True, 9.0, 1.0, 19, 99), Pace("up/m", False, 9.0, 1.0, 99, 19)])] == []


def test_of_streamed_and_whole_answers_the_worse_counts() -> None:
    paces = [Pace("up/m", True, 1.0, 1.0, 20, 20), Pace("up/m", False, 5.0, 1.0, 20, 20)]
    assert only(conditions.latencies(paces)) == (Is.BAD, HIGH)


@pytest.mark.parametrize(
    ("circuits", "state"),
    [((OPEN, OPEN), Is.BAD), ((OPEN, HALF), Is.BETWEEN), ((OPEN, CLOSED), Is.WELL), ((CLOSED,), Is.WELL)],
)
def test_outages(circuits: tuple[EndpointHealth.Circuit.ValueType, ...], state: Is) -> None:
    provider = ProviderHealth(provider="up", endpoints=[EndpointHealth(circuit=each) for each in circuits])
    assert only(conditions.outages([provider, ProviderHealth(provider="none")])) == (state, CRITICAL)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((VALID, VALID), (Is.WELL, MEDIUM)),
        ((VALID, REFUSED), (Is.BAD, MEDIUM)),
        ((QUOTA, REFUSED), (Is.BAD, HIGH)),
        ((UNKNOWN, QUOTA), (Is.BAD, MEDIUM)),
    ],
)
def test_credentials(states: tuple[EndpointHealth.CredentialState.ValueType, ...], expected: tuple[Is, int]) -> None:
    endpoints = [EndpointHealth(credential="env:K ...abcd", credential_state=each) for each in states]
    assert only(conditions.credentials([ProviderHealth(provider="up", endpoints=endpoints)])) == expected


def test_untried_credentials_say_nothing() -> None:
    endpoints = [EndpointHealth(credential="env:K ...abcd", credential_state=UNKNOWN)]
    assert [*conditions.credentials([ProviderHealth(provider="up", endpoints=endpoints)])] == []


@pytest.mark.parametrize(
    ("days", "expected"),
    [(89.9, (Is.WELL, LOW)), (90, (Is.BAD, LOW)), (112.5, (Is.BAD, MEDIUM)), (180, (Is.BAD, HIGH))],
)
def test_of_a_providers_keys_the_oldest_counts(days: float, expected: tuple[Is, int]) -> None:
    found = [conditions.Age("up", "env:A", DAY), conditions.Age("up", "env:B", days * DAY)]
    assert only(conditions.ages(found, 90 * DAY)) == expected


def scores(n: int, mean: float, spread: float = 0.0) -> Sums:
    return Sums(n, n * mean, n * (mean * mean + spread * spread))


@pytest.mark.parametrize(
    ("lately", "expected"),
    [(0.86, (Is.WELL, MEDIUM)), (0.82, (Is.BETWEEN, MEDIUM)), (0.79, (Is.BAD, MEDIUM)), (0.69, (Is.BAD, HIGH))],
)
def test_quality(lately: float, expected: tuple[Is, int]) -> None:
    found = [Scores("up/m", "relevance", scores(20, lately), scores(20, 0.9))]
    assert only(conditions.qualities(found)) == expected


def test_a_drop_that_may_be_chance_is_none() -> None:
    """Of 20 scores of 0 or 1, 14 in place of 17: that happens all the time."""
    found = [Scores("up/m", "ok", Sums(20, 14, 14), Sums(20, 17, 17))]
    assert only(conditions.qualities(found))[0] is Is.BETWEEN
    assert [*conditions.qualities([Scores("up/m", "ok", scores(19, 0.1), scores(99, 0.9))])] == []


# --- what is counted --------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_requests_is_no_failure_and_old_ones_are_forgotten() -> None:
    tally, now = Tally(), 5000.0
    for outcome in (
        SUCCESS,
        call_pb2.OUTCOME_SERVER_ERROR,
        call_pb2.OUTCOME_INVALID,
        call_pb2.OUTCOME_CANCELLED,
        call_pb2.OUTCOME_CONTENT_FILTER,
    ):
        tally.attempted("up", outcome, now)
    assert [*tally.failures(now + 280)] == [Failures("up", 2, 1)]
    assert [*tally.failures(now + 310)] == []


def answered(seconds: float, first: float | None = None, attempts: int = 1) -> Finished:
    return Finished("up", "up/m", "success", False, attempts, None, seconds, first)


def test_paces_tell_now_from_the_hour_before() -> None:
    tally = Tally()
    for turn in range(15):
        now = TURN * (100 + turn)
        for _ in range(10):
            tally.answered(answered(9.0, 5.0 if turn >= 13 else 1.0), now)
        tally.answered(answered(99.0, 99.0, attempts=2), now)
    (pace,) = tally.paces(now)
    assert pace.now == pytest.approx(5.0, rel=0.011)
    assert pace.usual == pytest.approx(1.0, rel=0.011)
    assert pace == Pace("up/m", True, pace.now, pace.usual, 20, 120)
    assert [*tally.paces(now + 3 * TURN)] == []


def test_a_machine_that_has_just_begun_counts_too() -> None:
    """The clock is its uptime."""
    tally = Tally()
    for now in (0.0, 10.0, TURN, 2 * TURN):
        tally.answered(answered(1.0), now)
    (pace,) = tally.paces(2 * TURN)
    assert (pace.answers, pace.usual_answers) == (2, 2)
