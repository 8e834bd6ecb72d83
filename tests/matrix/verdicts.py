"""Whether what programs said is what was expected. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrix.cases import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrix.programs import Said

# Seconds within which a cancelled call's connection is closed at the upstream.
WITHIN = 0.2

# By case, what is wrong with it; empty: nothing.
Verdicts = dict[str, str]


def judge(said: Said, closings: Sequence[float | None]) -> Verdicts:
    """What is wrong with each case. `closings` of what was cancelled: seconds, or None of what stayed open."""
    verdicts = {case: _judge(case, said) for case in EXPECTED}
    verdicts["cancel"] = verdicts["cancel"] or late(closings)
    return verdicts


def _judge(case: str, said: Said) -> str:
    rows = [row for row in said.rows if row.case == case]
    if len(rows) != 1:
        return f"{len(rows)} rows; {said.broken}"
    if not rows[0].ok:
        return rows[0].why or "not ok"
    return difference(EXPECTED[case], rows[0].value)


def late(closings: Sequence[float | None]) -> str:
    """What is wrong with how connections were closed."""
    if not closings:
        return "nothing was cancelled at the upstream"
    slow = [f"{1000 * each:.0f} ms" if each is not None else "never" for each in closings if each is None or each > WITHIN]
    return f"closed at the upstream after {', '.join(slow)}" if slow else ""


def difference(expected: Any, value: Any, at: str = "value") -> str:
    """The first place in which two values differ."""
    if isinstance(expected, dict) and isinstance(value, dict) and expected.keys() == value.keys():
        return _first(difference(expected[key], value[key], f"{at}.{key}") for key in expected)
    if isinstance(expected, list) and isinstance(value, list) and len(expected) == len(value):
        return _first(difference(*both, f"{at}[{n}]") for n, both in enumerate(zip(expected, value, strict=True)))
    return "" if type(expected) is type(value) and expected == value or _are_equal_numbers(expected, value) else (
        f"{at}: {value!r} in place of {expected!r}"
    )


def _are_equal_numbers(one: Any, other: Any) -> bool:
    """JSON has one kind of number: 1 and 1.0 are the same."""
    numbers = [each for each in (one, other) if isinstance(each, int | float) and not isinstance(each, bool)]
    return len(numbers) == 2 and one == other


def _first(found: Iterable[str]) -> str:
    return next((each for each in found if each), "")


def table(verdicts: Mapping[str, Verdicts], skipped: Mapping[str, str]) -> str:
    """Languages by cases, and below them what is wrong."""
    lines = ["".join([f"{'':16}", *(f"{language:>12}" for language in verdicts)])]
    for case in EXPECTED:
        cells = ("FAILED" if told[case] else "pass" for told in verdicts.values())
        lines.append("".join([f"{case:16}", *(f"{cell:>12}" for cell in cells)]))
    lines += [f"skipped: {language}: {why}" for language, why in skipped.items()]
    lines += [f"FAILED {language} {case}: {why}" for language, told in verdicts.items() for case, why in told.items() if why]
    return "\n".join(lines)
