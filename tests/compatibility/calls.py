"""Calls as a program of another time makes them: with the stubs alone and with the client. Prints what came of them.

Runs in an environment that has only the client, perhaps that of an older release: nothing here may need a newer one.
"""

from __future__ import annotations

import json
import os
import warnings

import google.protobuf
import grpc

from trunkline.v1.content_pb2 import FinishReason
from trunkline.v1.gateway_service_pb2 import GenerateRequest, HealthCheckRequest, UsageStatsRequest
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline.v1.model_service_pb2_grpc import ModelServiceStub
from trunkline_client import Client, TrunklineError

warnings.simplefilter("error")
ADDRESS = os.environ["TRUNKLINE_ADDRESS"]
KEY = os.environ["TRUNKLINE_API_KEY"]
HELLO = "scripted/hello"


def with_stubs() -> dict[str, object]:
    """Every kind of method, by the generated code alone."""
    with grpc.insecure_channel(ADDRESS) as channel:
        gateway, models = GatewayServiceStub(channel), ModelServiceStub(channel)
        known = (("authorization", f"Bearer {KEY}"),)
        asked = GenerateRequest(model=HELLO, prompt="Say hello")
        answer = gateway.Generate(asked, metadata=known, timeout=10)
        events = list(gateway.StreamGenerate(asked, metadata=known, timeout=10))
        return {
            "text": answer.message.parts[0].text,
            "finish_reason": FinishReason.Name(answer.finish_reason),
            "streamed": "".join(event.part_started.part.text + event.part_delta.text for event in events),
            "last": events[-1].WhichOneof("event"),
            "state": gateway.HealthCheck(HealthCheckRequest(), metadata=known, timeout=10).state,
            "calls": gateway.UsageStats(UsageStatsRequest(), metadata=known, timeout=10).totals.requests > 0,
            "models": bool(models.ListModels(ListModelsRequest(), metadata=known, timeout=10).models),
        }


def with_the_client() -> dict[str, object]:
    """The same by the client, and how a call fails."""
    with Client(ADDRESS, api_key=KEY, timeout=10) as client:
        stream = client.stream("Say hello", model=HELLO)
        streamed = "".join(stream.text)
        try:
            client.generate("Say hello", model=HELLO, temperature=9)
        except TrunklineError as failed:
            error = failed
        return {
            "text": client.generate("Say hello", model=HELLO).text,
            "streamed": streamed,
            "whole": stream.response.text,
            "error": type(error).__name__,
            "reason": error.reason,
            "fields": [violation.field for violation in error.field_violations],
        }


if __name__ == "__main__":
    libraries = {"protobuf": google.protobuf.__version__, "grpcio": grpc.__version__}
    print(json.dumps({"libraries": libraries, "stubs": with_stubs(), "client": with_the_client()}))
