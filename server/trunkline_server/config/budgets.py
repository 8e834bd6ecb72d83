"""The budgets of a configuration: their money read exactly, and checked for what they mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trunkline_server.config.check import Problem, Unfit, did_you_mean, join, shown
from trunkline_server.config.tasks import everybody
from trunkline_server.routing.names import find_targets, is_known, remedy
from trunkline_server.settings.budgets import EACH, Money

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.settings.budgets import BudgetSettings

_NOBODY = "perhaps it is about no call, for nobody is known to answer to this name"


def read_money(value: object) -> Money:
    """USD, as nano-USD. Raises Unfit. Numbers with a point come as text, so that they are exact."""
    text = str(value) if type(value) is int else value
    match = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", text) if isinstance(text, str) else None
    if match is None:
        raise Unfit(f'USD such as 500 or "12.50", at most 999999999 and nine decimals, got {shown(value)}')
    return Money(match[1] + (match[2] or "").ljust(9, "0"))


def budget_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """Everything that is wrong with budgets that are right field by field."""
    for name, budget in settings.budgets.items():
        path = join("budgets", name)
        yield from _period(path, budget)
        if budget.provider not in ("", EACH, *settings.providers):
            yield Problem(
                f"{path}.provider", "a configured provider" + did_you_mean(budget.provider, settings.providers)
            )


def budget_warnings(settings: Settings, rows: Mapping[str, Row]) -> Iterator[str]:
    """What can be lived with: budgets of models that no call is known to go to."""
    named = {name: budget.model for name, budget in settings.budgets.items() if budget.model not in ("", EACH)}
    if not named:
        return
    snapshot = everybody(settings, rows)
    for name, model in named.items():
        path = f"{join('budgets', name)}.model"
        if not is_known(snapshot, model):
            yield f"{path}: {_NOBODY}; {remedy(snapshot, model)}"
            continue
        means = {f"{target.provider}/{target.model}": target.model for target in find_targets(snapshot, model)}
        if model not in (*means, *means.values()):
            yield f"{path}: it is about no call, for it is another name of {', '.join(means)}: say that"


def _period(path: str, budget: BudgetSettings) -> Iterator[Problem]:
    if budget.period == "total":
        if budget.time_zone:
            yield Problem(f"{path}.time_zone", "nothing here: a total has neither days nor months")
    elif not _is_zone(budget.time_zone):
        yield Problem(f"{path}.time_zone", "whose days are meant: an IANA name such as UTC or Europe/Vienna")


def _is_zone(name: str) -> bool:
    try:
        return bool(name) and bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, OSError, ValueError):  # not there, a folder of them, a path
        return False
