"""`trunkline strategy` and `trunkline route`: how targets are chosen, and whom a call would go to."""

from typing import Annotated

from typer import Argument, BadParameter, Option, Typer

from trunkline.v1.call_pb2 import Complexity, Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline.v1.model_service_pb2 import PlannedTarget, PlanRouteResponse
from trunkline_client import AdminClient
from trunkline_server.cli.connection import DEFAULT_ADMIN_ADDRESS, PATIENCE, AdminAddress, ApiKey, Connection, calling
from trunkline_server.cli.models import MinQuality, nano_usd
from trunkline_server.cli.options import AsJson, MaxTokens
from trunkline_server.cli.terminal import print_json, print_line, print_table, tell

commands = Typer(name="strategy", help="Say how a gateway chooses the targets of calls that name none.")

Workspace = Annotated[str, Option(metavar="W", help="Only for calls of this workspace.")]
OfTask = Annotated[str, Option(metavar="T", help="Only for calls of this task.")]


@commands.command("set")
def set_strategy(
    strategy: Annotated[str, Argument(metavar="STRATEGY", help="balanced, cost_optimized, enterprise, ...")],
    *,
    workspace: Workspace = "",
    task: OfTask = "",
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Choose by this strategy from the next call on, until it is reset or the gateway starts again."""
    _set(strategy, workspace, task, address, api_key)


@commands.command()
def reset(
    *, workspace: Workspace = "", task: OfTask = "", address: AdminAddress = DEFAULT_ADMIN_ADDRESS, api_key: ApiKey = ""
) -> None:
    """Choose as the configuration says, from the next call on."""
    _set("", workspace, task, address, api_key)


def _set(strategy: str, workspace: str, task: str, address: str, api_key: str) -> None:
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        told = client.set_strategy(strategy, workspace=workspace, task=task)
    whose = f"task {task}" if task else f"workspace {workspace}" if workspace else "gateway"
    before = f"; before: {told.previous or 'none of its own'}" if told.changed else " (nothing has changed)"
    print_line(f"{whose}: {told.strategy or 'none of its own'}, {told.lasts}{before}")


@calling
def route(  # noqa: PLR0913 - each is an option
    connection: Connection,
    prompt: Annotated[str, Argument(metavar="PROMPT", help="What would be asked.")],
    *,
    as_json: AsJson = False,
    model: Annotated[str, Option(metavar="M", help="As of generate. Default: whoever the strategy chooses.")] = "",
    strategy: Annotated[str, Option(metavar="S", help="balanced, cost_optimized, ... Default: the gateway's.")] = "",
    task: Annotated[str, Option(metavar="T", help="What the call is for.")] = "",
    agent: Annotated[str, Option(metavar="A", help="Who calls: an agent of the configuration.")] = "",
    chain: Annotated[str, Option(metavar="C", help="A chain of the configuration.")] = "",
    max_tokens: MaxTokens = None,
    max_cost: Annotated[str, Option(metavar="USD", help="Only where the call is expected to cost at most this.")] = "",
    min_quality: MinQuality = None,
    local: Annotated[bool, Option("--local", help="Only models that run on the gateway's own machine.")] = False,
) -> None:
    """Show whom a call would go to and why, and who would not be asked. Nothing is sent to a provider."""
    routing = Routing(strategy=strategy, task=task, agent=agent, chain=chain, local_only=local, min_quality=min_quality)
    if max_cost:
        routing.max_cost_nano_usd = nano_usd(max_cost)
    request = GenerateRequest(model=model, prompt=prompt, routing=routing)
    if max_tokens is not None:
        request.config.max_output_tokens = max_tokens
    if not prompt.strip():
        raise BadParameter("is empty", param_hint="PROMPT")
    with connection.client(PATIENCE) as client:
        told = client.plan_route(request)
    if as_json:
        print_json(told)
    else:
        _tell(told)


def _tell(told: PlanRouteResponse) -> None:
    about = "" if told.input_tokens_exact else "about "
    hard = Complexity.Name(told.complexity).removeprefix("COMPLEXITY_").lower()
    arm = f", arm {told.experiment_arm}" if told.experiment_arm else ""
    size = f"{about}{told.input_tokens} tokens in, {told.expected_output_tokens} out"
    print_line(f"strategy {told.strategy}{arm}; {hard}, {size}")
    terms = list(told.weights)
    if terms:
        print_line("weights: " + ", ".join(f"{name} {told.weights[name]:.2f}" for name in sorted(terms)))
    print_table(("", "target", "score", "terms", "cost USD", "first token", "whole answer"), _rows(told))
    for warning in told.warnings:
        tell("warning", f"{warning.field}: {warning.message}")
    if told.removed:
        print_line("not asked:")
        print_table(("target", "removed by", "why"), ((each.id, each.constraint, each.detail) for each in told.removed))


def _rows(told: PlanRouteResponse) -> list[tuple[str, ...]]:
    return [(str(place), *_row(each)) for place, each in enumerate(told.targets, 1)]


def _row(target: PlannedTarget) -> tuple[str, ...]:
    cost = f"{target.expected_cost_nano_usd / 1e9:.6f}" if target.HasField("expected_cost_nano_usd") else "unknown"
    times = (
        f"{getattr(target, name).ToNanoseconds() / 1e9:.3f} s" if target.HasField(name) else "unknown"
        for name in ("expected_time_to_first_token", "expected_total_time")
    )
    return (
        target.id,
        f"{target.score:.3f}" if target.terms else "-",
        ", ".join(f"{name} {value:.2f}" for name, value in sorted(target.terms.items())) or "-",
        cost,
        *times,
    )
