"""`trunkline budgets`: what may still be spent."""

from datetime import UTC

from trunkline.v1.gateway_service_pb2 import BudgetStatus
from trunkline_server.cli.connection import PATIENCE, Connection, calling
from trunkline_server.cli.figures import about, percent, usd
from trunkline_server.cli.options import AsJson
from trunkline_server.cli.terminal import harmless, print_json, print_table

_HEAD = ("budget", "of", "kind", "limit", "spent", "held", "left", "used", "USD an hour", "by its end", "renews")


@calling
def budgets(connection: Connection, *, as_json: AsJson = False) -> None:
    """Tell how budgets are in their present periods, in USD: what was spent, what is held for calls on their way,
    and what will have been spent when the period ends if that goes on.

    A gateway key of a caller shows the budgets of its workspace and its own, others all.
    """
    with connection.client(PATIENCE) as client:
        told = client.usage(include_budgets=True)
    if as_json:
        for status in told.budgets:
            print_json(status)
    else:
        print_table(_HEAD, [*map(_cells, told.budgets)])


def _cells(status: BudgetStatus) -> tuple[str, ...]:
    limit, spent, held = status.limit_nano_usd, status.spent_nano_usd, status.held_nano_usd
    rate = about(status.burn_rate_nano_usd) if status.HasField("burn_rate_nano_usd") else "-"
    projected = about(status.projected_nano_usd) if status.HasField("projected_nano_usd") else "-"
    renews = (
        status.renew_time.ToDatetime(UTC).isoformat(timespec="minutes") if status.HasField("renew_time") else "never"
    )
    return (
        status.budget,
        harmless(", ".join(status.scope)) or "-",
        "hard" if status.hard else "soft",
        usd(limit),
        usd(spent),
        usd(held),
        usd(limit - spent - held),
        percent(spent / limit) if limit else "-",
        rate,
        projected,
        renews,
    )
