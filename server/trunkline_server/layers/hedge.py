"""Hedge: when an answer is late another target is asked, too, and the answer that begins first is taken."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from trunkline_server.core import now
from trunkline_server.errors import UpstreamError
from trunkline_server.layers.trial import HEARTBEAT, taken_from
from trunkline_server.routing.retries import Way, way_of
from trunkline_server.tape import wait_any

if TYPE_CHECKING:
    from trunkline_server.core import Events, Handler
    from trunkline_server.layers.course import Course
    from trunkline_server.layers.trial import Trial
    from trunkline_server.registry import TaskRegistry
    from trunkline_server.tape import Tape


async def hedged(course: Course, tape: Tape, late: float, below: Handler, registry: TaskRegistry) -> Events:
    """The events of `course.trial`, or those of another attempt that begins sooner.

    The other one is made if nothing is there at `late`. The one that begins first is read to its end; the other one is
    ended, closed and written down at that moment. One that fails while the other still runs is out of the race.
    """
    first = course.trial
    race = _Race(course, {first: tape})
    async with aclosing(race.run(late)) as beats:
        async for beat in beats:
            yield beat
    second = course.hedge() if tape.idle else None
    if second is None:
        async with aclosing(first.events(tape)) as events:
            async for event in events:
                yield event
        return
    with registry.play(below(second.call)) as other:
        race.runners[second] = other
        async with aclosing(race.run(float("inf"))) as beats:
            async for beat in beats:
                yield beat
        async with aclosing(race.finish()) as events:
            async for event in events:
                yield event


class _Race:
    """Attempts of which none has begun to answer."""

    def __init__(self, course: Course, runners: dict[Trial, Tape]) -> None:
        self.runners = runners
        self._course = course

    async def run(self, until: float) -> Events:
        """Heartbeats until one has begun, one alone is left and that has ended, or the clock reads `until`."""
        heartbeat = self._course.trial.pace.heartbeat
        while not self._decided() and now() < until:
            beat, due = now() + heartbeat, min(trial.limit for trial in self.runners)
            if await wait_any(list(self.runners.values()), min(until, beat, due)):
                self._drop_ended()
            elif due <= min(until, beat):
                self._drop_late(due)
            elif beat < until:
                yield HEARTBEAT

    def _decided(self) -> bool:
        if len(self.runners) > 1:
            return any(tape.begun for tape in self.runners.values())
        return not any(tape.idle for tape in self.runners.values())

    def _drop_ended(self) -> None:
        """Out of the race: what has failed before it began. The last one is left, to be read.

        Raises what no other target may make good, a content filter's refusal above all: being late is no way round it.
        """
        for trial, tape in list(self.runners.items()):
            if not tape.idle and not tape.begun and len(self.runners) > 1:
                try:
                    taken_from(tape)
                except UpstreamError as error:
                    if way_of(error) is Way.NOWHERE:
                        self._course.win(trial)
                        raise
                    self._drop(trial, error)

    def _drop_late(self, due: float) -> None:
        """Out of the race: what should have begun until then. Raises what it means if nothing is left, or no time."""
        for trial in [trial for trial in self.runners if trial.limit <= due]:
            error = trial.late(due)
            if not isinstance(error, UpstreamError) or len(self.runners) == 1:
                raise error
            self._drop(trial, error)

    def _drop(self, trial: Trial, error: UpstreamError) -> None:
        self._course.lose(trial, error)
        self.runners.pop(trial).stop()
        self._course.read(next(iter(self.runners)))

    async def finish(self) -> Events:
        """The events of the one that began first; of two at once the one that was asked first."""
        winner = next((trial for trial, tape in self.runners.items() if tape.begun), self._course.trial)
        self._course.win(winner)
        for trial, tape in self.runners.items():
            if trial is not winner:
                tape.stop()
        async with aclosing(winner.events(self.runners[winner])) as events:
            async for event in events:
                yield event
