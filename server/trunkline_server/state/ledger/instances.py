"""Who writes open attempts into a database that several machines share, and who has not been seen for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.ledger.database import Statement, script

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database

# Microseconds without a sign of life after which a gateway is taken for dead. Long: the attempts of one that only could
# not reach the database are ended by others, and what they cost stays unknown.
LEASE = 10 * 60 * 10**6

_ALIVE = (
    "INSERT INTO instances (id, seen, expires) VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, expires = excluded.expires"
)
_GONE = "DELETE FROM instances WHERE id = ?"
_DEAD = "SELECT id, seen FROM instances WHERE expires < ? AND id <> ?"


async def say_alive(database: Database, instance: str, now: int) -> None:
    """Give a sign of life."""
    await database.transact(script(Statement(_ALIVE, [(instance, now, now + LEASE)])))


async def say_gone(database: Database, instance: str) -> None:
    """Nothing of this instance is open."""
    await database.transact(script(Statement(_GONE, [(instance,)])))


async def dead(database: Database, instance: str, now: int) -> list[tuple[str, int]]:
    """Other instances that are taken for dead, and when each was seen last."""
    return [(other, seen) for other, seen in await database.fetch(_DEAD, [now, instance])]
