"""What is bad, how bad, and what to do about it. Pure: figures in, readings out.

Each condition has a figure that opens an alert and a lower one that lets it be resolved. Too few calls say nothing.
"""

from __future__ import annotations

from datetime import datetime
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from trunkline.v1.alerts_pb2 import Alert
from trunkline.v1.gateway_service_pb2 import EndpointHealth
from trunkline_server.state.alerts.reading import Evidence, Is, Key, Reading, state_of
from trunkline_server.state.budgets.purses import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trunkline.v1.gateway_service_pb2 import ProviderHealth
    from trunkline_server.state.alerts.scores import Scores
    from trunkline_server.state.alerts.tally import Failures, Pace
    from trunkline_server.state.budgets.purses import Spending

LOW, MEDIUM, HIGH, CRITICAL = Alert.SEVERITY_LOW, Alert.SEVERITY_MEDIUM, Alert.SEVERITY_HIGH, Alert.SEVERITY_CRITICAL
# Fewer attempts, answers or scores say nothing.
ENOUGH = 20
# The share of attempts that fail.
ERRORS, ERRORS_WELL = 0.1, 0.05
# How many times as long as usual, and by how many seconds at least.
SLOWER, SLOWER_WELL, LEAST_SLOWER = 2.0, 1.5, 0.2
# By how much scores fell, and how many standard errors of the difference that is.
DROP, DROP_WELL, CERTAIN = 0.1, 0.05, 3.0
# What will have been spent of a budget at the end of its period.
OVERRUN, OVERRUN_WELL = 1.0, 0.9
_TROUBLED = (EndpointHealth.CREDENTIAL_STATE_REFUSED, EndpointHealth.CREDENTIAL_STATE_QUOTA)
_DAY = 86400.0


class Age(NamedTuple):
    """How long a provider's key has been in use here, in seconds."""

    provider: str
    # How it is shown, without any of its characters.
    credential: str
    seconds: float


def error_rates(failures: Iterable[Failures]) -> Iterator[Reading]:
    """Of each provider that was asked often enough."""
    for each in failures:
        if each.attempts < ENOUGH:
            continue
        rate = each.failed / each.attempts
        yield Reading(
            Key(Alert.KIND_ERROR_RATE, each.provider),
            state_of(rate, ERRORS, ERRORS_WELL),
            _grade(rate, MEDIUM, (0.25, HIGH), (0.5, CRITICAL)),
            f"{each.failed} of {each.attempts} attempts at {each.provider} failed in the last five minutes",
            f"see its recent errors: trunkline health --providers; trunkline providers disable {each.provider} takes "
            "it out of routing",
            (Evidence("error_rate", rate), Evidence("attempts", each.attempts), Evidence("failed", each.failed)),
        )


def latencies(paces: Iterable[Pace]) -> Iterator[Reading]:
    """Of each model the worse of what is streamed and what is not."""
    found: dict[str, tuple[float, Reading]] = {}
    for pace in paces:
        if min(pace.answers, pace.usual_answers) < ENOUGH:
            continue
        ratio = pace.now / pace.usual if pace.now - pace.usual >= LEAST_SLOWER else 1.0
        if pace.model not in found or ratio > found[pace.model][0]:
            found[pace.model] = ratio, _latency(pace, ratio)
    yield from (reading for _, reading in found.values())


def _latency(pace: Pace, ratio: float) -> Reading:
    what = "first tokens" if pace.streamed else "whole answers"
    return Reading(
        Key(Alert.KIND_LATENCY, pace.model),
        state_of(ratio, SLOWER, SLOWER_WELL),
        _grade(ratio, MEDIUM, (4.0, HIGH), (8.0, CRITICAL)),
        f"{what} of {pace.model} take {pace.now:.2f} s, {ratio:.1f} times as long as in the hour before",
        "see the provider's status page; another strategy goes round it: trunkline strategy set latency_optimized",
        (
            Evidence("median_now", pace.now, "s"),
            Evidence("median_usual", pace.usual, "s"),
            Evidence("answers", pace.answers),
            Evidence("answers_usual", pace.usual_answers),
        ),
    )


