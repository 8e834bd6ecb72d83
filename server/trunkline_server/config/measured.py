"""What `trunkline benchmark` measured: kept in a file of its own, beside the ledger, from one time to the next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import yaml
from msgspec import inspect, structs

from trunkline_server.config.check import Walk, read_seconds
from trunkline_server.config.file import read_tree
from trunkline_server.sections import Seconds
from trunkline_server.settings.models import MeasuredSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trunkline_server.settings import Settings

FILE_NAME = "measured.yaml"
_HEAD = (
    "# How fast `trunkline benchmark` found models to be: seconds to the first token, and tokens a second after it.\n"
)


def with_measured(settings: Settings, data: Path) -> Settings:
    """The settings with what was measured of models of their providers. What they say themselves stands."""
    found = {name: each for name, each in read_measured(data).items() if name.partition("/")[0] in settings.providers}
    return structs.replace(settings, measured={**found, **settings.measured}) if found else settings


def read_measured(data: Path) -> Mapping[str, MeasuredSettings]:
    """What was measured, by "provider/model". What cannot be read was not measured."""
    path = data / FILE_NAME
    tree = read_tree(path, []) if path.is_file() else None
    kind = inspect.type_info(dict[str, MeasuredSettings])
    found = Walk({Seconds: read_seconds}).convert("", kind, tree or {})
    return found if isinstance(found, dict) else {}


def write_measured(data: Path, found: Mapping[str, MeasuredSettings]) -> Path:
    """Keep this beside what was measured of other models, and tell where. Raises OSError."""
    kept = {**read_measured(data), **found}
    tree = {
        name: {"first_token": round(float(each.first_token), 4), "tokens_per_second": round(each.tokens_per_second, 2)}
        for name, each in sorted(kept.items())
    }
    data.mkdir(parents=True, exist_ok=True)
    path = data / FILE_NAME
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(_HEAD + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    fresh.replace(path)
    return path
