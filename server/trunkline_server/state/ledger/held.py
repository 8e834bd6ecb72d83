"""What a call's row holds of its attempt, so that one pass over the calls counts both. Pure.

Nearly every call has one attempt, which agrees with it in all that the ledger can be asked by. The figures of such an
attempt stand in the call's row as well, and the attempt's row says so: it is `held`. Questions that are counted from
rows add up the calls, and the few attempts that no call holds. An attempt is held by one call or by none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.ledger.calendar import MINUTE
from trunkline_server.state.ledger.columns import ATTEMPT, attempt_of
from trunkline_server.state.ledger.database import Statement, portions

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from trunkline_server.state.ledger.database import Row, Script
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

# Columns of both tables. A call that holds an attempt has its certainty; all others of them may be empty in both.
HELD = (
    "certainty", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost",
    "saved",
)  # fmt: skip
_NOTHING: Row = (None,) * len(HELD)


def can_hold(call: CallRow, attempt: AttemptRow | None) -> bool:
    """Whether no question tells the two apart. Spans of time that questions count from calls are whole minutes."""
    return (
        attempt is not None
        and attempt.duration is not None
        and call.outcome == attempt.outcome
        and call.model == attempt.model
        and call.provider == attempt.provider
        and call.region == attempt.region
        and call.started // MINUTE == attempt.started // MINUTE
        and not attempt.other_units
        and not (attempt.retry or attempt.hedge)
        and call.subject == attempt.subject
    )


def held_values(attempt: AttemptRow | None) -> Row:
    """What the call's row has of the attempt that it holds, as HELD names it."""
    if attempt is None:
        return _NOTHING
    return (
        attempt.certainty, attempt.input_tokens, attempt.output_tokens, attempt.cache_read_tokens,
        attempt.cache_write_tokens, attempt.reasoning_tokens, attempt.cost, attempt.saved,
    )  # fmt: skip


def hold_earlier(calls: Iterable[CallRow], begun: Container[str]) -> Script[dict[str, AttemptRow]]:
    """By call, what can be held of attempts that came in before; they are marked. `begun`: calls that need no look."""
    single = {call.call_id: call for call in calls if call.attempts == 1 and call.call_id not in begun}
    if not single:
        return {}
    rows: dict[str, AttemptRow] = {}
    for some in portions(list(single)):
        found = yield Statement(f"{_EARLIER} {_among(len(some))}", [some], returns=True)
        rows |= {row.call_id: row for row in map(attempt_of, found) if can_hold(single[row.call_id], row)}
    for some in portions(list(rows)):
        yield Statement(f"{_HOLD} {_among(len(some))}", [some])
    return rows


def let_go(held: Mapping[str, AttemptRow], calls: Container[str]) -> Iterator[Statement]:
    """Attempts whose call turns out to have been there already are counted by themselves."""
    if alone := [(call_id,) for call_id in held if call_id not in calls]:
        yield Statement(_LET_GO, alone)


def _among(count: int) -> str:
    return f"call_id IN ({', '.join('?' * count)})"


_EARLIER = f"SELECT {', '.join(ATTEMPT)} FROM attempts WHERE attempt = 1 AND held = 0 AND"
_HOLD = "UPDATE attempts SET held = 1 WHERE attempt = 1 AND"
_LET_GO = "UPDATE attempts SET held = 0 WHERE call_id = ? AND attempt = 1"
