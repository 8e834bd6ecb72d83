"""Attempt: a call is tried until it has an answer, under one deadline and one budget.

What is streamed or raced is pumped by a task of its own: its reader waits for other things besides. An answer that is
wanted as a whole, of one target, is read in the caller's own task: decisions/0038.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.core import now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.layers.course import Course
from trunkline_server.layers.hedge import hedged
from trunkline_server.layers.trial import HEARTBEAT

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.layers.course import Endpoints
    from trunkline_server.layers.trial import Report
    from trunkline_server.registry import TaskRegistry
    from trunkline_server.tape import Tape


def attempt(registry: TaskRegistry, report: Report, endpoints: Endpoints) -> Layer:
    """Try the targets of the plan, as routing/choice.py decides.

    Guarantees: exactly one of `completed` and an error; never more attempts than the call's budget, none after its
    deadline, none after a piece was sent unless the caller asked for it; for a streamed call a target's first piece
    within first_token and each next one within between_tokens. A unary call's events are held until the terminal
    marker. However the call ends, what runs below is closed: by the registry, of a unary call by its caller.
    `report` learns of each attempt once, when it has ended, and must not fail.
    """
    return lambda below: partial(_tried, below, registry, endpoints, report)


async def _tried(below: Handler, registry: TaskRegistry, endpoints: Endpoints, report: Report, call: Call) -> Events:
    course = Course(call, endpoints, report)
    alone = not call.streaming and not course.may_hedge()
    try:
        while True:
            try:
                if alone:
                    for event in await course.trial.whole(below, registry):
                        yield event
                else:
                    with registry.play(course.trial.asked(below)) as tape:
                        async with aclosing(_reading(course, tape, below, registry)) as events:
                            async for event in events:
                                yield event
            except UpstreamError as error:
                delay = course.fail(error)  # before the tape's task, which was told to close, runs again
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
        course.release()


def _reading(course: Course, tape: Tape, below: Handler, registry: TaskRegistry) -> Events:
    late = course.hedge_at()
    return course.trial.events(tape) if late is None else hedged(course, tape, late, below, registry)


async def _pause(course: Course, delay: float, registry: TaskRegistry) -> Events:
    """Heartbeats for so many seconds, which end before the deadline.

    On a tape of its own, so that a drain ends it as it ends everything that plays.
    """
    heartbeat, deadline = course.trial.pace.heartbeat, course.trial.call.deadline
    with registry.play(_silence(delay)) as tape:
        while not await tape.wait(min(now() + heartbeat, deadline)):
            yield HEARTBEAT
        tape.take()  # the last one, which nobody gets; or what ends the call


async def _silence(delay: float) -> Events:
    await asyncio.sleep(delay)
    yield HEARTBEAT
