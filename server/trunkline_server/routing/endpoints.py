"""Which of a provider's endpoints an attempt goes to: each is one address with one credential. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def choose(waits: Sequence[float], turn: int) -> int:
    """The index of an endpoint. `waits`: seconds until it makes sense to use each; 0 = now. At least one.

    Those that may be used now take turns. With none of them it is the one that comes back first: what is known of it
    may be out of date, and an honest failure tells more than silence.
    """
    ready = [index for index, wait in enumerate(waits) if wait <= 0]
    return ready[turn % len(ready)] if ready else min(range(len(waits)), key=waits.__getitem__)
