"""`trunkline config`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typer import Argument, Typer

from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.terminal import print_line, print_table, tell
from trunkline_server.config.overlays import BUILT_IN, presets, text_of
from trunkline_server.entry_points import extensions_of
from trunkline_server.providers.table import configured
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.settings import ADMIN_LISTEN, Settings

_NEED = {"keys": "yes", "none": "no", "auto": "as soon as one was ever made"}

commands = Typer(name="config", help="Look at the configuration.")


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
    if settings.preset or settings.environment:
        print_line(f"preset: {settings.preset or 'none'}; environment: {settings.environment or 'none'}")
    print_line(f"default model: {settings.default_model or 'the first provider that can be called'}")
    print_table(("provider", "kind", "key", "default model", "base URL", "missing"), _providers(settings))
    if settings.aliases:
        print_table(("alias", "stands for"), settings.aliases.items())
    print_table(("task", "is asked of", "why"), _tasks(settings))
    for warning in config.warnings_of(settings):
        tell("warning", warning)


@commands.command("presets")
def show_presets(
    name: Annotated[str, Argument(metavar="NAME", help="Show this one's file: built_in is what is always there.")] = "",
) -> None:
    """List the presets, or show one: a file of the same kind as yours, which is put over it."""
    if not name:
        print_table(("preset", "what it is"), presets().items())
    elif name in (BUILT_IN, *presets()):
        sys.stdout.write(text_of(name))
    else:
        raise Failed(ExitCode.USAGE, f"no preset is called {name}: there are {', '.join((BUILT_IN, *presets()))}")


def _tasks(settings: Settings) -> Iterator[tuple[str, ...]]:
    for name, task in settings.tasks.items():
        chain = (f"chain {task.chain}",) if task.chain else ()
        yield name, ", ".join((*task.primary, *task.fallback, *chain)) or "whoever may be", task.criteria or "-"


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
