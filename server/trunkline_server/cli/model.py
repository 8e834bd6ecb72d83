"""`trunkline model`: the weights of the embedded model."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Typer

from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.terminal import is_terminal, tell
from trunkline_server.providers.weights import WeightsUnavailable, pull

commands = Typer(name="model", help="Look after the model that runs on this machine.")


@commands.callback()
def _group() -> None:
    """Keep `pull` a subcommand though it is the only one."""


@commands.command("pull")
def pull_command() -> None:
    """Fetch the weights of the embedded model if they are not here yet, and write where they are."""
    sys.stdout.write(f"{fetch_weights()}\n")


def fetch_weights() -> Path:
    """The file of the weights, fetched first if need be; progress goes to standard error. Raises Failed."""
    with _bar() if is_terminal(stderr=True) else _lines() as report:
        try:
            return pull(config.cache_folder(), report, config.environment())
        except WeightsUnavailable as unavailable:
            raise Failed(ExitCode.FAILED, str(unavailable)) from None


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Shows what it is called with, bytes so far and in all, as a bar; nothing before that."""
    columns = (TextColumn("fetching the model"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("")

    def report(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        progress.stop()


@contextmanager
def _lines() -> Iterator[Callable[[int, int], None]]:
    """Tells of each further quarter of the bytes in a line."""
    told = -1

    def report(done: int, total: int) -> None:
        nonlocal told
        quarter = 4 * done // max(total, 1)
        if quarter > told:
            told = quarter
            tell("", f"fetching the model: {25 * quarter}%")

    yield report
