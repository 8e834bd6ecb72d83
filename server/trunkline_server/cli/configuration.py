"""`trunkline config`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typer import Argument, Typer

from trunkline_server import config
from trunkline_server.cli.terminal import print_line, print_table
from trunkline_server.entry_points import extensions_of
from trunkline_server.providers.table import configured
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.settings import ADMIN_LISTEN, Settings

_NEED = {"keys": "yes", "none": "no", "auto": "as soon as one was ever made"}

commands = Typer(name="config", help="Look at the configuration.")


@commands.callback()
def _group() -> None:
    """Keep `check` a subcommand though it is the only one."""


@commands.command()
def check(
    file: Annotated[
        Path | None,
        Argument(metavar="FILE", help="Default: what TRUNKLINE_CONFIG names, else trunkline.yaml in this folder."),
    ] = None,
) -> None:
    """Check a configuration as `serve` would load it, and sum it up. The exit code is 2 if anything is wrong."""
    path = config.find_path(explicit=file)
    settings = config.load(path)
    print_line(f"{path or 'The environment alone'}: right (configuration {config.version(settings)})", style="green")
    server = settings.server
    print_line(f"listens on: {server.listen}, {'with TLS' if server.tls else 'in the clear'}")
    print_line(f"calls need a key: {_NEED['keys' if server.needs_keys else server.auth]}")
    admin = server.admin_listen
    print_line(f"admin service: {f'{ADMIN_LISTEN}, if it is free' if admin is None else admin or 'none'}")
    print_line(f"default model: {settings.default_model or 'the first provider that can be called'}")
    print_table(("provider", "kind", "key", "default model", "base URL", "missing"), _providers(settings))
    if settings.aliases:
        print_table(("alias", "stands for"), settings.aliases.items())


def _providers(settings: Settings) -> Iterator[tuple[str, ...]]:
    rows = extensions_of(settings).rows
    offers = build_offers(settings, rows, {})
    for name, provider in settings.providers.items():
        key = "***" if provider.api_key else "-"
        base_url = configured(rows[provider.kind], provider).base_url or "-"
        if offer := offers.get(name):
            yield name, provider.kind, key, offer.default_model, base_url, offer.unavailable_reason or "-"
        else:
            yield name, provider.kind, key, "-", base_url, "it is not enabled"
