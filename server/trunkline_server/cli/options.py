"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option


def _seconds(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1e6:
        raise BadParameter("say a number of seconds above 0")
    return value


def _tokens(value: int | None) -> int | None:
    if value is not None and not 0 < value < 2**31:
        raise BadParameter("say a number of tokens above 0")
    return value


Timeout = Annotated[float | None, Option(metavar="S", callback=_seconds, help="Seconds that the whole call may take.")]
MaxTokens = Annotated[int | None, Option(metavar="N", callback=_tokens, help="The answer's longest length in tokens.")]
AsJson = Annotated[bool, Option("--json", help="Write JSON, as the contract has it.")]
ConfigFile = Annotated[
    Path | None,
    Option(
        "--config",
        metavar="FILE",
        help="Default: what TRUNKLINE_CONFIG names, else trunkline.yaml in this folder.",
    ),
]
