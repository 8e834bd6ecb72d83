"""`trunkline demo`."""

from typing import Annotated

from typer import Argument, Option

from trunkline_server.cli.model import fetch_weights
from trunkline_server.cli.terminal import tell


def demo(
    prompt: Annotated[str, Argument(help="What to ask.")] = "Tell me about the Moon in two sentences.",
    *,
    port: Annotated[int, Option(metavar="N", min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 0,
    keep: Annotated[bool, Option("--keep", help="Leave the gateway running after the answer, until Ctrl-C.")] = False,
) -> None:
    """Stream an answer of a small model that runs on this machine: no key, no account, nothing to configure.

    The model is fetched if it is not here yet. A gateway is started on a port of its own and called over gRPC.
    """
    fetch_weights()
    tell("", "starting a gateway; its first call loads the model", style="dim")
    from trunkline_server.cli.demonstration import demonstrate  # noqa: PLC0415 - see cli/gateway.py

    demonstrate(prompt, port, keep=keep)
