"""Every failed status becomes the right exception with all that its details tell, through both kinds of RPC."""

from __future__ import annotations

import asyncio
import pickle
import socket
from typing import TYPE_CHECKING

import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    RequestInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

import trunkline_client
from trunkline.v1.call_pb2 import OUTCOME_TIMEOUT, Attempt, CallFailure, ErrorReason, Served, Usage
from trunkline.v1.gateway_service_pb2 import (
    Heartbeat,
    PartStarted,
    StreamGenerateResponse,
    StreamStarted,
)
from trunkline_client import (
    AsyncClient,
    AuthenticationFailed,
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    FieldViolation,
    Interrupted,
    MessageTooLarge,
    TrunklineError,
    Unimplemented,
    UnknownError,
    channel,
    errors,
)
from trunkline_client.errors import BY_CODE, BY_REASON
from trunkline_server.errors import STATUS_CODES

if TYPE_CHECKING:
    from clients.conftest import Caller, Failure, FakeGateway
    from google.protobuf.message import Message


@pytest.fixture(autouse=True)
def _asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again, and after how long, is gRPC's part: see test_client_retries.py."""
    monkeypatch.setattr(channel, "OPTIONS", (*channel.OPTIONS, ("grpc.enable_retries", 0)))


BEGUN = [
    StreamGenerateResponse(started=StreamStarted(id="c1")),
    StreamGenerateResponse(part_started=PartStarted()),
]


def failure(code: StatusCode, *details: Message, pushback: str = "", call_id: str = "c1") -> Failure:
    """What the gateway aborts with."""
    status = Status(code=code.value[0], message="it failed")
    for detail in details:
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if pushback:
        metadata.append(("grpc-retry-pushback-ms", pushback))
    if call_id:
        metadata.append(("trunkline-call-id", call_id))
    return code, "it failed", tuple(metadata)


def info(reason: str, **metadata: str) -> ErrorInfo:
    """The detail that stands on every status of the gateway."""
    return ErrorInfo(reason=reason, domain="trunkline", metadata=metadata)


async def caught(caller: Caller, method: str = "generate") -> TrunklineError:
    """The exception of a call."""
    with pytest.raises(TrunklineError) as error:
        await (caller.events("x") if method == "stream" else caller.call(method, "x"))
    return error.value


def test_one_class_for_each_reason() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert set(BY_REASON) == reasons
    assert len(set(BY_REASON.values())) == len(reasons)


def test_every_class_is_raised_and_exported() -> None:
    public = {name: item for name, item in vars(trunkline_client).items() if not name.startswith("_")}
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TrunklineError)}
    assert kinds == {TrunklineError, UnknownError, *BY_REASON.values(), *BY_CODE.values()}
    assert all(public[kind.__name__] is kind for kind in kinds)
    assert set(trunkline_client.__all__) - {"__version__"} <= set(public)


@pytest.mark.parametrize("method", ["generate", "stream"])
@pytest.mark.parametrize("reason", list(BY_REASON))
async def test_each_reason_has_its_exception(reason: str, method: str, gateway: FakeGateway, caller: Caller) -> None:
    code = STATUS_CODES[ErrorReason.Value(f"ERROR_REASON_{reason}")]
    gateway.failure = failure(code, info(reason, provider="p"))
    error = await caught(caller, method)
    assert type(error) is BY_REASON[reason]
    assert (error.reason, error.code, error.message) == (reason, code, "it failed")
    assert (error.metadata, error.call_id) == ({"provider": "p"}, "c1")
    assert (error.retry_delay, error.failure, error.field_violations) == (None, None, ())
    assert error.is_retryable is (code is StatusCode.UNAVAILABLE)
    assert str(error) == "it failed (call c1)"


