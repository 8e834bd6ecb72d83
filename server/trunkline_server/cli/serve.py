"""`trunkline serve`."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import structs
from typer import Option

from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.options import ConfigFile
from trunkline_server.cli.terminal import tell
from trunkline_server.config.check import Problem, problems_of
from trunkline_server.config.doors import door_problems
from trunkline_server.config.measured import with_measured
from trunkline_server.entry_points import extensions_of
from trunkline_server.settings import Settings
from trunkline_server.settings.limits import CallerLimits

_MOST_WORKERS = 256


def serve(
    config_file: ConfigFile = None,
    listen: Annotated[
        str,
        Option(metavar="HOST:PORT", help="Where to listen, in place of what the configuration says."),
    ] = "",
    workers: Annotated[
        int,
        Option(
            metavar="N",
            min=1,
            max=_MOST_WORKERS,
            help="So many processes behind the one port. Needs PostgreSQL, and Valkey where callers are limited.",
        ),
    ] = 1,
) -> None:
    """Run the gateway.

    On SIGTERM and Ctrl-C it takes no new calls and lets those that run come to their end; a second signal ends it at
    once. Logs are JSON lines on standard error.
    """
    path = config.find_path(explicit=config_file)
    settings = settings_of(path, listen)
    for warning in config.warnings_of(settings):
        tell("warning", warning)
    if workers > 1:
        _serve_with(workers, settings, path, listen)
        return
    from trunkline_server.cli.gateway import serve_until_signalled  # noqa: PLC0415 - see there

    serve_until_signalled(settings)


def settings_of(path: Path | None, listen: str) -> Settings:
    """The settings of a file, or of the environment alone, at another address if one is said. Raises ConfigError."""
    settings = with_measured(config.load(path), config.data_folder())
    return _listening_on(listen, settings) if listen else settings


def _listening_on(address: str, settings: Settings) -> Settings:
    """The settings with another address. Raises ConfigError if it is none."""
    moved = structs.replace(settings, server=structs.replace(settings.server, listen=address))
    if problems := [*problems_of(moved, extensions_of(moved).rows), *door_problems(moved, None)]:
        raise config.ConfigError(f"--listen {address}", problems)
    return moved


def _serve_with(workers: int, settings: Settings, path: Path | None, listen: str) -> None:
    """Raises ConfigError where workers would not share what they have to, and Failed."""
    from trunkline_server.cli.channel import Begin  # noqa: PLC0415 - only here
    from trunkline_server.cli.supervisor import serve_with_workers  # noqa: PLC0415 - only here

    if not hasattr(socket, "SO_REUSEPORT"):
        raise Failed(ExitCode.USAGE, "--workers needs a system on which processes can share a port, such as Linux")
    if problems := [*_unshared(settings)]:
        raise config.ConfigError(f"--workers {workers}: the configuration", problems)
    begin = Begin(0, workers, "", "", (), listen, announces=True, config=None)
    serve_with_workers(begin, None if path is None else path.read_bytes(), settings.server)


def _unshared(settings: Settings) -> Iterator[Problem]:
    """What would be counted by each worker for itself."""
    url = settings.ledger.url
    if url is None or not url.reveal().startswith("postgresql:"):
        yield Problem("ledger.url", "postgresql://...: workers share one ledger, with its budgets and keys")
    if settings.caller_limits != CallerLimits() and settings.valkey.url is None:
        yield Problem("valkey.url", "valkey://...: where workers count together what caller_limits limits")
