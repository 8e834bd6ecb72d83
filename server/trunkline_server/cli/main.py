"""The `trunkline` command."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

from typer import Context, Exit, Option, Typer, TyperException
from typer.main import get_command

from trunkline_client import TrunklineError
from trunkline_server import __version__
from trunkline_server.cli import calls, configuration, data, keys, model, models, providers, reports, strategy, usage
from trunkline_server.cli.alerts import alerts, insights
from trunkline_server.cli.audit import audit
from trunkline_server.cli.benchmark import benchmark
from trunkline_server.cli.budgets import budgets
from trunkline_server.cli.demo import demo
from trunkline_server.cli.experiments import experiments
from trunkline_server.cli.failures import ExitCode, Failed, failed_call
from trunkline_server.cli.feedback import feedback
from trunkline_server.cli.generate import generate
from trunkline_server.cli.serve import serve
from trunkline_server.cli.terminal import is_terminal, print_line
from trunkline_server.config import ConfigError

# \b keeps the lines as they are; neither kind of help shows it.
EPILOG = """\b
Exit codes:
  0    done
  1    failed for any other reason: a provider's fault, a taken address
  2    wrong usage, configuration or request
  3    unavailable: no connection, nobody can take the call, or its time was up
  4    the gateway refuses the caller's key, or does not allow the call
  5    the answer broke off: what was written is not the whole of it
  130  ended by Ctrl-C"""

app = Typer(name="trunkline", epilog=EPILOG, add_completion=False)
app.command()(serve)
app.command()(demo)
app.command()(generate)
app.command()(reports.health)
app.command()(models.models)
app.command()(models.recommend)
app.command()(benchmark)
app.command()(feedback)
app.command()(strategy.route)
app.command("calls")(calls.list_calls)
app.command("export")(calls.export)
app.command()(audit)
app.command()(budgets)
app.command()(alerts)
app.command()(insights)
app.command()(experiments)
app.add_typer(usage.commands)
app.add_typer(configuration.commands)
app.add_typer(keys.commands)
app.add_typer(model.commands)
app.add_typer(providers.commands)
app.add_typer(strategy.commands)
app.add_typer(data.commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(f"trunkline {__version__}")
        raise Exit


@app.callback(invoke_without_command=True)
def trunkline(
    context: Context,
    *,
    _version: Annotated[
        bool, Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve every LLM provider over one gRPC interface, and call it."""
    if context.invoked_subcommand is None:
        print_line(context.get_help())
        raise Exit(ExitCode.USAGE)


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code. What may be expected to fail is told in words, without a traceback."""
    app.rich_markup_mode = "rich" if is_terminal() else None
    try:
        _refuse_what_is_no_text(arguments)
        return get_command(app).main([*arguments], "trunkline", standalone_mode=False) or ExitCode.OK
    except Failed as failed:
        failure = failed
    except TrunklineError as error:
        failure = failed_call(error)
    except ConfigError as error:
        failure = Failed(ExitCode.USAGE, str(error))
    except TyperException as error:
        failure = _misuse(error)
    failure.tell()
    return failure.code


def _refuse_what_is_no_text(arguments: Sequence[str]) -> None:
    """Bytes that are no UTF-8 come as lone surrogates, which no message can carry."""
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        raise Failed(ExitCode.USAGE, "an argument is not UTF-8 text") from None


def _misuse(error: TyperException) -> Failed:
    context: Context | None = getattr(error, "ctx", None)
    more = [f"see: {context.command_path} --help"] if context else []
    return Failed(ExitCode.USAGE, error.format_message(), more)


def main() -> None:
    """The entry point. What the streams' encoding cannot say is shown as ?, as an answer may hold anything."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))
