"""What is written down of a chaos run, for the invariants to look at. Times are seconds of time.monotonic()."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Made:
    """A call as its caller saw it."""

    number: str
    provider: str
    streaming: bool
    # Unset: the gateway's own default holds.
    timeout: float | None = None
    # Seconds after which the caller goes away. Unset: never.
    leaves: float | None = None
    began: float = 0.0
    ended: float = 0.0
    # "answer", "cancelled", "deadline", "error": how it ended, each time that it did.
    outcomes: list[str] = field(default_factory=list)
    # The text so far, and which provider the gateway says has said it.
    text: str = ""
    served_by: str = ""
    # Of an error: the gateway's reason, "" if there is none.
    code: str = ""
    reason: str = ""
    # What was wrong with the order of the stream's events.
    disorder: str = ""


class Trouble(NamedTuple):
    """What was done to whom."""

    since: float
    until: float
    provider: str
    # "killed", "stopped", or a mood.
    what: str


class Seen(NamedTuple):
    """What a provider wrote down."""

    provider: str
    # "asked" or "gone".
    what: str
    number: str
    when: float


class Held(NamedTuple):
    """What a gateway's process holds."""

    # By the coroutine's name.
    tasks: dict[str, int]
    registered: int
    files: int
    sockets: int
    # Rows that are not in the ledger's database yet.
    queued: int
    # Bytes.
    memory: int
    # The longest turns of its event loop so far: see chaos.turns.
    turns: Sequence[Sequence[Any]] = ()
    # Seconds that the longest garbage collection of each generation took.
    collections: Sequence[float] = ()


@dataclass(slots=True)
class Run:
    """A whole run."""

    seed: int
    strict: bool
    # Without a deadline of the caller's: the gateway's own.
    default_deadline: float
    # Before that nothing was done to anybody.
    chaos_since: float = 0.0
    calls: list[Made] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    # The ledger's rows.
    attempts: list[dict[str, Any]] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)
    # What else is wrong with the ledger.
    ledger_problems: list[str] = field(default_factory=list)
    before: Held | None = None
    after: Held | None = None
    # Time and bytes.
    memory: list[tuple[float, int]] = field(default_factory=list)
    # Calls that endpoints say are running or waiting, after the last one ended.
    in_flight: int = 0
    # Lines of the gateway's log that should not be there.
    said: list[str] = field(default_factory=list)
    exit_code: int | None = None
    # Time, and seconds that the gateway and the callers have waited for a processor until then.
    starved: list[tuple[float, float]] = field(default_factory=list)
