"""Resolve: a valid, plain request that says what its task says, or every bad field at once. Pure over the call."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1.content_pb2 import ROLE_USER
from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse
from trunkline_server.errors import InvalidRequest
from trunkline_server.layers.validate import violations
from trunkline_server.routing.options import stray_options
from trunkline_server.routing.policy import PLAIN
from trunkline_server.routing.tasks import expand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.routing.policy import Policy


def resolve(below: Handler) -> Handler:
    """Refuse what is invalid (InvalidRequest, UnknownName).

    Below, a request always has messages and never a prompt, and says what its task says; the call has a policy where
    there is anything to it.
    """

    def handle(call: Call) -> Events:
        resolved, warnings = plain(call)
        return _warning(below(resolved), warnings) if warnings else below(resolved)

    return handle


def plain(call: Call) -> tuple[Call, Sequence[CallWarning]]:
    """The call as it is below, and what to warn its caller about. Its story says from now on that it is valid."""
    given, settings, story = call.request, call.snapshot.settings, call.story
    if bad := violations(given):
        raise InvalidRequest(bad)
    request, policy, warnings = expand(settings, _unprompted(given) if given.prompt else given)
    if request.provider_options:
        warnings = (*warnings, *stray_options(settings, request))
    story.valid, story.request = True, request
    if request is given and policy is PLAIN:
        return call, warnings
    return _told(call, request, policy), warnings


async def _warning(given: Events, warnings: Sequence[CallWarning]) -> Events:
    async with aclosing(given) as events:
        async for event in events:
            yield _warned(event, warnings) if event.HasField("completed") else event


def _told(call: Call, request: GenerateRequest, policy: Policy) -> Call:
    says = None if policy == PLAIN else policy
    if request is call.request and says is None:
        return call
    return structs.replace(call, request=request, policy=says)


def _unprompted(given: GenerateRequest) -> GenerateRequest:
    """The request with its prompt as a message."""
    request = GenerateRequest()
    request.CopyFrom(given)
    request.ClearField("prompt")
    request.messages.add(role=ROLE_USER).parts.add(text=given.prompt)
    return request


def _warned(event: StreamGenerateResponse, warnings: Sequence[CallWarning]) -> StreamGenerateResponse:
    warned = StreamGenerateResponse()
    warned.CopyFrom(event)
    warned.completed.response.warnings.extend(warnings)
    return warned
