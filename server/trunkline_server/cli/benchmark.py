"""`trunkline benchmark`."""

from typing import Annotated

from typer import Argument, Option

from trunkline_server import config
from trunkline_server.cli.options import ConfigFile


def benchmark(
    targets: Annotated[list[str], Argument(metavar="TARGET...", help="Models, aliases or providers.")],
    *,
    config_file: ConfigFile = None,
    rounds: Annotated[
        int, Option(metavar="N", min=1, max=100, help="How often each of the three prompts is sent.")
    ] = 3,
    keep: Annotated[bool, Option("--keep/--no-keep", help="Keep what was found for `trunkline serve`.")] = True,
) -> None:
    """Measure how fast models are: the first token, tokens a second, and what the first call takes longer than others.

    Three fixed prompts are sent to each, one after the other, by a gateway of its own with this configuration: calls
    cost what they cost, and are in no ledger. What is found is kept in measured.yaml in the user's data folder, and
    `trunkline serve` takes scores of speed from there.
    """
    from trunkline_server.cli.benchmarking import measure  # noqa: PLC0415 - see cli/gateway.py

    settings = config.load(config.find_path(explicit=config_file))
    measure(settings, targets, rounds, config.data_folder() if keep else None)
