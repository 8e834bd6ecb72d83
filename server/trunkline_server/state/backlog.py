"""What is learned together, because one lesson at a time costs a call three times as much: see decisions/0041."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Parts = TypeVarTuple("Parts")

# Lessons that wait at most. Learning them all at once keeps everybody else waiting for a tenth of a millisecond.
MOST = 16


class Backlog(Generic[*Parts]):
    """Lessons that wait until somebody wants to know what they teach, or until there are MOST.

    Whoever reads what they teach, or changes it otherwise, calls `learn` before: then nobody can tell that they waited.
    A lesson's parts are plain values: a message, even one that is a part of it, would keep the whole answer in memory.
    """

    __slots__ = ("_learn", "_waiting")

    def __init__(self, learn: Callable[[*Parts], None]) -> None:
        self._learn = learn
        self._waiting: deque[tuple[*Parts]] = deque()

    def add(self, *lesson: *Parts) -> None:
        """Learn this, sooner or later."""
        self._waiting.append(lesson)
        if len(self._waiting) >= MOST:
            self.learn()

    def learn(self) -> None:
        """Learn all that waits, in the order in which it came. What one raises loses no other."""
        learn, waiting = self._learn, self._waiting
        while waiting:
            learn(*waiting.popleft())
