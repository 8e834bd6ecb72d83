"""Reads the price data of genai-prices (MIT) out of its wheel, as plain values: none of its code runs."""

from __future__ import annotations

import ast
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DATA = "genai_prices/data.py"


@dataclass(frozen=True)
class Made:
    """A call of the data file's, unmade: ModelPrice(input_mtok=Decimal('3'))."""

    name: str
    fields: dict[str, Any]

    def get(self, field: str) -> Any:
        """What stands for `field`; None if nothing does."""
        return self.fields.get(field)


def read_providers(wheel: Path) -> list[Made]:
    """The providers, as they stand in the file."""
    tree = ast.parse(zipfile.ZipFile(wheel).read(DATA))
    providers: list[Made] = _value(tree.body[-1].value)  # type: ignore[attr-defined]
    return providers


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [_value(item) for item in node.elts]
        case ast.Dict():
            return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
        case ast.Call(func=ast.Name(id=name)):
            return _made(name, node)
        case ast.Call(func=ast.Attribute(attr="date")):
            return date(*map(_value, node.args))
        case ast.Call(func=ast.Attribute(attr="time")):
            return time(*map(_value, node.args))
    raise ValueError(f"{DATA}, line {node.lineno}: not data")


def _made(name: str, node: ast.Call) -> Any:
    if name == "Decimal":
        return Decimal(_value(node.args[0]))
    return Made(name, {keyword.arg or "": _value(keyword.value) for keyword in node.keywords})


def seconds_of(day: date) -> int:
    """Midnight UTC at which `day` begins, in seconds since 1970."""
    return int(datetime.combine(day, time(), UTC).timestamp())
