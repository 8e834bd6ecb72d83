"""`trunkline health` and `trunkline models`: what a gateway tells about itself."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

from google.protobuf.timestamp_pb2 import Timestamp
from typer import Option

from trunkline.v1.call_pb2 import Outcome
from trunkline.v1.gateway_service_pb2 import (
    EndpointHealth,
    HealthCheckResponse,
    LedgerHealth,
    ProviderHealth,
)
from trunkline_server.cli.connection import PATIENCE, Connection, calling
from trunkline_server.cli.failures import ExitCode
from trunkline_server.cli.options import AsJson
from trunkline_server.cli.terminal import print_json, print_line, print_table
from trunkline_server.spans import seconds

State = HealthCheckResponse.State
# Seconds that the gateway takes for probes, at most: of credentials, and of models.
PROBE_TIME = 10.0
MODELS_TIME = 60.0
WORKS = (HealthCheckResponse.STATE_SERVING, HealthCheckResponse.STATE_DEGRADED)


@calling
def health(
    connection: Connection,
    *,
    as_json: AsJson = False,
    providers: Annotated[bool, Option("--providers", help="Tell of each provider, too.")] = False,
    probe: Annotated[bool, Option("--probe", help="Ask each provider about its credential now; free.")] = False,
    models: Annotated[
        bool, Option("--models", help="Ask each model, 64 at most, for one token now; costs money.")
    ] = False,
) -> int:
    """Tell how the gateway is. The exit code is 0 if it can be called, else 3."""
    patience = PATIENCE + (MODELS_TIME if models else PROBE_TIME if probe else 0.0)
    with connection.client(patience) as client:
        told = client.health(include_providers=providers or not as_json, probe=probe, probe_models=models)
    if as_json:
        print_json(told)
    else:
        _print_health(told)
        if providers or probe or models:
            _print_providers(told.providers)
        else:
            _print_missing(told)
    return ExitCode.OK if told.state in WORKS else ExitCode.UNAVAILABLE


def _print_health(told: HealthCheckResponse) -> None:
    up = time.time() - told.start_time.ToNanoseconds() / 1e9
    about = f"trunkline {told.version}, up {_span(up)}, configuration {told.config_version}"
    print_line(f"{state_name(told.state)}: {about}", style="green" if told.state in WORKS else "red")
    if problems := "; ".join(_ledger_problems(told.ledger)):
        print_line(f"ledger: {problems}", style="red")
    if why := told.limits.failing_reason:
        since = ago(told.limits.failing_since_time)
        print_line(f"limits: each gateway holds callers to its part of them since {since}: {why}", style="red")


def _print_missing(told: HealthCheckResponse) -> None:
    """Who cannot be called, if that is why the gateway is not as it should be."""
    down = [each.provider for each in told.providers if each.state == HealthCheckResponse.STATE_NOT_SERVING]
    if down and told.state != HealthCheckResponse.STATE_SERVING:
        print_line(f"cannot be called: {', '.join(down)}; why: --providers", style="red")


def _print_providers(told: Sequence[ProviderHealth]) -> None:
    print_table(("provider", "state", "last answer", "last failure", "reason"), map(_provider_row, told))
    for columns, rows_of in _DETAILS:
        rows = [(provider.provider, *row) for provider in told for row in rows_of(provider)]
        if rows:
            print_line("")
            print_table(("provider", *columns), rows)


def _ledger_problems(ledger: LedgerHealth) -> Iterator[str]:
    if ledger.failing_reason:
        since = ago(ledger.failing_since_time)
        yield f"{ledger.queued_rows} rows wait, the first failure was {since}: {ledger.failing_reason}"
    if ledger.refused_rows:
        yield f"{ledger.refused_rows} rows are set aside in a file: the database refused them"
    if ledger.unrecorded_calls:
        yield f"{ledger.unrecorded_calls} refused calls were not written down"


def _provider_row(provider: ProviderHealth) -> tuple[str, ...]:
    success = ago(provider.last_success_time) if provider.HasField("last_success_time") else "-"
    failure = ago(provider.last_failure_time) if provider.HasField("last_failure_time") else "-"
    return provider.provider, state_name(provider.state), success, failure, provider.reason


def _endpoint_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    for each in provider.endpoints:
        state = EndpointHealth.CredentialState.Name(each.credential_state).removeprefix("CREDENTIAL_STATE_")
        checked = ago(each.credential_check_time) if each.HasField("credential_check_time") else "-"
        blocked = _ahead(each.blocked_until_time) if each.HasField("blocked_until_time") else "-"
        running = f"{each.in_flight} of {each.concurrency_limit}"
        why = each.credential_reason
        yield each.endpoint, each.credential or "-", state, checked, blocked, running, str(each.queue_depth), why


def _traffic_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    for each in provider.endpoints:
        circuit = EndpointHealth.Circuit.Name(each.circuit).removeprefix("CIRCUIT_").replace("_", "-")
        errors = f"{each.error_rate:.1%}" if each.HasField("error_rate") else "-"
        yield (
            each.credential or "-",
            circuit,
            str(each.circuit_opened_count),
            errors,
            *(
                f"{seconds(getattr(each, name)):.3f}" if each.HasField(name) else "-"
                for name in ("time_to_first_token_p50", "time_to_first_token_p95")
            ),
            f"{each.throttle_share:.0%}",
            *(
                ago(getattr(each, name)) if each.HasField(name) else "-"
                for name in ("last_success_time", "last_failure_time")
            ),
        )


def _kept_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    for each in provider.endpoints:
        for limit in each.kept_limits:
            yield each.credential or "-", limit.dimension, str(limit.remaining), str(limit.limit)


def _limit_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    for each in provider.endpoints:
        for limit in each.rate_limits:
            counts = (str(getattr(limit, name)) if limit.HasField(name) else "-" for name in ("remaining", "limit"))
            full = _ahead(limit.reset_time) if limit.HasField("reset_time") else "-"
            yield each.credential or "-", limit.dimension, *counts, full


def _error_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    for error in provider.recent_errors:
        status = str(error.provider_status or "-")
        yield ago(error.time), _outcome(error.outcome), status, error.call_id, error.provider_request_id or "-"


def _probe_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    for probe in provider.probes:
        took = f"{seconds(probe.duration):.3f}"
        yield probe.target.model or "-", probe.credential or "-", _outcome(probe.outcome), took


def _unprobed_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    if provider.unprobed_models:
        yield (str(provider.unprobed_models),)


def _status_rows(provider: ProviderHealth) -> Iterator[tuple[str, ...]]:
    if provider.status_url:
        yield (provider.status_url,)


# What is told of providers beside their states: columns, and the rows of each provider. Empty tables are left out.
_DETAILS: tuple[tuple[tuple[str, ...], Callable[[ProviderHealth], Iterator[tuple[str, ...]]]], ...] = (
    (("endpoint", "credential", "is", "checked", "blocked for", "running", "waiting", "why"), _endpoint_rows),
    (
        (
            "credential",
            "circuit",
            "opened",
            "errors in 1 min",
            "first token p50",
            "p95",
            "goes elsewhere",
            "last answer",
            "last failure",
        ),
        _traffic_rows,
    ),
    (("credential", "limit of", "left", "in all", "full in"), _limit_rows),
    (("credential", "held to", "left", "a minute"), _kept_rows),
    (("failed", "how", "status", "call", "provider's id"), _error_rows),
    (("probed model", "credential", "outcome", "seconds"), _probe_rows),
    (("models not asked, there are too many",), _unprobed_rows),
    (("tells how it is at",), _status_rows),
)


def _outcome(outcome: Outcome.ValueType) -> str:
    return Outcome.Name(outcome).removeprefix("OUTCOME_")


def state_name(state: State.ValueType) -> str:
    """The state as a person reads it."""
    return State.Name(state).removeprefix("STATE_")


def ago(when: Timestamp) -> str:
    """How long ago that was."""
    return f"{_span(time.time() - when.ToNanoseconds() / 1e9)} ago"


def _ahead(when: Timestamp) -> str:
    return _span(when.ToNanoseconds() / 1e9 - time.time())


def _span(length_of_time: float) -> str:
    """A span in its two largest units, as in 3 d 4 h."""
    parts, rest = [], max(0, int(length_of_time))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
