"""How long to wait before the next try at the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.settings.reliability import RetrySettings


def delay(settings: RetrySettings, retries: int, retry_after: float | None, draw: Callable[[], float]) -> float:
    """Seconds before another retry, after so many.

    Full jitter: anything up to a bound that grows with each retry, so that those who failed together do not come back
    together. What the provider asks for (`retry_after`) is the least. `draw` gives random numbers from 0 to 1.
    """
    bound = min(settings.cap, settings.base * settings.multiplier**retries)
    wait = bound * (1 - settings.jitter + settings.jitter * draw())
    return max(retry_after or 0.0, wait)
