"""The sync client on grpcio-testing's channel, as callers may test their own code."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc_testing  # type: ignore[import-untyped,unused-ignore]
import pytest
from grpc import StatusCode

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import Usage
from trunkline.v1.content_pb2 import Part
from trunkline_client import Answer, Client, ConnectionFailed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE = pb.DESCRIPTOR.services_by_name["GatewayService"]
TEXT = pb.StreamGenerateResponse(part_started=pb.PartStarted(part=Part(text="Hi")))
COMPLETED = pb.StreamGenerateResponse(completed=pb.StreamCompleted())


class Stage:
    """A client in a thread of its own, and the other end of its channel."""

    def __init__(self) -> None:
        self.channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.client = Client(channel=self.channel, api_key="k", timeout=9)
        self._threads = ThreadPoolExecutor()

    def play(self, work: Callable[[Client], Any]) -> Future[Any]:
        return self._threads.submit(work, self.client)

    def take(self, method: str) -> tuple[Any, Any, Any]:
        """The next call's metadata, request and rest."""
        descriptor = SERVICE.methods_by_name[method]
        take = self.channel.take_unary_stream if descriptor.server_streaming else self.channel.take_unary_unary
        return self._threads.submit(take, descriptor).result(5)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._threads.shutdown(wait=False)


@pytest.fixture
def stage() -> Iterator[Stage]:
    opened = Stage()
    yield opened
    opened.close()


def test_generate(stage: Stage) -> None:
    answer = stage.play(lambda client: client.generate("Say hi", model="mock"))
    metadata, request, rpc = stage.take("Generate")
    assert request == pb.GenerateRequest(prompt="Say hi", model="mock")
    assert ("authorization", "Bearer k") in metadata
    response = pb.GenerateResponse(id="c1", usage=Usage(output_tokens=1))
    rpc.terminate(response, (), StatusCode.OK, "")
    assert answer.result(5) == Answer(response)


def test_an_error(stage: Stage) -> None:
    answer = stage.play(lambda client: client.health())
    _, _, rpc = stage.take("HealthCheck")
    rpc.terminate(None, (), StatusCode.UNAVAILABLE, "gone")
    with pytest.raises(ConnectionFailed, match="at the given channel: gone"):
        answer.result(5)


def test_a_stream(stage: Stage) -> None:
    def read(client: Client) -> tuple[list[str], Answer]:
        with client.stream("Say hi") as stream:
            return list(stream.text), stream.response

    result = stage.play(read)
    _, _, rpc = stage.take("StreamGenerate")
    rpc.send_response(TEXT)
    rpc.send_response(COMPLETED)
    rpc.terminate((), StatusCode.OK, "")
    texts, answer = result.result(5)
    assert (texts, answer.text) == (["Hi"], "Hi")


def test_a_cut_stream(stage: Stage) -> None:
    result = stage.play(lambda client: list(client.stream("Say hi")))
    _, _, rpc = stage.take("StreamGenerate")
    rpc.send_response(TEXT)
    rpc.terminate((), StatusCode.OK, "")
    with pytest.raises(Interrupted):
        result.result(5)


def test_leaving_a_stream_cancels_it(stage: Stage) -> None:
    def leave(client: Client) -> str:
        for text in client.stream("Say hi").text:
            return text
        return ""

    result = stage.play(leave)
    _, _, rpc = stage.take("StreamGenerate")
    rpc.send_response(TEXT)
    assert result.result(5) == "Hi"
    stage.play(lambda _: rpc.cancelled()).result(5)
