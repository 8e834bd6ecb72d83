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
AsCsv = Annotated[bool, Option("--csv", help="Write CSV: all figures, money in USD.")]
ConfigFile = Annotated[
    Path | None,
    Option(
        "--config",
        metavar="FILE",
        help="Default: what TRUNKLINE_CONFIG names, else trunkline.yaml in this folder.",
    ),
]
By = Annotated[
    str,
    Option(metavar="NAMES", help="A line for each: provider,model,workspace,task,label:team,execution, ..."),
]
Since = Annotated[str, Option(metavar="SPAN", help="How far back: 90m, 24h, 7d, 4w. Default: a day.")]
From = Annotated[str, Option("--from", metavar="TIME", help="From when, in place of --since: 2026-11-28, ...")]
To = Annotated[str, Option(metavar="TIME", help="Until when, exclusive. Default: now.")]
Zone = Annotated[str, Option(metavar="NAME", help="The time zone: Europe/Berlin, ... Default: UTC.")]
Filters = Annotated[
    list[str] | None,
    Option("--filter", metavar="NAME=VALUE", help="Only these: provider=openai. Again for another value or name."),
]


def only_one(*, as_json: bool, as_csv: bool) -> None:
    """Raises BadParameter if both were said."""
    if as_json and as_csv:
        raise BadParameter("say --json or --csv, not both", param_hint="--csv")
