"""Whether what programs said is what was expected. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrix.cases import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrix.programs import Said

# Seconds within which a cancelled call's connection is closed at the upstream.
WITHIN = 0.2

# Not a case: what the README says, in an empty folder.
EMPTY = "empty project"

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
    slow = [each for each in closings if each is None or each > WITHIN]
    return f"closed at the upstream after {milliseconds(slow)}" if slow else ""


def milliseconds(closings: Sequence[float | None]) -> str:
    """Times of closings, for a person."""
    return ", ".join("never" if each is None else f"{1000 * each:.0f} ms" for each in closings) or "nothing"


def difference(expected: Any, value: Any, at: str = "value") -> str:
    """The first place in which two values differ."""
    if isinstance(expected, dict) and isinstance(value, dict) and expected.keys() == value.keys():
        return _first(difference(expected[key], value[key], f"{at}.{key}") for key in expected)
    if isinstance(expected, list) and isinstance(value, list) and len(expected) == len(value):
        return _first(difference(*both, f"{at}[{n}]") for n, both in enumerate(zip(expected, value, strict=True)))
    same = expected == value and isinstance(expected, bool) is isinstance(value, bool)
    return "" if same else f"{at}: {value!r} in place of {expected!r}"


def _first(found: Iterable[str]) -> str:
    return next((each for each in found if each), "")


def table(verdicts: Mapping[str, Verdicts], skipped: Mapping[str, str]) -> str:
    """Languages by cases, and below them what is wrong."""
    lines = ["".join([f"{'':16}", *(f"{language:>12}" for language in verdicts)])]
    for case in (*EXPECTED, EMPTY):
        cells = ("FAILED" if told.get(case) else "pass" if case in told else "-" for told in verdicts.values())
        lines.append("".join([f"{case:16}", *(f"{cell:>12}" for cell in cells)]))
    lines += [f"skipped: {language}: {why}" for language, why in skipped.items()]
    for language, told in verdicts.items():
        lines += [f"FAILED {language} {case}: {why}" for case, why in told.items() if why]
    return "\n".join(lines)
