"""The error table of the contract, through a real server and both RPCs, and what must never get out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio
from make import answer, part, playing
from serving import details, serving

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Call, Events
from trunkline_server.errors import STATUS_CODES, CallerLimited, CallError, Violation, reason_name
from trunkline_server.rpc.status import status_of

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

REQUEST = pb.GenerateRequest(prompt="hello")
SECRET = "sk-secret-that-must-not-leak"


async def failing(stub: GatewayServiceAsyncStub, method: str) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        if method == "Generate":
            await stub.Generate(REQUEST, timeout=5)
        else:
            async for _ in stub.StreamGenerate(REQUEST, timeout=5):
                pass
    return raised.value


BOTH = pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])


@BOTH
async def test_every_reason_has_its_code_and_exactly_one_error_info(method: str) -> None:
    raised: list[CallError] = []

    async def handler(_: Call) -> Events:
        raise raised[-1]
        yield  # type: ignore[unreachable]  # makes it a generator

    async with serving(handler) as running:
        for reason, code in STATUS_CODES.items():
            raised.append(CallError(reason, "what to do", metadata={"provider": "p"}))
            error = await failing(running.stub, method)
            assert (error.code(), error.details()) == (code, "what to do")
            found = details(error)["google.rpc.ErrorInfo"]
            assert (found.reason, found.domain) == (reason_name(reason), "trunkline")
            assert found.metadata["provider"] == "p"
            assert found.metadata["call_id"] == dict(error.trailing_metadata())["trunkline-call-id"]


@BOTH
async def test_each_detail_comes_with_its_cause(method: str) -> None:
    error = CallError(
        call_pb2.ERROR_REASON_RATE_LIMITED,
        "slow down",
        violations=[Violation("a", "wrong"), Violation("b", "wrong too")],
        retry_after=1.5,
        quota=Violation("workspace/w", "60 requests a minute"),
        resource="p/m",
        failure=call_pb2.CallFailure(id="x", usage=call_pb2.Usage(input_tokens=3)),
    )
    async with serving(playing([error])) as running:
        status = await failing(running.stub, method)
    found = details(status)
    assert [v.field for v in found["google.rpc.BadRequest"].field_violations] == ["a", "b"]
    assert found["google.rpc.RetryInfo"].retry_delay.ToMilliseconds() == 1500
    assert found["google.rpc.QuotaFailure"].violations[0].subject == "workspace/w"
    assert found["google.rpc.ResourceInfo"].resource_name == "p/m"
    assert found["trunkline.v1.CallFailure"].usage.input_tokens == 3
    assert dict(status.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"


@BOTH
@pytest.mark.parametrize("size", [10, 5000, 200_000])
async def test_a_status_never_outgrows_what_clients_accept(method: str, size: int) -> None:
    violations = [Violation(f"messages[{index}]", "é" * (size % 1000)) for index in range(size // 10)]
    failure = call_pb2.CallFailure(id="z" * size)
    error = CallError(call_pb2.ERROR_REASON_INVALID_REQUEST, "é" * size, violations, failure=failure)
    async with serving(playing([error])) as running:
        status = await failing(running.stub, method)
    assert status.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details(status)["google.rpc.ErrorInfo"].reason == "INVALID_REQUEST"
    assert details(status)["google.rpc.BadRequest"].field_violations


@BOTH
@pytest.mark.parametrize("bug", [ValueError(SECRET), KeyError(SECRET), RuntimeError(SECRET), BaseException(SECRET)])
async def test_an_exceptions_text_reaches_neither_caller_nor_log(method: str, bug: BaseException) -> None:
    async with serving(playing([bug])) as running:
        error = await failing(running.stub, method)
        assert error.code() == grpc.StatusCode.INTERNAL
        call_id = details(error)["google.rpc.RequestInfo"].request_id
        assert SECRET not in repr(error.trailing_metadata()) + (error.details() or "")
        assert SECRET not in running.log.getvalue().decode()
        line = next(line for line in running.lines() if line["event"] == "bug")
        assert (line["id"], line["kind"]) == (call_id, type(bug).__name__)
        assert "make.py" in str(line["at"])


@BOTH
async def test_a_stray_cancellation_becomes_an_error_instead_of_a_hanging_caller(method: str) -> None:
    async with serving(playing([asyncio.CancelledError(SECRET)])) as running:
        error = await failing(running.stub, method)
        assert error.code() == grpc.StatusCode.INTERNAL
        assert SECRET not in running.log.getvalue().decode()


async def test_a_stray_cancellation_after_a_piece_is_an_error_too() -> None:
    async with serving(playing([part("a"), asyncio.CancelledError()])) as running:
        assert (await failing(running.stub, "StreamGenerate")).code() == grpc.StatusCode.INTERNAL


async def test_a_callers_cancellation_is_never_swallowed() -> None:
    """Swallowing leaks native memory: the handler's task must end cancelled."""
    tasks: list[asyncio.Task[None]] = []

    async def handler(_: Call) -> Events:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        yield part("a")
        await asyncio.Event().wait()

    async with serving(handler) as running:
        stream = running.stub.StreamGenerate(REQUEST)
        async for _ in stream:
            break
        stream.cancel()
        while not tasks[0].done():
            await asyncio.sleep(0)
        assert tasks[0].cancelled() or tasks[0].cancelling()


async def test_unknown_methods_and_good_calls_pass_the_edge_unharmed() -> None:
    async with serving(playing(answer("hi"))) as running:
        response = await running.stub.Generate(REQUEST)
        assert response.message.parts[0].text == "hi"
        unknown: Any = running.channel.unary_unary("/trunkline.v1.GatewayService/Nothing")
        with pytest.raises(aio.AioRpcError) as raised:
            await unknown(b"")
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_above_the_limit_is_refused_by_grpc() -> None:
    async with serving(playing(answer("hi"))) as running:
        with pytest.raises(aio.AioRpcError) as raised:
            await running.stub.Generate(pb.GenerateRequest(prompt="x" * (33 << 20)))
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not dict(raised.value.trailing_metadata() or ()).get("grpc-status-details-bin")
        large = await running.stub.Generate(pb.GenerateRequest(prompt="x" * (31 << 20)))
        assert large.message.parts[0].text == "hi"


@BOTH
@pytest.mark.parametrize(("seconds", "told"), [(1.5, "1500"), (6.0, None)])
async def test_grpc_itself_does_not_wait_beyond_the_deadline(method: str, seconds: float, told: str | None) -> None:
    """It would end with the deadline, and nobody would know why."""
    error = CallError(call_pb2.ERROR_REASON_RATE_LIMITED, "later", retry_after=seconds)
    async with serving(playing([error])) as running:
        status = await failing(running.stub, method)
    assert dict(status.trailing_metadata()).get("grpc-retry-pushback-ms") == told
    assert details(status)["google.rpc.RetryInfo"].retry_delay.ToMilliseconds() == seconds * 1000


@pytest.mark.parametrize(("seconds", "told"), [(29.0, True), (300.0, False)])
def test_nor_for_minutes_where_there_is_none(seconds: float, told: bool) -> None:
    _, metadata = status_of(CallError(call_pb2.ERROR_REASON_CIRCUIT_OPEN, "later", retry_after=seconds), "c1")
    assert ("grpc-retry-pushback-ms" in dict(metadata)) is told


def test_who_is_limited_is_named_as_it_is_configured() -> None:
    """A certificate's name has colons of its own."""
    error = CallerLimited("key:spiffe://example.org/research", "2 requests a minute", 1.0)
    assert error.message == "key spiffe://example.org/research may have 2 requests a minute: try again in 1.0 s"
