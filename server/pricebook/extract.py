"""Writes the part of litellm's table that the tests use: python -m pricebook.extract WHEEL FILE.

That is every model on which the book and the table disagree, and every tenth of the others that both know; of each only
its prices. The table is Copyright (c) 2023 Berri AI, under the MIT licence, which the file carries.
"""

from __future__ import annotations

import json
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pricebook.check import DECIDED, compare, read_table, target_of
from trunkline_server.prices.book import PriceBook

if TYPE_CHECKING:
    from decimal import Decimal

EVERY = 10


def main(wheel: Path, file: Path) -> None:
    """Write the extract."""
    table = read_table(wheel)
    when = int(tomllib.loads(DECIDED.read_text())["as_of"].timestamp())
    disputed = {line.split(": ")[0] for line in compare(table, when).disagreements}
    known = {name: "/".join(target) for name, theirs in table.items() if (target := _known(name, theirs, when))}
    agreed = [name for name, target in known.items() if target not in disputed]
    chosen = {*agreed[::EVERY], *(name for name, target in known.items() if target in disputed)}
    kept = {name: {key: value for key, value in table[name].items() if _is_needed(key)} for name in sorted(chosen)}
    lines = [f"{json.dumps(name)}: {json.dumps(each, default=_number)}" for name, each in kept.items()]
    lines.insert(0, f'"": {json.dumps({"licence": _licence(wheel)})}')
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _known(name: str, theirs: dict[str, Any], when: int) -> tuple[str, str] | None:
    target = target_of(name, theirs)
    return target if target and PriceBook().find(*target, when) else None


def _is_needed(key: str) -> bool:
    plain = not key.endswith(("_batches", "_priority", "_flex", "_ultrafast"))
    return key in ("litellm_provider", "mode") or ("token" in key and "cost" in key and plain)


def _number(value: Decimal) -> float:
    return float(value)


def _licence(wheel: Path) -> str:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
    return archive.read(name).decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