def outages(providers: Iterable[ProviderHealth]) -> Iterator[Reading]:
    """Of each provider that has endpoints: none of them lets calls through."""
    for each in providers:
        circuits = [endpoint.circuit for endpoint in each.endpoints]
        if not circuits:
            continue
        yield Reading(
            Key(Alert.KIND_PROVIDER_OUTAGE, each.provider),
            _circuits(circuits),
            CRITICAL,
            f"{each.provider} failed too often: none of its {len(circuits)} endpoints is asked at present",
            f"see its recent errors and its status page: trunkline health --providers; fallbacks are asked in place of "
            f"{each.provider}, where there are any",
            (Evidence("endpoints", len(circuits)), Evidence("open", circuits.count(EndpointHealth.CIRCUIT_OPEN))),
        )


def _circuits(found: Sequence[EndpointHealth.Circuit.ValueType]) -> Is:
    """One that is half open has yet to show that it is well."""
    if all(circuit == EndpointHealth.CIRCUIT_OPEN for circuit in found):
        return Is.BAD
    return Is.WELL if EndpointHealth.CIRCUIT_CLOSED in found else Is.BETWEEN


def credentials(providers: Iterable[ProviderHealth]) -> Iterator[Reading]:
    """Of each provider that has credentials of which something is known."""
    for each in providers:
        states = [endpoint.credential_state for endpoint in each.endpoints if endpoint.credential]
        refused = states.count(EndpointHealth.CREDENTIAL_STATE_REFUSED)
        empty = states.count(EndpointHealth.CREDENTIAL_STATE_QUOTA)
        known = [state for state in states if state in (*_TROUBLED, EndpointHealth.CREDENTIAL_STATE_VALID)]
        if known:
            yield _credentials(each.provider, len(states), refused, empty)


def _credentials(provider: str, count: int, refused: int, empty: int) -> Reading:
    trouble = refused + empty
    return Reading(
        Key(Alert.KIND_CREDENTIAL, provider),
        Is.BAD if trouble else Is.WELL,
        HIGH if trouble == count else MEDIUM,
        f"of {count} credentials of {provider}, {refused} are refused and {empty} have no quota left",
        f"see which: trunkline providers list {provider}; set others, or see to the account, then: "
        f"trunkline providers validate {provider}",
        (Evidence("credentials", count), Evidence("refused", refused), Evidence("without_quota", empty)),
    )


def ages(found: Iterable[Age], rotation: float) -> Iterator[Reading]:
    """Of each provider the oldest of its keys, which may be in use for `rotation` seconds."""
    oldest: dict[str, Age] = {}
    for each in found:
        if each.provider not in oldest or each.seconds > oldest[each.provider].seconds:
            oldest[each.provider] = each
    for provider, age in oldest.items():
        share, days = age.seconds / rotation, age.seconds / _DAY
        yield Reading(
            Key(Alert.KIND_CREDENTIAL_AGE, provider),
            Is.BAD if share >= 1 else Is.WELL,
            _grade(share, LOW, (1.25, MEDIUM), (2.0, HIGH)),
            f"{age.credential} of {provider} is in use here for {days:.0f} days; {rotation / _DAY:.0f} are allowed",
            "make another key at the provider, put it in the place of this one, and revoke this one there",
            (Evidence("age", age.seconds, "s"), Evidence("allowed", rotation, "s")),
        )


def qualities(found: Iterable[Scores]) -> Iterator[Reading]:
    """Of each model and metric that was scored often enough, in the last day and in the week before."""
    for each in found:
        if min(each.lately.n, each.before.n) < ENOUGH:
            continue
        drop = each.before.mean - each.lately.mean
        error = sqrt(each.lately.variance / each.lately.n + each.before.variance / each.before.n)
        state = state_of(drop, DROP, DROP_WELL)
        yield Reading(
            Key(Alert.KIND_QUALITY, f"{each.model} {each.metric}"),
            Is.BETWEEN if state is Is.BAD and drop < CERTAIN * error else state,
            _grade(drop, MEDIUM, (0.2, HIGH), (0.4, CRITICAL)),
            f"scores of {each.model} ({each.metric}) fell from {each.before.mean:.2f} in the week before to "
            f"{each.lately.mean:.2f} in the last day",
            "look at calls with low scores; see whether the provider changed the model, or you your prompts",
            (
                Evidence("mean_lately", each.lately.mean),
                Evidence("mean_before", each.before.mean),
                Evidence("scores_lately", each.lately.n),
                Evidence("scores_before", each.before.n),
            ),
        )


