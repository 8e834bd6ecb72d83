"""How models' ids are spelt: what people write differently and mean the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DATED = re.compile(r"-(latest|20\d{6}|20\d\d-\d\d-\d\d)$")


def plain(model: str) -> str:
    """A model's id without what people write differently: letters' case, dots and underscores, dates, "latest"."""
    return _DATED.sub("", re.sub(r"[._]", "-", model.lower()))


def by_spelling(models: Iterable[str]) -> Mapping[str, str]:
    """Which of these is meant by each plain spelling: the first without a date, else the newest."""
    found: dict[str, list[str]] = {}
    for model in models:
        found.setdefault(plain(model), []).append(model)
    return {name: next((id_ for id_ in ids if not _DATED.search(id_)), max(ids)) for name, ids in found.items()}
