"""The endpoints of all providers: how each provider does by them, and which of them pays for a retry."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from trunkline_server.routing.steering import Figure
from trunkline_server.state.endpoint.retry_budget import Floor
from trunkline_server.state.endpoints import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Endpoints:
    """All of them, by provider."""

    def __init__(self) -> None:
        self._of: dict[str, Sequence[Endpoint]] = {}
        self._turns = count()

    def open(self, provider: str, endpoints: Sequence[Endpoint]) -> None:
        """A configuration has this provider with these, which nobody has asked yet."""
        self._of[provider], floor = endpoints, Floor()
        for each in endpoints:
            each.share(floor)

    def has_other_key(self, provider: str) -> bool:
        """Whether one of several can be asked now: not the one that was left alone for how it failed."""
        endpoints = self._of.get(provider, ())
        return len(endpoints) > 1 and any(each.wait() <= 0 for each in endpoints)

    def retry(self, provider: str) -> Endpoint | None:
        """Which one a call goes to again, and pays for it: of those that can be asked now, in turns; without any the
        one that is back first. None: none of them has retries left.
        """
        endpoints = self._of.get(provider, ())
        ready = [each for each in endpoints if each.wait() <= 0]
        those = ready or sorted(endpoints, key=Endpoint.wait)[:1]
        first = next(self._turns) % max(1, len(those))
        return next((each for each in (*those[first:], *those[:first]) if each.pay_retry()), None)

    def figures(self, providers: Iterable[str]) -> dict[str, Figure]:
        """How each provider does: as its endpoints that can be asked now, on average; else as the first to be back."""
        return {each: together([of.figure() for of in self._of[each]]) for each in providers if self._of.get(each)}

    def utilisation(self, provider: str) -> float:
        """How much of the scarcest limit is in use, on average over the provider's endpoints. 0 = nobody knows it."""
        endpoints = self._of.get(provider)
        return sum(each.utilisation() for each in endpoints) / len(endpoints) if endpoints else 0.0


def together(figures: Sequence[Figure]) -> Figure:
    """One figure of several, at least one."""
    ready = [figure for figure in figures if figure.wait <= 0]
    if not ready:
        return min(figures, key=lambda figure: figure.wait)
    count = len(ready)
    return Figure(sum(each.success for each in ready) / count, sum(each.away for each in ready) / count)
