"""A row's own generation settings, where the caller is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1.gateway_service_pb2 import GenerateRequest

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerationConfig
    from trunkline_server.core import Call, Events, Handler


def with_defaults(handler: Handler, defaults: GenerationConfig | None) -> Handler:
    """`handler`, given each request with `defaults` in the fields of its config that the caller left unset."""
    if defaults is None:
        return handler

    def handle(call: Call) -> Events:
        return handler(structs.replace(call, request=_filled_in(call.request, defaults)))

    return handle


def _filled_in(given: GenerateRequest, defaults: GenerationConfig) -> GenerateRequest:
    request = GenerateRequest()
    request.CopyFrom(given)
    request.config.CopyFrom(defaults)
    request.config.MergeFrom(given.config)
    return request
