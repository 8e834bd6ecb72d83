"""What the providers offer now: the configuration, what they list themselves, and who is out of routing.

Each change makes another snapshot under the same handlers, and swaps it in: calls that run keep the one they began
with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline.v1.admin_service_pb2 import Discovery
from trunkline_server.routing.discovered import join, learn, shown
from trunkline_server.state.switches import Switch, to_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from trunkline_server.core import Current
    from trunkline_server.errors import UpstreamError
    from trunkline_server.listed import Known, Listed
    from trunkline_server.logs import Log
    from trunkline_server.providers.table import Row
    from trunkline_server.snapshot import Offer

# Ids in one line of the log.
_LOGGED = 20


@dataclass(slots=True)
class _History:
    """What became of asking one provider for its models. Times are seconds since 1970."""

    attempt: float | None = None
    outcome: call_pb2.Outcome.ValueType = call_pb2.OUTCOME_UNSPECIFIED
    success: float | None = None
    reason: str = ""


class Live:
    """Holds what was learned and decided since the start. For one event loop; nothing in it waits."""

    def __init__(
        self,
        current: Current,
        rows: Mapping[str, Row],
        log: Log,
        clock: Callable[[], float] = time.time,
        tell: Callable[[Switch], None] = to_nobody,
    ) -> None:
        """`current` has the chain of the configuration, `rows` the row of each provider.

        `clock` gives seconds since 1970; `tell` learns who is taken out of routing and put back.
        """
        self._tell = tell
        self._current = current
        self._configured = current.chain.snapshot
        self._rows = rows
        self._log = log
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._off: dict[str, str] = {}
        self._history: dict[str, _History] = {}

    def follow(self, provider: str) -> None:
        """This provider is going to be asked for its models."""
        self._history.setdefault(provider, _History())

    def told(self, provider: str, models: Sequence[Listed]) -> None:
        """The provider told its whole list.

        An empty one is believed only of servers on which models come and go by hand: elsewhere it is a fault, and what
        was told before stands.
        """
        history, known = self._of(provider), self._known.get(provider)
        history.attempt, history.outcome = self._clock(), call_pb2.OUTCOME_SUCCESS
        if not models and self._rows[provider].unlisted != "gone":
            history.outcome, history.reason = (
                call_pb2.OUTCOME_PROTOCOL_ERROR,
                f"its list is empty: {_stands(known)}",
            )
            return
        history.success, history.reason = history.attempt, ""
        self._known[provider] = learn(known, models)
        self._swap(provider)

    def failed(self, provider: str, error: UpstreamError) -> None:
        """The provider could not be asked, or did not tell. What it told before stands."""
        history = self._of(provider)
        news = history.outcome != error.outcome
        history.attempt, history.outcome = self._clock(), error.outcome
        outcome = call_pb2.Outcome.Name(error.outcome).removeprefix("OUTCOME_")
        said = ", ".join([outcome, *[f"status {error.status}"] * bool(error.status), *[error.code] * bool(error.code)])
        history.reason = f"it did not tell its models ({said}): {_stands(self._known.get(provider))}"
        if news:
            self._log.warning("models_not_told", provider=provider, outcome=outcome, status=error.status or None)

    def set_enabled(self, provider: str, reason: str) -> bool:
        """Take a provider out of routing for this reason, or with none put it back in. Returns whether that is new."""
        switch = Switch("provider", (provider,), reason)
        if not self.obey(switch):
            return False
        self._tell(switch)
        return True

    def obey(self, switch: Switch) -> bool:
        """The same, switched elsewhere: nobody is told."""
        (provider,), reason = switch.scope, switch.said
        if self._off.get(provider, "") == reason:
            return False
        if reason:
            self._off[provider] = reason
        else:
            del self._off[provider]
        self._log.info("provider_disabled" if reason else "provider_enabled", provider=provider)
        self._swap(provider)
        return True

    def disabled_reason(self, provider: str) -> str:
        """Why it is out of routing. Empty = it is not, as far as this knows."""
        return self._off.get(provider, "")

    def discovery(self, provider: str) -> Discovery | None:
        """What became of asking this provider. None: it is not asked."""
        if (history := self._history.get(provider)) is None:
            return None
        known = self._known.get(provider)
        told = Discovery(
            outcome=history.outcome,
            model_count=sum(1 for _ in known.generating()) if known is not None else 0,
            stale=known is not None and history.outcome != call_pb2.OUTCOME_SUCCESS,
            reason=history.reason,
        )
        _set(told.attempt_time, history.attempt)
        _set(told.success_time, history.success)
        return told

    def shown(self, providers: Iterable[str]) -> set[str]:
        """The ids of all models of these providers that are there now."""
        offers = self._current.chain.snapshot.offers
        return {id_ for name in providers if name in offers for id_ in shown(offers[name])}

    def _swap(self, provider: str) -> None:
        chain = self._current.chain
        before = chain.snapshot.offers
        known, off = self._known.get(provider), self._off.get(provider, "")
        offers = join(before, self._configured, self._rows[provider], provider, known, off)
        if offers == before:
            return
        self._current.chain = replace(chain, snapshot=replace(chain.snapshot, offers=offers))
        added, removed = _difference(before[provider], offers[provider])
        if added or removed:
            counts = {"added": len(added), "removed": len(removed)}
            self._log.info("models", provider=provider, **counts, ids=(removed + added)[:_LOGGED])

    def _of(self, provider: str) -> _History:
        return self._history.setdefault(provider, _History())


def _difference(before: Offer, after: Offer) -> tuple[list[str], list[str]]:
    """Which models came, and which went."""
    return sorted(shown(after) - shown(before)), sorted(shown(before) - shown(after))


def _stands(known: Known | None) -> str:
    return "what it told before stands" if known is not None else "the configured models stand"


def _set(timestamp: Timestamp, seconds: float | None) -> None:
    if seconds is not None:
        timestamp.FromMicroseconds(round(seconds * 1e6))
