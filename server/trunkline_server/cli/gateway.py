"""A gateway in this process. Imported only by the commands that need one: it takes longer to import than to call."""

from __future__ import annotations

import gc
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvloop

from trunkline_server import __version__
from trunkline_server.app import OPEN, App, CannotStart
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.reports import WORKS
from trunkline_server.cli.signals import stop_on_signals
from trunkline_server.cli.terminal import is_terminal, tell
from trunkline_server.config import cache_folder, data_folder
from trunkline_server.logs import LINGER, build_log
from trunkline_server.rpc.server import AddressTaken
from trunkline_server.settings import ADMIN_LISTEN
from trunkline_server.state.certificates import CertificatesUnfit
from trunkline_server.state.identity.pepper import PepperUnfit
from trunkline_server.state.ledger.open import LedgerNotOpened
from trunkline_server.worker import ALONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trunkline_server.logs import Log
    from trunkline_server.settings import Settings
    from trunkline_server.worker import Worker

_NO_ADMIN = f"is not there, for {ADMIN_LISTEN} is taken: set server.admin_listen"


def serve_until_signalled(settings: Settings) -> None:
    """Run a gateway until SIGTERM or SIGINT, then drain it. Raises Failed if it cannot start."""
    uvloop.run(_serve(settings, build_log(linger=LINGER)))


async def _serve(settings: Settings, log: Log) -> None:
    asked_to_stop = stop_on_signals()
    async with started(settings, log, data_folder()) as app:
        await announce(settings, app, log)
        await asked_to_stop.wait()
        log.info("draining")
    log.info("stopped")


async def announce(settings: Settings, app: App, log: Log) -> None:
    """Tell where the gateway is and who gets in: a person in words, whoever reads logs in theirs."""
    address, admin = _address(settings, app), admin_address(settings, app)
    missing = not admin and settings.server.admin_listen is None
    if is_terminal(stderr=True):
        told = f"listens on {admin}: trunkline providers list" if admin else missing * _NO_ADMIN
        await _greet(app, address, told)
        return
    log.info("listening", address=address, admin=admin or None)
    if missing:
        log.warning("no_admin_service", taken=ADMIN_LISTEN, remedy="set server.admin_listen")
    if not await app.needs_keys():
        log.warning("no_key_needed", means=OPEN)


@asynccontextmanager
async def running(
    settings: Settings, log: Log, data: Path | None = None, *, inquires: bool = True
) -> AsyncIterator[str]:
    """A gateway that takes calls at the address that this yields; drained at the end. Raises Failed.

    What it keeps is in `data`, else in the user's data folder.
    """
    async with started(settings, log, data or data_folder(), inquires=inquires) as app:
        yield _address(settings, app)


@asynccontextmanager
async def started(
    settings: Settings, log: Log, data: Path, *, inquires: bool = True, worker: Worker = ALONE
) -> AsyncIterator[App]:
    """A gateway that takes calls, or one of its workers; drained at the end. Raises Failed.

    `inquires`: whether it asks its providers about keys and models, beside what it is called for.
    """
    app = App(settings, log, cache_folder(), data, validates=inquires, discovers=inquires, worker=worker)
    try:
        await app.start()
    except (AddressTaken, LedgerNotOpened) as refused:
        raise Failed(ExitCode.FAILED, str(refused)) from None
    except (CannotStart, CertificatesUnfit, PepperUnfit) as unfit:
        raise Failed(ExitCode.USAGE, str(unfit)) from None
    _spare_the_collector()
    _spare_the_generators()
    try:
        yield app
    finally:
        await app.stop()


def _address(settings: Settings, app: App) -> str:
    return f"{settings.server.listen.rpartition(':')[0]}:{app.port}"


def admin_address(settings: Settings, app: App) -> str:
    """Empty = there is no admin service."""
    listen = ADMIN_LISTEN if settings.server.admin_listen is None else settings.server.admin_listen
    return f"{listen.rpartition(':')[0]}:{app.admin_port}" if app.admin_port else ""


def _spare_the_collector() -> None:
    """Leave what is there from the start out of garbage collections, and collect less often (decisions/0004)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 200)


def _spare_the_generators() -> None:
    """Do not have the loop note each generator that begins: a call has ten, and who begins one closes it.

    The loop would only close those that are left when it ends; any that is forgotten before is closed as ever.
    """
    sys.set_asyncgen_hooks(firstiter=None)


async def _greet(app: App, address: str, admin: str) -> None:
    """Tell a person where the gateway is, who gets in, and which providers it can call."""
    tell("", f"Trunkline {__version__} listens on {address}", style="bold")
    if await app.needs_keys():
        tell("", "  calls need a gateway key, or a client certificate that names the caller")
    else:
        tell("", f"  no key is needed: {OPEN}", style="yellow")
    for provider in app.health().providers:
        works = provider.state in WORKS
        words = "can be called" if works else f"cannot be called: {provider.reason}"
        tell("", f"  {provider.provider}: {words}", style="green" if works else "yellow")
    if admin:
        tell("", f"The admin service {admin}")
    tell("", "Ctrl-C drains it, a second one ends it at once.")
