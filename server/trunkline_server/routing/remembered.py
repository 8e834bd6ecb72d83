"""What names mean, remembered: most calls name one of a few models, and say nothing else of whom to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.described import retirement_of
from trunkline_server.routing.window import may_outgrow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call
    from trunkline_server.routing.candidates import Candidate
    from trunkline_server.routing.routed import Routed
    from trunkline_server.snapshot import Snapshot

# Names that are remembered: a caller may name any model of an open provider.
MAX_NAMES = 1024

_Key = tuple[str, tuple[str, ...], tuple[str, ...]]


class Meaning(NamedTuple):
    """Whom a name means to a caller, in order."""

    targets: tuple[Target, ...]
    larger: tuple[Target, ...]
    # Those that have to hold the request.
    rows: tuple[Candidate, ...]
    # Seconds since 1970 until one of them retires. None: not that anybody knows.
    until: int | None


class Names:
    """Of one snapshot at a time."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._meanings: dict[_Key, Meaning] = {}

    def recall(self, call: Call, when: int) -> Meaning | None:
        """What the call's name means, if that is known and decides where the call goes. `when`: seconds since 1970."""
        if call.snapshot is not self._snapshot or not says_only_a_name(call):
            return None
        meaning, request = self._meanings.get(_key(call)), call.request
        if meaning is None or (meaning.until is not None and when >= meaning.until):
            return None
        if request.tools and len(meaning.targets) > 1:
            return None
        for row in meaning.rows:
            if may_outgrow(request, row):
                return None
        return meaning

    def remember(self, call: Call, when: int, routed: Routed, rows: Iterable[Candidate]) -> None:
        """The call went there, and none of them stands in for another. `rows`: those that have to hold the request."""
        targets, larger = routed.targets, routed.larger
        if call.snapshot is not self._snapshot or len(self._meanings) >= MAX_NAMES:
            self._snapshot, self._meanings = call.snapshot, {}
        retirements = [_retirement(call.snapshot, target) for target in (*targets, *larger)]
        until = min((each for each in retirements if each is not None and each > when), default=None)
        self._meanings[_key(call)] = Meaning(targets, larger, tuple(rows), until)


def says_only_a_name(call: Call) -> bool:
    """Whether nothing but the name and who calls decides where the call goes."""
    return call.policy is None and not call.request.HasField("routing") and call.request.model != ""


def _key(call: Call) -> _Key:
    return call.request.model, call.identity.models, call.identity.providers


def _retirement(snapshot: Snapshot, target: Target) -> int | None:
    offer = snapshot.offers[target.provider]
    return retirement_of(snapshot.settings, offer.provider, offer.kind, target.model)
