"""What is kept of a decision, so that it can be learned from once it is known how the answer was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trunkline_server.routing.learned.shape import Shape


class Lesson(NamedTuple):
    """A decision by `performance_based`."""

    task: str
    shape: Shape
    # "provider/model" of those who might have been asked first, with what probability each was to be, and who was.
    candidates: tuple[str, ...]
    propensities: tuple[float, ...]
    assigned: str
