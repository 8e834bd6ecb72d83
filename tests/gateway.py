"""A whole gateway in this process: configuration, every layer, a real server on port 0."""

from __future__ import annotations

import io
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from grpc import aio

from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline.v1.model_service_pb2_grpc import ModelServiceStub
from trunkline_server import config
from trunkline_server.app import App
from trunkline_server.logs import build_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub
    from trunkline.v1.model_service_pb2_grpc import ModelServiceAsyncStub
    from trunkline_server.settings import Settings

NO_WEIGHTS = Path("/nonexistent")


@dataclass
class Gateway:
    """A gateway that runs, and what it wrote to its log."""

    app: App
    stub: GatewayServiceAsyncStub
    models: ModelServiceAsyncStub
    channel: aio.Channel
    log: io.BytesIO = field(default_factory=io.BytesIO)

    @property
    def admin_address(self) -> str:
        return f"127.0.0.1:{self.app.admin_port}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.app.port}"

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


def settings_of(tmp_path: Path, document: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """What the configuration reader makes of a document: on port 0, no admin service, no wait for load balancers."""
    server = {"listen": "127.0.0.1:0", "admin_listen": "", "notice": 0, **document.get("server", {})}
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump({**document, "server": server}))
    return config.load(path, environ or {})


@asynccontextmanager
async def gateway(settings: Settings, *, validates: bool = False, discovers: bool = False) -> AsyncIterator[Gateway]:
    """Run it. On leaving it has drained: nothing of it is left.

    With `validates` it asks providers about their credentials of its own accord, with `discovers` for their models:
    requests that no test has made.
    """
    written = io.BytesIO()
    with TemporaryDirectory() as data:
        log = build_log(written)
        app = App(settings, log, NO_WEIGHTS, Path(data), validates=validates, discovers=discovers)
        await app.start()
        try:
            async with aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
                yield Gateway(app, GatewayServiceStub(channel), ModelServiceStub(channel), channel, written)
        finally:
            await app.stop()


def to_json(message: Any) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToJson

    decoded: dict[str, Any] = msgspec.json.decode(MessageToJson(message))
    return decoded
