"""`trunkline serve`."""

from typing import Annotated

from msgspec import structs
from typer import Option

from trunkline_server import config
from trunkline_server.cli.options import ConfigFile
from trunkline_server.cli.terminal import tell
from trunkline_server.config_check import problems_of
from trunkline_server.config_doors import door_problems
from trunkline_server.config_measured import with_measured
from trunkline_server.config_tasks import warnings_of
from trunkline_server.entry_points import extensions_of
from trunkline_server.settings import Settings


def serve(
    config_file: ConfigFile = None,
    listen: Annotated[
        str,
        Option(metavar="HOST:PORT", help="Where to listen, in place of what the configuration says."),
    ] = "",
) -> None:
    """Run the gateway.

    On SIGTERM and Ctrl-C it takes no new calls and lets those that run come to their end; a second signal ends it at
    once. Logs are JSON lines on standard error.
    """
    from trunkline_server.cli.gateway import serve_until_signalled  # noqa: PLC0415 - see there

    settings = with_measured(config.load(config.find_path(explicit=config_file)), config.data_folder())
    for warning in warnings_of(settings, extensions_of(settings).rows):
        tell("warning", warning)
    serve_until_signalled(_listening_on(listen, settings) if listen else settings)


def _listening_on(address: str, settings: Settings) -> Settings:
    """The settings with another address. Raises ConfigError if it is none."""
    moved = structs.replace(settings, server=structs.replace(settings.server, listen=address))
    if problems := [*problems_of(moved, extensions_of(moved).rows), *door_problems(moved, None)]:
        raise config.ConfigError(f"--listen {address}", problems)
    return moved
