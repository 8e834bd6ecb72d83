"""Where a call goes, as the router says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline_server.routing.taught import lesson_of

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline_server.core import Choice
    from trunkline_server.routing.decision import Decision
    from trunkline_server.routing.learned.lesson import Lesson

    # By provider and model.
    Replaced = dict[tuple[str, str], CallWarning]


class Routed(Struct, frozen=True):
    """Where a call goes."""

    # Whom to ask, in order; at least one. And whom, if the request is too long for those.
    targets: tuple[Target, ...]
    larger: tuple[Target, ...]
    choice: Choice
    # By provider and model of those that stand in for others: what to tell the caller.
    replaced: Replaced
    # None: the call named whom to ask, and there was nothing to decide.
    decision: Decision | None = None
    # Of what the prompt begins with, to know who has read it. Empty = nobody would read it for less, or no decision.
    prefix: bytes = b""

    @property
    def is_followed(self) -> bool:
        """Whether the call's end teaches something, or its caller has to be told something."""
        if self.replaced:
            return True
        return self.decision is not None and (self.prefix != b"" or self.decision.ranking.question.taught is not None)

    @property
    def lesson(self) -> Lesson | None:
        """What can be learned from it. None: nothing was decided by what was learned."""
        if self.decision is None:
            return None
        question = self.decision.ranking.question
        if question.taught is None:
            return None
        return lesson_of(question.taught, question.table, self.decision.ranking.learned, self.choice.task)
