"""When each provider last gave a whole answer, and last failed. Figures over time are the ledger's."""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Usage


class Finished(Struct, frozen=True):
    """A call that has ended. Times are seconds from its arrival."""

    # Who ended it; both empty if no provider was asked.
    provider: str
    # As "provider/model".
    model: str
    # success: a whole answer. cancelled: the caller went away.
    result: Literal["success", "error", "cancelled"]
    # Of errors: broke off after a part of the answer was sent.
    interrupted: bool
    attempts: int
    # None: the provider did not say.
    usage: Usage | None
    total_time: float
    # None: not streamed, or no piece came.
    time_to_first_token: float | None
    # What the caller was doing, if he said so.
    task: str = ""
    # How many tokens its request was thought to have for a model of this family. None: nobody counted, or it had media.
    estimated: int | None = None

    def output_rate(self) -> float | None:
        """Output tokens a second from the first piece to the end. None if that cannot be told."""
        if self.usage is None or self.time_to_first_token is None:
            return None
        tokens, span = self.usage.output_tokens, self.total_time - self.time_to_first_token
        rate = tokens / span if tokens > 0 and span > 0 else inf
        return rate if isfinite(rate) else None


class Statistics:
    """For one event loop; nothing in it waits. Kept in this process only."""

    def __init__(self) -> None:
        self._successes: dict[str, float] = {}
        self._failures: dict[str, float] = {}

    def record(self, call: Finished, now: float) -> None:
        """A call ended at `now`, in seconds since 1970."""
        if call.result == "success":
            self._successes[call.provider] = now
        elif call.result == "error":
            self._failures[call.provider] = now

    def last(self, provider: str) -> tuple[float | None, float | None]:
        """When a call that `provider` ended last succeeded and last failed, in seconds since 1970. None: not yet.

        A call whose caller went away is neither.
        """
        return self._successes.get(provider), self._failures.get(provider)
