"""How soon a gateway is ready: under 2 s, and under 4 s with the embedded model loaded. The best of three counts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline_server import config
from trunkline_server.providers.weights import find

if TYPE_CHECKING:
    from pathlib import Path

READY = 2.0
LOADED = 4.0


def seconds_until(tmp_path: Path, request: pb.GenerateRequest | None) -> float:
    """From starting the process to "listening", or to the answer of a first call."""
    command = [sys.executable, "-m", "trunkline_server", "serve", "--listen", "127.0.0.1:0"]
    begin = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stderr is not None
        try:
            line = json.loads(process.stderr.readline())
            assert line["event"] == "listening"
            if request is not None:
                with grpc.insecure_channel(line["address"]) as channel:
                    GatewayServiceStub(channel).Generate(request, timeout=30)
            return time.monotonic() - begin
        finally:
            process.kill()


def test_a_gateway_is_ready_in_time(tmp_path: Path) -> None:
    taken = [seconds_until(tmp_path, None) for _ in range(3)]
    assert min(taken) < READY, taken


@pytest.mark.embedded
def test_the_embedded_model_is_loaded_in_time(tmp_path: Path) -> None:
    if find(config.cache_folder()) is None:
        pytest.skip("the weights are not on this machine: trunkline model pull")
    request = pb.GenerateRequest(model="embedded", prompt="Hi", config=pb.GenerationConfig(max_output_tokens=1))
    taken = [seconds_until(tmp_path, request) for _ in range(3)]
    assert min(taken) < LOADED, taken
