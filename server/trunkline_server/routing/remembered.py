"""What names mean, remembered: most calls name one of a few models, and say nothing else of whom to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.described import retirement_of
from trunkline_server.routing.window import may_outgrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call
    from trunkline_server.routing.candidates import Candidate
    from trunkline_server.routing.routed import Routed
    from trunkline_server.snapshot import Snapshot

# Names that are remembered: a caller may name any model of an open provider.
MAX_NAMES = 1024

Key = tuple[str, tuple[str, ...], tuple[str, ...]]


class Meaning(NamedTuple):
    """Whom a name means to a caller, in order."""

    targets: tuple[Target, ...]
    larger: tuple[Target, ...]
    # Those that have to hold the request, and may be too small for one.
    rows: tuple[Candidate, ...]
    # Seconds since 1970 until one of them retires. None: not that anybody knows.
    until: int | None


class Names:
    """Of one snapshot at a time."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._meanings: dict[Key, Meaning] = {}

    def recall(self, call: Call, clock: Callable[[], float]) -> Meaning | None:
        """What the call's name means, if that is known and decides where the call goes.

        `clock` tells seconds since 1970.
        """
        if call.snapshot is not self._snapshot or (key := key_of(call)) is None:
            return None
        meaning = self._meanings.get(key)
        if meaning is None or (meaning.until is not None and clock() >= meaning.until):
            return None
        if len(meaning.targets) > 1 and call.request.tools:
            return None
        for row in meaning.rows:
            if may_outgrow(call.request, row):
                return None
        return meaning

    def remember(self, key: Key, snapshot: Snapshot, when: int, routed: Routed, rows: Iterable[Candidate]) -> None:
        """A call went there, and none of them stands in for another. `rows`: those that have to hold the request."""
        targets, larger = routed.targets, routed.larger
        if snapshot is not self._snapshot or len(self._meanings) >= MAX_NAMES:
            self._snapshot, self._meanings = snapshot, {}
        retirements = [_retirement(snapshot, target) for target in (*targets, *larger)]
        until = min((each for each in retirements if each is not None and each > when), default=None)
        bounded = tuple(row for row in rows if row.window is not None)
        self._meanings[key] = Meaning(targets, larger, bounded, until)


def key_of(call: Call) -> Key | None:
    """What decides where the call goes, if that is nothing but a name and who calls."""
    request = call.request
    if call.policy is not None or request.HasField("routing") or not (name := request.model):
        return None
    return name, call.identity.models, call.identity.providers


def _retirement(snapshot: Snapshot, target: Target) -> int | None:
    offer = snapshot.offers[target.provider]
    return retirement_of(snapshot.settings, offer.provider, offer.kind, target.model)
