"""Watch: the endpoint's state learns of every call at it, as close to the provider as can be."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.state.provider_health import EndpointState


def watch(endpoint: EndpointState) -> Layer:
    """Tell `endpoint` when a call begins and ends, that its credential was taken, or how the provider failed."""

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            endpoint.begin()
            try:
                async with aclosing(below(call)) as events:
                    async for event in events:
                        if event.HasField("completed"):
                            endpoint.succeeded()
                        yield event
            except UpstreamError as error:
                endpoint.failed(error)
                raise
            finally:
                endpoint.end()

        return handle

    return layer
