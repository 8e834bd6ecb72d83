"""What is known when a call chooses its next target: how targets do, and how many retries and hedges there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.hedge_budget import HedgeBudget
from trunkline_server.state.signals.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable


class Experience:
    """For one event loop; nothing in it waits. It outlives configurations: providers are known by their names."""

    def __init__(
        self,
        clock: Callable[[], float],
        signals: Signals | None = None,
        has_other_key: Callable[[str], bool] = lambda _: False,
        retry: Callable[[str], object | None] = lambda provider: provider,
    ) -> None:
        """`clock` gives seconds that never go back. `signals`: None = its own, which nobody else reads.

        `has_other_key` tells whether a provider has another key to be asked, `retry` which of its endpoints pays for
        asking it again: None = none of them.
        """
        self.has_other_key, self.retry = has_other_key, retry
        self.signals = signals or Signals(clock)
        # Of all calls that may be made twice.
        self.hedges = HedgeBudget()
