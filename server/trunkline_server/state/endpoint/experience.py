"""What is known when a call chooses its next target: how targets do, and how many retries and hedges there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.hedge_budget import HedgeBudget
from trunkline_server.state.endpoint.retry_budget import RetryBudget
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
    ) -> None:
        """`clock` gives seconds that never go back. `signals`: None = its own, which nobody else reads.

        `has_other_key` tells whether a provider has another key to be asked.
        """
        self._clock = clock
        self.has_other_key = has_other_key
        self._retries: dict[str, RetryBudget] = {}
        self.signals = signals or Signals(clock)
        # Of all calls that may be made twice.
        self.hedges = HedgeBudget()

    def first(self, provider: str) -> None:
        """The first attempt of a call goes to the provider."""
        self._budget(provider).deposit(self._clock())

    def retry(self, provider: str) -> bool:
        """A call wants to ask the provider again. False = it must not."""
        return self._budget(provider).withdraw(self._clock())

    def _budget(self, provider: str) -> RetryBudget:
        return self._retries.get(provider) or self._retries.setdefault(provider, RetryBudget())
