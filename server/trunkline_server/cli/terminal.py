"""What the command writes: tables and colours for people, plain lines for programs.

rich decides what is a terminal, and honours NO_COLOR, FORCE_COLOR and TERM.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

_STYLES = {"error": "bold red", "warning": "yellow"}
# Line breaks and tabs stay; a carriage return before a line break is no loss.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}")
_CONTROLS |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


def is_terminal(*, stderr: bool = False) -> bool:
    """Whether a person reads standard output, or standard error."""
    return Console(stderr=stderr).is_terminal


def harmless(text: str) -> str:
    """Text that cannot move the cursor, clear the screen or retitle the window.

    Models and providers may say anything, and what they say is not the terminal's to obey.
    """
    return text.translate(_CONTROLS)


def tell(kind: str, message: str, more: Sequence[str] = (), *, style: str = "") -> None:
    """Write "kind: message" to standard error, and `more` indented under it. An empty kind is left out."""
    head = f"{kind}: " if kind else ""
    text = Text.assemble((head, _STYLES.get(kind, "")), (harmless("\n  ".join([message, *more])), style))
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)


def print_line(text: str, style: str = "") -> None:
    """Write a line to standard output."""
    Console(highlight=False).print(Text(harmless(text), style), soft_wrap=True)


def harmless_cell(text: str) -> str:
    """Text for CSV that a spreadsheet does not take for a formula."""
    return harmless(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to a terminal, else its lines with tabs between the cells."""
    console = Console(highlight=False)
    if not console.is_terminal:
        sys.stdout.writelines("\t".join(map(_cell, row)) + "\n" for row in (columns, *rows))
        return
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    console.print(table)


def _cell(text: str) -> str:
    return " ".join(harmless(text).split())


def print_json(message: Message) -> None:
    """Write a message as proto JSON: every field that has no presence, so that scripts find what is zero, too."""
    text = MessageToJson(message, always_print_fields_with_no_presence=True, ensure_ascii=False)
    sys.stdout.write((harmless(text) if is_terminal() else text) + "\n")
