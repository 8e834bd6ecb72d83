"""Figures in words and pictures: money, rates, sparklines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

_NANO = 1_000_000_000
_BARS = "▁▂▃▄▅▆▇█"


def usd(nano: int) -> str:
    """An amount in US dollars, exactly: all of its digits, and cents at least."""
    dollars, rest = divmod(abs(nano), _NANO)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{dollars}.{digits}"


def about(nano: int) -> str:
    """What is only an estimate, in US dollars: four figures, and cents at least."""
    return usd(round(nano, 4 - max(4, len(str(abs(nano))))))


def percent(share: float) -> str:
    """A share of 1 as a percentage."""
    return f"{100 * share:.1f}%"


def sparkline(values: Sequence[float]) -> str:
    """A bar for each value, as high as it is in proportion to the largest. Anything above zero shows."""
    most = max(values, default=0)
    return "".join(_bar(value / most) if most else _BARS[0] for value in values)


def _bar(share: float) -> str:
    return _BARS[min(len(_BARS) - 1, -int(-share * (len(_BARS) - 1) // 1))]


def flat(message: Message, prefix: str = "") -> dict[str, str]:
    """The numbers of a message by their paths: total_time.p50, scores.relevance.mean. Absent ones are left out.

    Amounts of money are in US dollars, under the name that says so: cost_usd.
    """
    found: dict[str, str] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in sorted(value):
                found |= _flat_entry(f"{prefix}{field.name}.{key}", value[key])
        elif field.message_type is not None:
            found |= flat(value, f"{prefix}{field.name}.") if message.HasField(field.name) else {}
        elif not field.has_presence or message.HasField(field.name):
            found[f"{prefix}{field.name}".replace("nano_usd", "usd")] = _number(field.name, value)
    return found


def _flat_entry(path: str, value: Any) -> dict[str, str]:
    return {path: str(value)} if isinstance(value, int) else flat(value, f"{path}.")


def _number(name: str, value: float) -> str:
    return usd(int(value)) if "nano_usd" in name else str(value)
