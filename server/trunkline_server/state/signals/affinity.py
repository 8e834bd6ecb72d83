"""Which target has read the beginning of a prompt lately: its provider most likely still has it in its cache."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.call_pb2 import Target

# Seconds for which providers keep what was read, from the last time on.
TTL = 300.0
# Beginnings that are known; whichever was not used for longest is forgotten first. About 400 bytes each.
MOST = 10_000


class Warm(NamedTuple):
    """A target that has read it."""

    provider: str
    model: str
    # Of the whole call that it read then.
    input_tokens: int


class Affinity:
    """For one event loop; nothing in it waits. Keeps hashes (routing/prefix.py) and no prompt."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Warm]] = OrderedDict()

    def read_by(self, key: bytes, target: Target, input_tokens: int) -> None:
        """The target has answered a call that begins so."""
        self._known[key] = self._clock() + TTL, Warm(target.provider, target.model, input_tokens)
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def find(self, key: bytes, blocked: Callable[[str], bool]) -> Warm | None:
        """Who has read it. None: nobody, or it is too long ago.

        Forgotten if its provider is `blocked` now: whoever answers instead reads it, too.
        """
        until, warm = self._known.get(key, (0.0, None))
        if warm is None:
            return None
        if self._clock() >= until or blocked(warm.provider):
            del self._known[key]
            return None
        return warm
