"""How much of an endpoint's traffic should go elsewhere, before its breaker opens.

The adaptive throttling of Google's SRE book: with `requests` in the window, of which the endpoint took `accepts`, the
share max(0, (requests - K * accepts) / (requests + 1)) goes elsewhere. So up to K times what it takes still reaches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.window import Window

if TYPE_CHECKING:
    from trunkline_server.state.endpoint.window import Counts

K = 2.0
# Two minutes: longer than first tokens take.
BUCKETS, BUCKET = 12, 10.0
# Those that began in the newest two buckets, 10 to 20 seconds, may still be answered: they count once they are decided.
_YOUNG = 2

_STARTED, _ACCEPTED, _REFUSED = range(3)


class Throttle:
    """One endpoint's. A call that is neither accepted, refused nor withdrawn in time counts as refused."""

    __slots__ = ("_k", "_window")

    def __init__(self, k: float = K) -> None:
        """`k`: at 2 it begins when more than half is refused, at 1.1 when a tenth is."""
        self._k = k
        self._window = Window(3, BUCKETS, BUCKET)

    def start(self, now: float) -> Counts:
        """A call begins. Returns the bucket, which the other methods are told."""
        bucket = self._window.at(now)
        bucket[_STARTED] += 1
        return bucket

    def accepted(self, bucket: Counts) -> None:
        """The call has its first token, or an answer for which the endpoint is not to blame."""
        bucket[_ACCEPTED] += 1

    def refused(self, bucket: Counts) -> None:
        """The endpoint failed or limited the call."""
        bucket[_REFUSED] += 1

    def withdrawn(self, bucket: Counts) -> None:
        """The caller went away before it could be told."""
        bucket[_STARTED] -= 1

    def share_away(self, now: float) -> float:
        """The probability with which a call should go elsewhere, from 0 to below 1."""
        totals = self._window.totals(now)
        started, accepted, refused = self._window.newest(_YOUNG)
        undecided = started - accepted - refused
        requests = totals[_STARTED] - undecided
        return max(0.0, (requests - self._k * totals[_ACCEPTED]) / (requests + 1))
