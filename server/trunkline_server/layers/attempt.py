"""Attempt: a call is tried until it has an answer, under one deadline and one budget. The only task boundary.

What is streamed or raced is pumped by a task of its own: its reader waits for other things besides. An answer that is
wanted as a whole, of one target, is read in the caller's own task: that is half of what this layer costs a call.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.core import now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.layers.course import Course
from trunkline_server.layers.hedge import hedged
from trunkline_server.layers.trial import HEARTBEAT, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from trunkline_server.core import Call, Events, Handler, Layer, TaskRegistry
    from trunkline_server.layers.course import Endpoints
    from trunkline_server.layers.trial import Report


def attempt(registry: TaskRegistry, report: Report, endpoints: Endpoints) -> Layer:
    """Try the targets of the plan, as routing/choice.py decides.

    Guarantees: exactly one of `completed` and an error; never more attempts than the call's budget, none after its
    deadline, none after a piece was sent unless the caller asked for it; for a streamed call a target's first piece
    within first_token and each next one within between_tokens. A unary call's events are held until the terminal
    marker. However the call ends, the registry closes what runs below. `report` learns of each attempt once, when it
    has ended, and must not fail.
    """

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            course = Course(call, endpoints, report)
            try:
                while True:
                    with _asked(course, below, registry) as answer:
                        try:
                            async with aclosing(answer) as events:
                                async for event in events:
                                    yield event
                        except UpstreamError as error:
                            delay = course.fail(error)
                        else:
                            return
                    async with aclosing(_pause(course, delay, registry)) as beats:
                        async for beat in beats:
                            yield beat
                    course.go_on()
            except CallError as error:
                raise await course.told(error) from error.__cause__
            except Exception:
                course.close(call_pb2.OUTCOME_PROTOCOL_ERROR)
                raise
            finally:
                course.close(call_pb2.OUTCOME_CANCELLED)
                course.release()

        return handle

    return layer


def _asked(course: Course, below: Handler, registry: TaskRegistry) -> AbstractContextManager[Events]:
    late = course.hedge_at()
    if late is None and not course.trial.call.streaming:
        return nullcontext(course.trial.whole(below, registry))
    return _played(course, late, below, registry)


@contextmanager
def _played(course: Course, late: float | None, below: Handler, registry: TaskRegistry) -> Iterator[Events]:
    with registry.play(course.trial.asked(below)) as tape:
        yield course.trial.events(tape) if late is None else hedged(course, tape, late, below, registry)


async def _pause(course: Course, delay: float, registry: TaskRegistry) -> Events:
    """Heartbeats for so many seconds, which end before the deadline.

    On a tape of its own, so that a drain ends it as it ends everything that plays.
    """
    call = course.trial.call
    heartbeat = course.trial.pace.heartbeat if call.streaming else NEVER
    with registry.play(_silence(delay)) as tape:
        while not await tape.wait(min(now() + heartbeat, call.deadline)):
            yield HEARTBEAT
        tape.take()  # the last one, which nobody gets; or what ends the call


async def _silence(delay: float) -> Events:
    await asyncio.sleep(delay)
    yield HEARTBEAT
