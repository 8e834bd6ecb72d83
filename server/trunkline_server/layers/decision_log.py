"""The log of decisions: with `monitoring_level: comprehensive`, what each was made of, to make it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.routing.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.core import Call
    from trunkline_server.logs import Log
    from trunkline_server.routing.decision import Decision


def decision_log(log: Log) -> Callable[[Call, Decision], None]:
    """What `route` tells of decisions. No text of a request is in them, nor what is kept of one to learn from."""

    def report(call: Call, decision: Decision) -> None:
        if call.snapshot.settings.logs.monitoring_level == "comprehensive":
            choice = call.story.choice
            log.info("decision", id=call.id, decision=choice.decision_id, made_of=record(decision))

    return report
