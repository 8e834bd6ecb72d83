"""What is known of targets when a call chooses its next one: how soon they begin, and how many retries they get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.first_tokens import ENOUGH, FirstTokens
from trunkline_server.state.endpoint.hedge_budget import HedgeBudget
from trunkline_server.state.endpoint.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.call_pb2 import Target

# Targets that are told apart; callers may name any model of an open provider.
MAX_TARGETS = 1000


class Experience:
    """For one event loop; nothing in it waits. It outlives configurations: providers are known by their names."""

    def __init__(self, clock: Callable[[], float], has_other_key: Callable[[str], bool] = lambda _: False) -> None:
        """`clock` gives seconds that never go back; the other tells whether a provider has another key to be asked."""
        self._clock = clock
        self.has_other_key = has_other_key
        self._retries: dict[str, RetryBudget] = {}
        self._first_tokens: dict[tuple[str, str, bool], FirstTokens] = {}
        # Of all calls that may be made twice.
        self.hedges = HedgeBudget()

    def first(self, provider: str) -> None:
        """The first attempt of a call goes to the provider."""
        self._budget(provider).deposit(self._clock())

    def retry(self, provider: str) -> bool:
        """A call wants to ask the provider again. False = it must not."""
        return self._budget(provider).withdraw(self._clock())

    def began(self, target: Target, streaming: bool, seconds: float) -> None:
        """A target began to answer after so long; one that was not asked for a stream, all at once."""
        key = (target.provider, target.model, streaming)
        known = self._first_tokens.get(key)
        if known is None:
            if len(self._first_tokens) >= MAX_TARGETS:
                return
            known = self._first_tokens[key] = FirstTokens()
        known.record(seconds, self._clock())

    def usual(self, target: Target, streaming: bool) -> float:
        """How long it usually takes it to begin: the median. 0 = not known."""
        return self._quantile(target, streaming, 0.5, 1) or 0.0

    def late(self, target: Target, streaming: bool) -> float | None:
        """How long it takes it in all but one of twenty cases. None: too little is known."""
        return self._quantile(target, streaming, 0.95, ENOUGH)

    def _quantile(self, target: Target, streaming: bool, share: float, least: int) -> float | None:
        known = self._first_tokens.get((target.provider, target.model, streaming))
        return None if known is None else known.quantile(share, self._clock(), least)

    def _budget(self, provider: str) -> RetryBudget:
        return self._retries.get(provider) or self._retries.setdefault(provider, RetryBudget())
