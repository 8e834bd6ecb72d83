"""What the configuration says of budgets, as typed values."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from trunkline_server.sections import Section
from trunkline_server.settings.tasks import LabelName, LabelText, RouteName, RoutingSections

# A workspace, a key, a person, a provider or a model; * = each of them by itself.
_Whose = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]{0,256}$", description="at most 256 characters, in one line")]
EACH = "*"


class Money(int):
    """Nano-USD (10**-9 USD). Written as USD with at most nine decimals: 500, "12.50"."""


class BudgetSettings(Section, frozen=True, kw_only=True):
    """What may be spent on some calls in a day, in a month, or ever.

    It is about the calls that fit everything that is said below: workspace, key, ...; where nothing is said, about all.
    """

    limit: Money
    period: Literal["daily", "monthly", "total"]
    # Whose days and months: an IANA name such as Europe/Vienna. Needed but for total.
    time_zone: str = ""
    # hard: no call is made that it does not pay for in the worst case, and an answer ends with the money. soft: nothing
    # is refused; near the end and beyond it the cost of targets weighs more.
    kind: Literal["hard", "soft"] = "hard"
    # "*" gives each of them a budget of this size; calls that have none are then not meant.
    workspace: _Whose = ""
    # The id of a gateway key.
    key: _Whose = ""
    # CallContext.end_user_id.
    user: _Whose = ""
    # By the name of a label, its value.
    labels: dict[LabelName, LabelText] = field(default_factory=dict)
    # A configured provider, by its name.
    provider: _Whose = ""
    # A model, as its provider names it, or "provider/model".
    model: _Whose = ""


class MoneySections(RoutingSections, frozen=True, kw_only=True):
    """The parts of the configuration that say what calls may cost, beside those that say what they are for."""

    budgets: dict[RouteName, BudgetSettings] = field(default_factory=dict)
