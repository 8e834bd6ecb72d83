"""A stream of every dialect, cut after every byte: one outcome each, gapless parts, both attempts accounted for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from event_streams import stream
from ledgers import MemoryLedger, price_of
from make import call, kinds
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import now
from trunkline_server.errors import CallError
from trunkline_server.fold import fold
from trunkline_server.formats import DIALECTS
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.dispatch import dispatch
from trunkline_server.layers.endpoint import one_of
from trunkline_server.layers.observe import observe
from trunkline_server.layers.resolve import resolve
from trunkline_server.layers.resume import overlap
from trunkline_server.logs import build_log
from trunkline_server.providers.credential import Fixed
from trunkline_server.registry import TaskRegistry
from trunkline_server.settings import ProviderSettings, Settings, TimeLimits
from trunkline_server.state.endpoint.experience import Experience
from trunkline_server.state.endpoints import Endpoint
from trunkline_server.state.provider_endpoints import Endpoints
from trunkline_server.state.provider_health import EndpointState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline_server.core import Call, Events, Handler

NO_LOG = build_log(io.BytesIO())
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SETTINGS = Settings(providers={name: ProviderSettings(prefill=("m",)) for name in ("broken", "whole")})
PLAN = tuple(call_pb2.Target(provider=name, model="m") for name in SETTINGS.providers)
RESTART, FAIL, CONTINUE = (
    call_pb2.ON_INTERRUPTION_RESTART,
    call_pb2.ON_INTERRUPTION_FAIL,
    call_pb2.ON_INTERRUPTION_CONTINUE,
)
# Bytes between two cuts in streams that are not the plain text.
STEP = 16


def recorded(dialect: str) -> bytes:
    """The bytes of its first golden stream, the plain text."""
    folder = GOLDEN / dialect
    case = next(path for path in [folder / "text", *sorted(folder.iterdir())] if list(path.glob("stream.*")))
    return bytes_of(case)


def bytes_of(case: Path) -> bytes:
    """The bytes of a golden stream."""
    (path,) = case.glob("stream.*")
    if path.suffix == ".jsonl":
        return stream(json.loads(line) for line in path.read_text().splitlines())
    return path.read_bytes()


@pytest.mark.parametrize(("mode", "streaming"), [(RESTART, True), (FAIL, True), (CONTINUE, True), (FAIL, False)])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_cut_after_every_byte(dialect: str, streaming: bool, mode: call_pb2.OnInterruption.ValueType) -> None:
    data = recorded(dialect)
    run_virtual(cut(dialect, data, range(len(data)), streaming=streaming, mode=mode))


OTHERS = [
    (dialect, case) for dialect in DIALECTS for case in (GOLDEN / dialect).iterdir() if list(case.glob("stream.*"))
]


@pytest.mark.parametrize("mode", [RESTART, FAIL, CONTINUE])
@pytest.mark.parametrize(("dialect", "case"), OTHERS, ids=lambda given: getattr(given, "name", given))
def test_any_stream_cut_here_and_there(dialect: str, case: Path, mode: call_pb2.OnInterruption.ValueType) -> None:
    """Tool calls, reasoning, media: each mode at bytes of its own, and the last ones."""
    data = bytes_of(case)
    sizes = [*range(mode * 5 % STEP, len(data), STEP), len(data) - 1]
    run_virtual(cut(dialect, data, sizes, streaming=True, mode=mode))


async def cut(
    dialect: str, data: bytes, sizes: Iterable[int], *, streaming: bool, mode: call_pb2.OnInterruption.ValueType
) -> None:
    whole = await after(dialect, data, len(data), streaming=streaming, mode=mode)
    if isinstance(whole, CallError):
        return  # the recording of a failure
    for size in sizes:
        found = await after(dialect, data, size, streaming=streaming, mode=mode)
        if isinstance(found, CallError):
            assert streaming
            assert mode != RESTART
            assert found.reason == call_pb2.ERROR_REASON_STREAM_INTERRUPTED
        elif mode == CONTINUE:
            assert text_of(found) in gone_on(text_of(whole))
        else:
            assert found.message == whole.message


def endpoint_of(name: str, known: Endpoints, handler: Handler) -> Handler:
    """The provider as its one endpoint lets calls in."""
    state = EndpointState(name, Fixed(""), clock=now, draw=lambda: 0.5)
    known.open(name, [Endpoint(state, SETTINGS.providers[name], TimeLimits(), lambda _: None, lambda: 0.5)])
    return one_of(known._of[name], [handler], lambda: 0.5)


def gone_on(whole: str) -> set[str]:
    """What may become of it, cut anywhere, if the model goes on with the whole answer: what it repeats is left out."""
    return {whole[:size] + whole[overlap(whole[:size], whole) :] for size in range(len(whole) + 1)}


def text_of(response: pb.GenerateResponse) -> str:
    return "".join(part.text for part in response.message.parts)


async def after(
    dialect: str, data: bytes, size: int, *, streaming: bool, mode: call_pb2.OnInterruption.ValueType
) -> pb.GenerateResponse | CallError:
    """What becomes of a call whose first target sends so many bytes and whose second one sends all."""
    ledger, events, errors = MemoryLedger(), [], []

    async def below(it: Call) -> Events:
        decoder = DIALECTS[dialect].stream_decoder()
        for event in decoder.feed(data[:size] if it.target.provider == "broken" else data):
            yield event
        for event in decoder.finish():
            yield event

    registry, known = TaskRegistry(), Endpoints()
    handlers = {name: endpoint_of(name, known, account(ledger, price_of)(below)) for name in SETTINGS.providers}
    experience = Experience(now, None, known.has_other_key, known.retry)
    layers = attempt(registry, lambda _, __: None, experience)(dispatch(handlers))
    handler = observe(NO_LOG, lambda _, __: None, ledger.end_call)(resolve(layers))
    request = pb.GenerateRequest(model="m", prompt="x", routing=call_pb2.Routing(on_interruption=mode))
    try:
        async for event in handler(call(request, streaming=streaming, settings=SETTINGS, plan=PLAN)):
            events.append(event)
    except CallError as error:
        errors.append(error)
    await registry.wait_idle()
    assert kinds(events).count("completed") + len(errors) == 1
    assert [row.attempt for row in ledger.finished] == list(range(1, len(ledger.begun) + 1))
    assert len(ledger.calls) == 1
    assert ledger.calls[0].attempts == len(ledger.finished)
    assert_gapless(events)
    return errors[0] if errors else fold(events)


def assert_gapless(events: list[pb.StreamGenerateResponse]) -> None:
    count = 0
    for event in events:
        if event.HasField("restarted"):
            count = 0 if event.restarted.discard else count
        elif event.HasField("part_started"):
            assert event.part_started.part_index == count
            count += 1
        elif event.HasField("part_delta"):
            assert event.part_delta.part_index < count
