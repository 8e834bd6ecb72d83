"""Resolve: a valid, plain request, or every bad field at once. Pure over the call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_USER
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.errors import InvalidRequest
from trunkline_server.layers.validate import violations

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler


def resolve(below: Handler) -> Handler:
    """Refuse what is invalid (InvalidRequest); below, a request always has messages and never a prompt."""

    def handle(call: Call) -> Events:
        if bad := violations(call.request):
            raise InvalidRequest(bad)
        call.story.valid = True
        return below(_plain(call))

    return handle


def _plain(call: Call) -> Call:
    if not call.request.prompt:
        return call
    request = GenerateRequest()
    request.CopyFrom(call.request)
    request.ClearField("prompt")
    request.messages.add(role=ROLE_USER).parts.add(text=call.request.prompt)
    return replace(call, request=request)
