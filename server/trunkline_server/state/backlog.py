"""What is learned together, because one lesson at a time costs a call three times as much: see decisions/0041."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Lessons that wait at most. Learning them all at once keeps everybody else waiting for a tenth of a millisecond.
MOST = 16


class Backlog(Generic[T]):
    """Lessons that wait until somebody wants to know what they teach, or until there are MOST.

    Whoever reads what they teach, or changes it otherwise, calls `learn` before: then nobody can tell that they waited.
    """

    __slots__ = ("_learn", "_waiting")

    def __init__(self, learn: Callable[[T], None]) -> None:
        self._learn = learn
        self._waiting: list[T] = []

    def add(self, lesson: T) -> None:
        """Learn this, sooner or later."""
        self._waiting.append(lesson)
        if len(self._waiting) >= MOST:
            self.learn()

    def learn(self) -> None:
        """Learn all that waits, in the order in which it came."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for lesson in waiting:
                self._learn(lesson)
