"""Live signals of all targets: fed by every attempt, read by whoever chooses among them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from trunkline_server.routing.signal import UNKNOWN, Signal
from trunkline_server.state.signals.prompts import prompt_tokens
from trunkline_server.state.signals.track import FRESH, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call
    from trunkline_server.state.signals.track import Sample

# Targets that are known: callers may name any model of an open provider. Who was not asked for longest goes first.
MAX_TARGETS = 1000


class Signals:
    """For one event loop; nothing in it waits. They outlive configurations: targets are known by their names."""

    def __init__(self, clock: Callable[[], float], utilisation: Callable[[str], float] = lambda _: 0.0) -> None:
        """`clock` gives seconds that never go back, `utilisation` how much of a provider's scarcest limit is in use."""
        self._clock = clock
        self._utilisation = utilisation
        self._tracks: OrderedDict[tuple[str, str], Track] = OrderedDict()
        # By provider: until when it holds, and what is told of its targets that were not asked.
        self._unasked: dict[str, tuple[float, Signal]] = {}

    def begin(self, call: Call, now: float) -> Sample:
        """An attempt at the call's target begins."""
        target = call.target
        key = target.provider, target.model
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = Track()
            if len(self._tracks) > MAX_TARGETS:
                self._tracks.popitem(last=False)
        else:
            self._tracks.move_to_end(key)
        streaming = call.streaming
        # Only first tokens hang on it.
        return track.begin(prompt_tokens(call.request) if streaming else 0, now, streaming=streaming)

    def read(self, targets: Iterable[Target]) -> list[Signal]:
        """How each of them does, in their order."""
        now, found = self._clock(), []
        for target in targets:
            provider = target.provider
            until, unasked = self._unasked.get(provider, (0.0, UNKNOWN))
            if now >= until:
                unasked = Signal(utilisation=self._utilisation(provider))
                self._unasked[provider] = now + FRESH, unasked
            track = self._tracks.get((provider, target.model))
            found.append(unasked if track is None else track.read(now, unasked.utilisation))
        return found

    def of(self, provider: str, model: str) -> Signal:
        """How one of them does."""
        track = self._tracks.get((provider, model))
        utilisation = self._utilisation(provider)
        return Signal(utilisation=utilisation) if track is None else track.read(self._clock(), utilisation)

    def usual(self, call: Call, target: Target) -> float:
        """Seconds until the target begins to answer this call, most likely. 0 = not known.

        A call that is not streamed is answered all at once.
        """
        track = self._tracks.get((target.provider, target.model))
        if track is None:
            return 0.0
        return track.usual(prompt_tokens(call.request), self._clock(), streaming=call.streaming)

    def late(self, call: Call, target: Target) -> float | None:
        """Seconds until it begins in all but one of twenty cases. None: too little is known."""
        track = self._tracks.get((target.provider, target.model))
        if track is None:
            return None
        return track.late(prompt_tokens(call.request), self._clock(), streaming=call.streaming)
