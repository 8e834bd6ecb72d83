"""What the ledger asks of a database. Two backends keep it, `sqlite` and `postgres`, with the same SQL.

SQL has ? for its parameters, and types that both know: TEXT, BIGINT, DOUBLE PRECISION and JSONB, which is text on its
way in and out. What they do not share stands in `Dialect`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Struct

Row = tuple[Any, ...]
T = TypeVar("T")


class Statement(Struct, frozen=True):
    """One statement, executed for each of `rows`. With `returns` the answer is what all of them returned."""

    sql: str
    rows: Sequence[Sequence[Any]] = ((),)
    returns: bool = False
    # Of an INSERT of several rows that returns the first so many columns of those that it takes: how many.
    key: int = 0
    # Of an INSERT of several rows none of which is in the way of another: they may go in together, in fewer steps.
    together: bool = False
    # It only keeps other transactions from the same rows. Where one transaction at a time is written it need not run.
    locks: bool = False


# Rows in one statement: few sizes, since each is compiled once and kept.
_PORTIONS = (128, 32, 8, 4, 3, 2, 1)


def portions(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in as many as go into one statement."""
    start, count = 0, len(rows)
    for size in _PORTIONS:
        while count - start >= size:
            yield rows[start : start + size]
            start += size


class Query(NamedTuple):
    """A statement that only reads."""

    sql: str
    params: Sequence[Any] = ()


# What happens in a transaction: it yields statements, is sent what they returned, and returns its result. Apart from
# that it must be pure, since it may be run again from its beginning.
Script = Generator[Statement, list[Row], T]

# Why a database does not do what it is asked, in words for a caller.
Failure = Literal[
    "disk full", "locked", "connection lost", "read-only", "damaged", "not allowed", "refused", "failed", "stalled"
]
WORDS = {
    "disk full": "the disk is full",
    "locked": "another process keeps its database locked",
    "connection lost": "the connection to its database is lost",
    "read-only": "its database is read-only",
    "damaged": "its database is damaged",
    "not allowed": "its database does not let us in",
    "refused": "its database refuses the row",
    "failed": "its database fails",
    "stalled": "its database does not answer",
}
SLOW = "its database does not keep up"


class StoreFailed(Exception):
    """The database did not do it, and nothing of the transaction happened. "refused": because of the values."""

    def __init__(self, kind: Failure) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Dialect:
    """What two databases say differently."""

    name: Literal["sqlite", "postgresql"]
    # The type of a packed histogram, and how to pack one.
    histogram: str
    pack: Callable[[Mapping[int, int]], Any]
    # Ends CREATE TABLE of a table whose rows are found by their primary key only.
    clustered: str
    # The text of a label: `{column}` is JSON, `{key}` a placeholder.
    label: str
    # What joins to a row the names and numbers of a JSON object `{column}`, as columns `key` and `value`.
    pairs: str
    # The aggregate that strings together, row after row, the characters with these numbers.
    characters: Callable[[Sequence[str]], str]
    # The aggregate that strings together the texts in `{column}`.
    strung: str
    # Makes transactions that change the schema wait for each other. Empty: all transactions do.
    alone: str = ""
    # Functions that the SQL below uses and that have to be made first.
    functions: Sequence[str] = field(default=())

    # Has the database refuse changes of a `{table}`'s rows.
    append_only: Sequence[str] = field(default=())

    def schema(self, sql: str) -> Sequence[str]:
        """A statement of the schema in this dialect. `{append_only:table}` may be several."""
        if sql.startswith("{append_only:"):
            table = sql.removeprefix("{append_only:").removesuffix("}")
            return [statement.replace("{table}", table) for statement in self.append_only]
        return [sql.replace("{histogram}", self.histogram).replace("{clustered}", self.clustered)]


class Database(Protocol):
    """An open database. Every method raises StoreFailed."""

    @property
    def dialect(self) -> Dialect:
        """What it says differently."""
        ...

    async def transact(self, script: Callable[[], Script[T]]) -> T:
        """Run a script in one transaction: all of it is durable when this returns, or none of it happened."""
        ...

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        ...

    async def fetch_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        """What several queries find at one and the same moment: what is committed between them is not seen."""
        ...

    async def aclose(self) -> None:
        """Wait for what runs, and close."""
        ...


def script(*statements: Statement) -> Callable[[], Script[None]]:
    """A transaction that does not depend on what it finds."""

    def run() -> Script[None]:
        for statement in statements:  # noqa: UP028 - a tuple cannot be sent what was found
            yield statement

    return run
