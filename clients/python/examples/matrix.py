"""Every case of tests/matrix/CASES.md, and the load."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2

from examples.errors import fail
from examples.generate import generate
from examples.health import health
from examples.stream import cancel, stream
from examples.tools import ask_with_tools
from examples.usage import usage
from trunkline.v1.content_pb2 import FinishReason
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_client import AllProvidersFailed, Client, TrunklineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

ADDRESS = os.environ["TRUNKLINE_ADDRESS"]
API_KEY = os.environ["TRUNKLINE_API_KEY"]
GOLDEN = Path(os.environ["TRUNKLINE_GOLDEN"])
HELLO, TOOLS, SLOW = "scripted/hello", "scripted/tools", "slow/upstream"
WORKERS = 4
# So that their types are known.
DETAILS = (error_details_pb2.ErrorInfo, status_pb2.Status)


def unary(client: Client) -> Any:
    answer = generate(client, HELLO)
    return {
        "text": answer.text,
        "finish_reason": FinishReason.Name(answer.finish_reason),
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
    }


def streamed(client: Client) -> Any:
    events = list(client.stream("Say hello", model=HELLO, timeout=10))
    text, _ = stream(client, HELLO)
    return {"text": text, "completed": sum(event.HasField("completed") for event in events)}


def cancelled(client: Client) -> Any:
    return {"code": cancel(client, SLOW)}


def deadline(client: Client) -> Any:
    began = time.monotonic()
    try:
        for _ in client.stream("too slow", model=SLOW, timeout=0.3):
            pass
    except TrunklineError as error:
        assert time.monotonic() - began < 1, "took a second"
        return {"code": error.code.name}
    return {"code": "OK"}


def tools(client: Client) -> Any:
    call, text = ask_with_tools(client, TOOLS)
    return {"name": call.name, "arguments": call.arguments_json, "text": text}


def error_details(client: Client) -> Any:
    return [told(fail(client, HELLO, temperature=9, top_p=0)), told(fail(client, "scripted/error"))]


def told(error: TrunklineError) -> Any:
    fields = sorted(violation.field for violation in error.field_violations)
    return {"code": error.code.name, "reason": error.reason, "retry_delay": error.retry_delay, "fields": fields}


def retry_pushback(client: Client) -> Any:
    began = time.monotonic()
    answer = generate(client, "scripted/busy")
    waited = time.monotonic() - began >= 0.6
    try:
        generate(client, "scripted/stop")
    except AllProvidersFailed:
        stopped_after = usage(client, "scripted/stop").requests
    attempts = usage(client, "scripted/busy").requests
    return {"text": answer.text, "attempts": attempts, "waited": waited, "stopped_after": stopped_after}


def healthy(client: Client) -> Any:
    status, state = health(client, ADDRESS)
    return {"status": status, "state": state}


def used(client: Client) -> Any:
    return {"calls": client.usage(timeout=10).totals.requests > 0}


def tls(_: Client) -> Any:
    credentials = grpc.ssl_channel_credentials(Path(os.environ["TRUNKLINE_CA"]).read_bytes())
    with Client(os.environ["TRUNKLINE_TLS_ADDRESS"], credentials=credentials, api_key=API_KEY) as client:
        return {"text": generate(client, HELLO).text}


def api_key(_: Client) -> Any:
    with Client(ADDRESS) as client:
        error = fail(client, HELLO)
    return {"code": error.code.name, "reason": error.reason}


def unknown(_: Client) -> Any:
    written = (GOLDEN / "unknown.bin").read_bytes()
    response = GenerateResponse.FromString(written)
    return {
        "id": response.id,
        "finish_reason": response.finish_reason,
        "text": response.message.parts[0].text,
        "same_bytes": response.SerializeToString() == written,
    }


def golden(_: Client) -> Any:
    return {name: reread(name, kind) for name, kind in json.loads((GOLDEN / "types.json").read_text()).items()}


def reread(name: str, kind: str) -> Any:
    message = new(kind)
    message.ParseFromString((GOLDEN / f"{name}.bin").read_bytes())
    text = json_format.Parse((GOLDEN / f"{name}.json").read_text(), new(kind))
    again = json_format.Parse(json_format.MessageToJson(message), new(kind))
    assert text == message == again, f"{name}: not the same message"
    assert type(text).FromString(text.SerializeToString()) == message, f"{name}: not the same message on the wire"
    return json.loads(json_format.MessageToJson(again))


def new(kind: str) -> Message:
    pool = descriptor_pool.Default()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind))()


CASES: Mapping[str, Callable[[Client], Any]] = {
    "unary": unary,
    "stream": streamed,
    "cancel": cancelled,
    "deadline": deadline,
    "tools": tools,
    "error_details": error_details,
    "retry_pushback": retry_pushback,
    "health": healthy,
    "usage": used,
    "tls": tls,
    "api_key": api_key,
    "unknown": unknown,
    "golden": golden,
}
# What a worker repeats under load, and what it makes of it.
KINDS: Mapping[str, Callable[[Client], str]] = {
    "unary": lambda client: generate(client, HELLO).text,
    "stream": lambda client: stream(client, HELLO)[0],
    "tools": lambda client: ask_with_tools(client, TOOLS)[1],
    "cancel": lambda client: cancel(client, SLOW),
}


def run() -> None:
    """Every case, a line each."""
    with Client(ADDRESS, api_key=API_KEY) as client:
        for name, case in CASES.items():
            try:
                say({"case": name, "ok": True, "value": case(client)})
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                say({"case": name, "ok": False, "value": None, "why": repr(error)})


def load(seconds: float) -> None:
    """WORKERS threads that call for so long, on one client."""
    until = time.monotonic() + seconds
    with Client(ADDRESS, api_key=API_KEY) as client, ThreadPoolExecutor() as pool:
        heard = [worker.result() for worker in [pool.submit(work, client, until) for _ in range(WORKERS)]]
    value = {kind: sorted({answer for each in heard for answer in each[kind]}) for kind in KINDS}
    calls = sum(len(answers) for each in heard for answers in each.values())
    say({"case": "load", "ok": True, "value": value, "calls": calls})


def work(client: Client, until: float) -> Mapping[str, list[str]]:
    heard = defaultdict(list)
    while time.monotonic() < until:
        for kind, call in KINDS.items():
            heard[kind].append(call(client))
    return heard


def say(row: Mapping[str, Any]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    if seconds := os.environ.get("TRUNKLINE_SECONDS"):
        load(float(seconds))
    else:
        run()
