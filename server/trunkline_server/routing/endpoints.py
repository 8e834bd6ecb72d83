"""Which of a provider's endpoints an attempt goes to: each is one address with one credential. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def choose(waits: Sequence[float], turn: int, away: Sequence[float] = (), draw: Callable[[], float] = float) -> int:
    """The index of an endpoint. `waits`: seconds until it makes sense to use each; 0 = now. At least one.

    Those that may be used now take turns; each is passed over with its share of `away`, unless all are. With none of
    them it is the one that comes back first: what is known of it may be out of date, and an honest failure tells more
    than silence. `draw` gives random numbers from 0 to 1.
    """
    ready = [index for index, wait in enumerate(waits) if wait <= 0]
    if len(ready) > 1 and any(away):
        ready = [index for index in ready if draw() >= away[index]] or ready
    return ready[turn % len(ready)] if ready else min(range(len(waits)), key=waits.__getitem__)
