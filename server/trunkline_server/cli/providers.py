"""`trunkline providers`: what operators see of providers and do with them while the gateway runs."""

from typing import Annotated

from typer import Argument, Option, Typer

from trunkline.v1.admin_service_pb2 import Discovery, Provider, SetProviderEnabledResponse
from trunkline.v1.call_pb2 import OUTCOME_SUCCESS, Outcome
from trunkline.v1.gateway_service_pb2 import EndpointHealth, ProviderHealth
from trunkline_client import AdminClient
from trunkline_server.cli.connection import DEFAULT_ADMIN_ADDRESS, PATIENCE, AdminAddress, ApiKey
from trunkline_server.cli.failures import ExitCode
from trunkline_server.cli.options import AsJson
from trunkline_server.cli.reports import PROBE_TIME, ago, state_name
from trunkline_server.cli.terminal import print_json, print_line, print_table

commands = Typer(name="providers", help="See the providers of a gateway, and switch them off and on.")

Named = Annotated[str, Argument(metavar="PROVIDER", help="The provider's name in the gateway's configuration.")]
OnlyOne = Annotated[str, Argument(metavar="[PROVIDER]", help="Only this provider.")]

_GOOD = EndpointHealth.CREDENTIAL_STATE_VALID


@commands.command("list")
def list_providers(
    provider: OnlyOne = "",
    *,
    as_json: AsJson = False,
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Tell of each provider: where and how it is, its credentials (masked), and how many models it has."""
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        told = client.providers(provider=provider)
    if as_json:
        print_json(told)
    else:
        columns = ("provider", "kind", "state", "models", "told its models", "credential", "base URL", "reason")
        print_table(columns, map(_row, told.providers))


@commands.command()
def validate(
    provider: OnlyOne = "",
    *,
    as_json: AsJson = False,
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> int:
    """Ask providers about their credentials now; free. The exit code is 1 unless all that were asked took them."""
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE + PROBE_TIME) as client:
        told = client.validate_credentials(provider=provider)
    if as_json:
        print_json(told)
    else:
        print_table(("provider", "credential", "is", "answer", "why"), map(_credential_row, told.providers))
    asked = [probe for each in told.providers for probe in each.probes]
    return ExitCode.OK if all(probe.outcome == OUTCOME_SUCCESS for probe in asked) else ExitCode.FAILED


@commands.command()
def enable(provider: Named, *, address: AdminAddress = DEFAULT_ADMIN_ADDRESS, api_key: ApiKey = "") -> None:
    """Put a provider back into routing."""
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        _tell(client.set_provider_enabled(provider, enabled=True))


@commands.command()
def disable(
    provider: Named,
    *,
    reason: Annotated[str, Option(metavar="TEXT", help="Why; shown to those whose calls meet it.")] = "",
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Take a provider out of routing until it is enabled or the gateway starts again. Calls that run go on."""
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        _tell(client.set_provider_enabled(provider, enabled=False, reason=reason))


def _tell(told: SetProviderEnabledResponse) -> None:
    is_ = "in routing" if told.provider.enabled else "out of routing"
    print_line(f"{told.provider.name} is {is_}, {told.lasts}{'' if told.changed else ' (nothing has changed)'}")


def _row(provider: Provider) -> tuple[str, ...]:
    state = state_name(provider.health.state) if provider.enabled else "DISABLED"
    there = sum(1 for model in provider.models if not model.unavailable_reason)
    credentials = ", ".join(each.credential for each in provider.health.endpoints if each.credential)
    told = _told(provider.discovery) if provider.HasField("discovery") else "-"
    reason = provider.disabled_reason or provider.health.reason
    return (
        provider.name,
        provider.kind,
        state,
        f"{there} of {len(provider.models)}",
        told,
        credentials or "-",
        provider.base_url or "-",
        reason,
    )


def _told(discovery: Discovery) -> str:
    when = ago(discovery.success_time) if discovery.HasField("success_time") else "never"
    return f"{when}; {discovery.reason}" if discovery.reason else when


def _credential_row(provider: ProviderHealth) -> tuple[str, ...]:
    endpoints = [each for each in provider.endpoints if each.credential] or list(provider.endpoints)
    states = (EndpointHealth.CredentialState.Name(each.credential_state) for each in endpoints)
    answers = (Outcome.Name(probe.outcome).removeprefix("OUTCOME_") for probe in provider.probes)
    return (
        provider.provider,
        ", ".join(each.credential for each in endpoints) or "-",
        ", ".join(state.removeprefix("CREDENTIAL_STATE_") for state in states) or "-",
        ", ".join(answers) or "not asked",
        "; ".join(each.credential_reason for each in endpoints if each.credential_state != _GOOD),
    )