@pytest.mark.parametrize("method", ["generate", "stream", "model"])
async def test_every_detail_is_there(method: str, gateway: FakeGateway, caller: Caller) -> None:
    what = CallFailure(id="c2", served=Served(attempts=[Attempt(outcome=OUTCOME_TIMEOUT)]), usage=Usage(input_tokens=7))
    violations = [
        BadRequest.FieldViolation(field="prompt", description="missing"),
        BadRequest.FieldViolation(field="config.top_p", description="above 0"),
    ]
    gateway.failure = failure(
        StatusCode.UNAVAILABLE,
        RequestInfo(request_id="r"),
        info("ALL_PROVIDERS_FAILED"),
        RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)),
        BadRequest(field_violations=violations),
        what,
        pushback="2500",
        call_id="",
    )
    error = await caught(caller, method)
    assert (error.retry_delay, error.call_id, error.failure, error.is_retryable) == (2.5, "c2", what, True)
    assert error.field_violations == (FieldViolation("prompt", "missing"), FieldViolation("config.top_p", "above 0"))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - as multiprocessing does
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    ("code", "reason", "delay", "pushback", "retryable"),
    [
        (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", 1, "1000", True),
        (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", 0, "0", True),
        (StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED", None, "", False),
        (StatusCode.UNAVAILABLE, "ALL_PROVIDERS_FAILED", 1, "-1", False),
        (StatusCode.UNAVAILABLE, "OF_A_NEWER_GATEWAY", None, "", True),
        (StatusCode.ABORTED, "IDEMPOTENCY_IN_PROGRESS", 1, "1000", True),
        (StatusCode.INTERNAL, "INTERNAL", None, "", False),
    ],
)
async def test_when_the_same_call_may_be_sent_again(
    code: StatusCode,
    reason: str,
    delay: int | None,
    pushback: str,
    retryable: bool,
    gateway: FakeGateway,
    caller: Caller,
) -> None:
    retry = [] if delay is None else [RetryInfo(retry_delay=Duration(seconds=delay))]
    gateway.failure = failure(code, info(reason), *retry, pushback=pushback)
    gateway.events = [StreamGenerateResponse(heartbeat=Heartbeat())]
    for method in ("generate", "stream"):
        assert (await caught(caller, method)).is_retryable is retryable
    gateway.events = BEGUN
    assert not (await caught(caller, "stream")).is_retryable


async def test_a_reason_of_a_newer_gateway(gateway: FakeGateway, caller: Caller) -> None:
    gateway.failure = failure(StatusCode.FAILED_PRECONDITION, info("NEW"))
    error = await caught(caller)
    assert type(error) is UnknownError
    assert (error.reason, error.code) == ("NEW", StatusCode.FAILED_PRECONDITION)


@pytest.mark.parametrize("details", [(), (ErrorInfo(reason="RATE_LIMITED", domain="example.com"),)])
@pytest.mark.parametrize(("code", "kind"), [*BY_CODE.items(), (StatusCode.INTERNAL, UnknownError)])
async def test_a_status_that_is_not_the_gateways(
    code: StatusCode, kind: type[TrunklineError], details: tuple[Message, ...], gateway: FakeGateway, caller: Caller
) -> None:
    gateway.failure = failure(code, *details, call_id="")
    for method in ("generate", "stream"):
        error = await caught(caller, method)
        assert type(error) is kind
        assert (error.code, error.reason, error.metadata, error.call_id) == (code, "", {}, "")
        assert error.is_retryable is (kind is ConnectionFailed)


@pytest.mark.parametrize("details", [b"\xff\xff", Status(details=[Packed(value=b"\xff")]).SerializeToString()])
async def test_details_that_cannot_be_read(details: bytes, gateway: FakeGateway, caller: Caller) -> None:
    broken = Packed(type_url=f"type.googleapis.com/{ErrorInfo.DESCRIPTOR.full_name}", value=b"\xff\xff")
    for trailer in (details, Status(details=[broken]).SerializeToString()):
        gateway.failure = (StatusCode.INTERNAL, "it failed", (("grpc-status-details-bin", trailer),))
        assert type(await caught(caller)) is UnknownError


async def test_no_gateway_there(client_kind: type[Caller]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        caller = client_kind(address)
        for method in ("generate", "stream", "health"):
            with pytest.raises(
                ConnectionFailed, match=f"no connection to the gateway at {address}: .*refused"
            ) as error:
                await (caller.events("x") if method == "stream" else caller.call(method, *["x"] * (method != "health")))
            assert error.value.is_retryable
        await caller.aclose()


async def test_a_gateway_that_goes_away_in_the_middle(gateway: FakeGateway, caller: Caller) -> None:
    gateway.events, gateway.hangs = BEGUN, True
    reading = asyncio.create_task(caught(caller, "stream"))
    await gateway.reached.wait()
    assert gateway.server is not None
    await gateway.server.stop(0.05)
    error = await reading
    assert type(error) is ConnectionFailed
    assert not error.is_retryable


async def test_a_method_that_the_server_does_not_have(client_kind: type[Caller]) -> None:
    server = aio.server()
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    caller = client_kind(address)
    for method in ("generate", "stream"):
        assert type(await caught(caller, method)) is Unimplemented
    await caller.aclose()
    await server.stop(None)


async def test_an_answer_above_the_limit(gateway: FakeGateway) -> None:
    gateway.response.message.parts.add(text="x" * 1000)
    limit = [("grpc.max_receive_message_length", 100)]
    async with aio.insecure_channel(gateway.address, options=limit) as channel:
        with pytest.raises(MessageTooLarge) as error:
            await AsyncClient(channel=channel).generate("x")
    assert not error.value.is_retryable


def test_both_kinds_of_refused_key_are_one() -> None:
    assert issubclass(errors.KeyMissing, AuthenticationFailed)
    assert issubclass(errors.KeyInvalid, AuthenticationFailed)


def test_what_has_both_a_reason_and_a_code_is_one_class() -> None:
    both = {BY_REASON["DEADLINE_EXCEEDED"], BY_REASON["CANCELLED"]}
    assert both == {DeadlineExceeded, Cancelled} == set(BY_CODE.values()) & set(BY_REASON.values())
    assert BY_REASON["STREAM_INTERRUPTED"] is Interrupted
