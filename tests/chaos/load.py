"""Callers: whole answers and streams, with deadlines and without, some of whom go away or read slowly."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count
from typing import TYPE_CHECKING

from chaos.records import Made
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

MODELS = ("m1", "m2")
# The share of calls that go to the first provider: the one that nothing is done to.
TO_FIRST = 0.4
_OWN = {StatusCode.DEADLINE_EXCEEDED: "deadline", StatusCode.CANCELLED: "cancelled"}


async def load(address: str, names: Sequence[str], seed: int, callers: int, until: float, calls: list[Made]) -> None:
    """Call until time.monotonic() reads `until`, and wait for the last call's end."""
    numbers = count()
    async with aio.insecure_channel(address) as channel:
        stub = GatewayServiceStub(channel)
        await asyncio.gather(*(_caller(stub, names, seed, numbers, until, calls) for _ in range(callers)))


async def _caller(
    stub: GatewayServiceAsyncStub,
    names: Sequence[str],
    seed: int,
    numbers: Iterator[int],
    until: float,
    calls: list[Made],
) -> None:
    while time.monotonic() < until:
        number = f"c{next(numbers)}"
        dice = random.Random(f"{seed}:{number}")
        made = _drawn(number, names, dice)
        calls.append(made)
        await make(stub, made, request_for(made, names, dice), dice.choice((0, 0, 0, 0.02)))
        await asyncio.sleep(dice.expovariate(20))


def _drawn(number: str, names: Sequence[str], dice: random.Random) -> Made:
    short = dice.random() < 0.25
    return Made(
        number,
        provider=names[0] if dice.random() < TO_FIRST else dice.choice(names[1:]),
        streaming=dice.random() < 0.5,
        timeout=dice.uniform(0.05, 0.6) if short else dice.choice((None, dice.uniform(1.5, 3))),
        leaves=dice.uniform(0, 0.4) if dice.random() < 0.2 else None,
    )


def request_for(made: Made, names: Sequence[str], dice: random.Random) -> pb.GenerateRequest:
    """The request of a call: its prompt is its number, and so is its label `n`."""
    labels = {"n": made.number, **({"team": dice.choice("ab")} if dice.random() < 0.3 else {})}
    request = pb.GenerateRequest(
        model=f"{made.provider}/{dice.choice(MODELS)}",
        prompt=made.number,
        routing=_routing(names, dice),
        context=call_pb2.CallContext(labels=labels, end_user_id=dice.choice(("", "somebody"))),
    )
    if made.streaming and dice.random() < 0.3:
        request.stream_options.coalesce_window.FromMilliseconds(20)
        request.stream_options.heartbeat_interval.FromMilliseconds(100)
    return request


def _routing(names: Sequence[str], dice: random.Random) -> call_pb2.Routing:
    """Now and then each of what a caller may wish for."""
    routing = call_pb2.Routing(allow_hedging=dice.random() < 0.3)
    if dice.random() < 0.3:
        routing.fallback_models.append(f"{dice.choice(names)}/{dice.choice(MODELS)}")
    if dice.random() < 0.3:
        routing.on_interruption = call_pb2.ON_INTERRUPTION_RESTART
    return routing


async def make(stub: GatewayServiceAsyncStub, made: Made, request: pb.GenerateRequest, pause: float = 0) -> None:
    """Make a call and write down what became of it. `pause`: seconds that the caller takes over each event."""
    made.began = time.monotonic()
    rpc = (stub.StreamGenerate if made.streaming else stub.Generate)(request, timeout=made.timeout)
    leaving = made.leaves and asyncio.get_running_loop().call_later(made.leaves, rpc.cancel)
    try:
        if isinstance(rpc, aio.UnaryStreamCall):
            await _read(rpc, made, pause)
        else:
            _take(await rpc, made)
            made.outcomes.append("answer")
    except aio.AioRpcError as error:
        _failed(made, error)
    except asyncio.CancelledError:
        # aio says so of a call that was cancelled here.
        _left(made)
    finally:
        made.ended = time.monotonic()
        if leaving:
            leaving.cancel()


async def _read(
    rpc: aio.UnaryStreamCall[pb.GenerateRequest, pb.StreamGenerateResponse], made: Made, pause: float
) -> None:
    parts = 0
    started = False
    async for event in rpc:
        kind = event.WhichOneof("event")
        if "answer" in made.outcomes:
            made.disorder = f"{kind} after completed"
        if kind not in ("heartbeat", "started") and not started:
            made.disorder = f"{kind} before started"
        if kind == "restarted":
            # All that came before does not count.
            parts, made.text, made.served_by = 0, "", event.restarted.target.provider
        if kind == "started":
            made.disorder = "started twice" if started else made.disorder
            started, made.served_by = True, event.started.target.provider
        elif kind == "part_started":
            made.disorder = made.disorder if event.part_started.part_index == parts else "a gap in the parts"
            parts += 1
            made.text += event.part_started.part.text
        elif kind == "part_delta":
            made.text += event.part_delta.text
        elif kind == "completed":
            made.outcomes.append("answer")
            made.served_by = event.completed.response.served.target.provider
        await asyncio.sleep(pause)
    if "answer" not in made.outcomes:
        made.outcomes.append("the stream ended as if it were whole, without completed")


def _take(response: pb.GenerateResponse, made: Made) -> None:
    made.text = "".join(part.text for part in response.message.parts)
    made.served_by = response.served.target.provider


def _failed(made: Made, error: aio.AioRpcError) -> None:
    made.code, made.reason = error.code().name, _reason(error)
    if made.reason or error.code() not in _OWN:
        made.outcomes.append("error")
    elif "answer" not in made.outcomes:
        # Else the answer was whole when the caller's own time was over.
        made.outcomes.append(_OWN[error.code()])


def _left(made: Made) -> None:
    if "answer" not in made.outcomes:
        made.outcomes.append("cancelled")


def _reason(error: aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                info = ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return ""
