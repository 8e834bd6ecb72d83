"""Which budgets an attempt is paid from, as the configuration says it. Pure.

A budget has an account for each of its periods and for each of those whom it gives one: its id is JSON, the budget's
name, the period, and who. A new day is another account: nothing is ever set back. Of people there is a digest only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from trunkline_server.settings.budgets import EACH

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import date

    from trunkline_server.settings.budgets import BudgetSettings

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
# Accounts of one budget, and those who pay, that are kept at hand.
MOST_KNOWN = 4096


class Payer(Struct, frozen=True):
    """Who calls, and whom: what budgets go by. Empty = there is none."""

    workspace: str
    key: str
    user: str
    labels: Mapping[str, str]
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Account:
    """One budget in one of its periods, of one of those that it is for."""

    id: str
    budget: str
    # Nano-USD.
    limit: int
    hard: bool
    # When the next period begins, in microseconds since 1970. None = never.
    renews: int | None
    # When this one began. None = it has no beginning.
    begins: int | None = None
    # Whom a "*" stands for.
    whose: tuple[str, ...] = ()
    # The period's name. Empty = there is only one.
    period: str = ""

    def is_of(self, now: int) -> bool:
        """Whether its period is that of a time in microseconds since 1970."""
        return (self.begins is None or self.begins <= now) and (self.renews is None or now < self.renews)

    def burn_rate(self, spent: int, now: int) -> int | None:
        """Nano-USD an hour since the period began, of which it takes an hour to tell. None: it has no beginning."""
        return None if self.begins is None else spent * _HOUR // self._passed(now)

    def projected(self, spent: int, now: int) -> int | None:
        """Nano-USD that will have been spent at its end, if that goes on. None: it has no end."""
        return None if self.renews is None else spent + spent * max(0, self.renews - now) // self._passed(now)

    def _passed(self, now: int) -> int:
        return max(now - (self.begins or 0), _HOUR)


class Rule:
    """A budget of the configuration."""

    def __init__(self, name: str, settings: BudgetSettings) -> None:
        self.name = name
        self.settings = settings
        self.hard = settings.kind == "hard"
        self._zone = ZoneInfo(settings.time_zone or "UTC")
        said = {name: getattr(settings, name) for name in ("workspace", "key", "user", "provider", "model")}
        self._said = {name: value for name, value in said.items() if value}
        # What of whoever pays it hangs on, but for labels.
        self.goes_by = {*self._said, *(["provider"] if "/" in settings.model else [])}
        # Which of those whom a "*" stands for are providers or models.
        each = [name for name, value in self._said.items() if value == EACH]
        self._targets = [index for index, name in enumerate(each) if name in {"provider", "model"}]
        # Those of one period, by whose they are: most calls are paid from accounts that paid for others.
        self._known: dict[tuple[str, ...], Account] = {}

    def account(self, payer: Payer, now: int) -> Account | None:
        """What the attempt is paid from at a time in microseconds since 1970. None: the budget is not about it."""
        whose = self._whose(payer)
        return None if whose is None else self.account_of(whose, now)

    def account_of(self, whose: Sequence[str], now: int) -> Account:
        """The account of those whom a "*" stands for, in the order of the settings."""
        known = self._known.get(tuple(whose))
        if known is None or not known.is_of(now):
            known = self._account_of(tuple(whose), now)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[known.whose] = known
        return known

    def _account_of(self, whose: tuple[str, ...], now: int) -> Account:
        period, begins, renews = self._period(now)
        account_id = _id(self.name, period, whose)
        return Account(account_id, self.name, self.settings.limit, self.hard, renews, begins, whose, period)

    def for_any(self, account_id: str) -> str:
        """What the ids of accounts have in common that only differ in the target: see Rules.soft."""
        name, period, *whose = json.loads(account_id)
        for index in self._targets:
            whose[index] = EACH
        return _id(name, period, whose)

    def prefix(self, now: int, first: Sequence[str] = ()) -> str:
        """What the ids of all its accounts of this period begin with; of one that is for all, the id.

        `first`: only accounts of these, in the order of the settings.
        """
        whole = self.account_of(first, now).id
        if not self.is_for_each:
            return whole
        return whole[:-1] if first else f"{whole[:-1]},"

    def workspace_of(self, account: Account) -> str:
        """Whose callers may know of it. Empty = it is about more than one workspace."""
        return account.whose[0] if self.settings.workspace == EACH else self.settings.workspace

    def key_of(self, account: Account) -> str:
        """Whose owner may know of it beside those. Empty = it is about a workspace, or about more than one key."""
        if self.settings.workspace:
            return ""
        return account.whose[0] if self.settings.key == EACH else self.settings.key

    def _whose(self, payer: Payer) -> list[str] | None:
        whose = []
        if "/" in self.settings.model and self.settings.model == f"{payer.provider}/{payer.model}":
            payer = structs.replace(payer, model=self.settings.model)
        pairs = [(name, value, getattr(payer, name)) for name, value in self._said.items()]
        pairs += [(name, value, payer.labels.get(name, "")) for name, value in self.settings.labels.items()]
        for name, wanted, has in pairs:
            if not has or wanted not in (EACH, has):
                return None
            if wanted == EACH:
                whose.append(sha256(has.encode()).hexdigest()[:16] if name == "user" else has)
        return whose

    @property
    def is_for_each(self) -> bool:
        """Whether it has an account for each of many."""
        return self.kinds > 0

    @property
    def kinds(self) -> int:
        """How many a "*" stands for in one account."""
        return (*self._said.values(), *self.settings.labels.values()).count(EACH)

    def _period(self, now: int) -> tuple[str, int | None, int | None]:
        """Its name, when it begins, and when the next one does."""
        if self.settings.period == "total":
            return "", None, None
        day = datetime.fromtimestamp(now // _SECOND, self._zone).date()
        if self.settings.period == "daily":
            return day.isoformat(), self._midnight(day), self._midnight(day + timedelta(days=1))
        first = day.replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
        return day.strftime("%Y-%m"), self._midnight(first), self._midnight(following)

    def _midnight(self, day: date) -> int:
        return round(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()) * _SECOND


def _id(name: str, period: str, whose: Sequence[str]) -> str:
    return json.dumps([name, period, *whose], separators=(",", ":"))


class Payment(Struct, frozen=True):
    """What an attempt is paid from: no two of the accounts are the same."""

    accounts: tuple[Account, ...]
    # Those that hold what it may cost; the ids of those that count what it did cost.
    hard: tuple[Account, ...]
    counted: tuple[str, ...]
    # While this is so: `begins` is in it, `renews` is not. Microseconds since 1970.
    begins: float
    renews: float


class Rules:
    """All budgets of a configuration."""

    def __init__(self, budgets: Mapping[str, BudgetSettings]) -> None:
        self.all = [Rule(name, settings) for name, settings in budgets.items()]
        # What of whoever pays any of them hangs on. By that, what is paid from: as long as it stays the same.
        self._who = attrgetter("workspace", *sorted({name for rule in self.all for name in rule.goes_by}))
        self._labels = sorted({name for rule in self.all for name in rule.settings.labels})
        self._known: dict[Hashable, Payment] = {}

    def payment(self, payer: Payer, now: int) -> Payment:
        """What an attempt is paid from at a time in microseconds since 1970."""
        who = self._who(payer)
        if self._labels:
            who = who, *(payer.labels.get(name, "") for name in self._labels)
        known = self._known.get(who)
        if known is None or not known.begins <= now < known.renews:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[who] = self._payment(payer, now)
        return known

    def soft(self, payer: Payer, now: int) -> tuple[Account, ...]:
        """The soft budgets of whoever calls, whom it will ask not being known yet: those of named providers are his.

        Of a budget that each provider or model has for itself, one that stands for all of them: see Rule.for_any.
        """
        found = (
            rule.account(structs.replace(payer, provider=rule.settings.provider, model=rule.settings.model), now)
            for rule in self.all
            if not rule.hard
        )
        return tuple(account for account in found if account is not None)

    def _payment(self, payer: Payer, now: int) -> Payment:
        accounts = [account for rule in self.all if (account := rule.account(payer, now)) is not None]
        return Payment(
            accounts=tuple(accounts),
            hard=tuple(each for each in accounts if each.hard),
            counted=tuple(each.id for each in accounts if not each.hard),
            begins=max((each.begins for each in accounts if each.begins is not None), default=-inf),
            renews=min((each.renews for each in accounts if each.renews is not None), default=inf),
        )