def budgets(found: Iterable[Spending], now: int) -> Iterator[Reading]:
    """Of each account how much is spent; and of those with an end, where that leads to. `now` is in microseconds."""
    for each in found:
        yield _budget(each, now)
        if each.account.renews is not None:
            yield _overrun(each, now)


def _budget(each: Spending, now: int) -> Reading:
    account, (told, much, all_) = each.account, STEPS
    is_out = account.hard and (each.share >= all_ or (each.refuses and each.share >= told))
    severity = CRITICAL if is_out else _grade(each.share, LOW, (much, MEDIUM), (all_, HIGH))
    return Reading(
        Key(Alert.KIND_BUDGET, each.subject),
        Is.BAD if each.share >= told else Is.WELL,
        severity,
        f"{each.share:.0%} of budget {each.subject} is spent: {_usd(each.spent)} of {_usd(account.limit)} USD"
        f"{', and calls are refused' if is_out else ''}",
        _remedy(each),
        _evidence(each, now),
        each.workspace,
        each.key,
        at_once=True,
    )


def _overrun(each: Spending, now: int) -> Reading:
    account = each.account
    projected = account.projected(each.spent, now) or 0
    ratio = projected / account.limit if account.limit else 1.0
    state = state_of(ratio, OVERRUN, OVERRUN_WELL)
    return Reading(
        Key(Alert.KIND_BUDGET_OVERRUN, each.subject),
        # One that is spent has no future: that it has is told already.
        Is.BETWEEN if each.share >= 1 else state,
        _grade(ratio, LOW, (1.25, MEDIUM), (2.0, HIGH)),
        f"{_usd(projected)} USD of budget {each.subject} will be spent by {_end(each)}, at "
        f"{_usd(account.burn_rate(each.spent, now) or 0)} USD an hour; it has {_usd(account.limit)}",
        _remedy(each),
        _evidence(each, now),
        each.workspace,
        each.key,
    )


def _remedy(each: Spending) -> str:
    name, renews = each.account.budget, each.account.renews
    end = f" until {_end(each)}" if renews is not None else ""
    hard = (
        f"at its end calls are refused{end}" if each.account.hard else "it refuses nothing, and prefers cheaper models"
    )
    return (
        f"{hard}; what it goes to: trunkline usage --by workspace,model; what would be cheaper: trunkline insights; "
        f"or raise budgets.{name}.limit"
    )


def _end(each: Spending) -> str:
    ends = datetime.fromtimestamp((each.account.renews or 0) // 10**6, ZoneInfo(each.time_zone))
    return f"{ends:%Y-%m-%d %H:%M} {each.time_zone}"


def _evidence(each: Spending, now: int) -> tuple[Evidence, ...]:
    account = each.account
    rate, projected = account.burn_rate(each.spent, now), account.projected(each.spent, now)
    return (
        Evidence("spent", each.spent, "nano_usd"),
        Evidence("limit", account.limit, "nano_usd"),
        Evidence("share", each.share),
        *(() if rate is None else (Evidence("spent_an_hour", rate, "nano_usd"),)),
        *(() if projected is None else (Evidence("projected", projected, "nano_usd"),)),
    )


def _usd(nano: int) -> str:
    return f"{nano / 1e9:.2f}" if nano >= 10**9 else f"{nano / 1e9:.6f}"


def _grade(
    value: float, severity: Alert.Severity.ValueType, *steps: tuple[float, Alert.Severity.ValueType]
) -> Alert.Severity.ValueType:
    """The severity of the last step that the value reaches."""
    for least, worse in steps:
        if value >= least:
            severity = worse
    return severity
