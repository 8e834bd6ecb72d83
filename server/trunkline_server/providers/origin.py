"""Origin: opaque state says which provider it came from, and goes back to that one only."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1.content_pb2 import ROLE_ASSISTANT
from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trunkline.v1.content_pb2 import Citation, Part, ProviderPart, ProviderState
    from trunkline_server.core import Call, Events, Handler

    Opaque = ProviderState | ProviderPart

# Between a gateway's name for another gateway and that one's name for the provider.
BEHIND = "/"


def with_origin(handler: Handler) -> Handler:
    """`handler`, whose answers say where their state came from, and which is given none but its own."""

    async def handle(call: Call) -> Events:
        provider = call.target.provider
        own = own_only(call.request, provider)
        async with aclosing(handler(call if own is call.request else structs.replace(call, request=own))) as events:
            async for event in events:
                yield stamped(event, provider)

    return handle


def stamped(event: StreamGenerateResponse, provider: str) -> StreamGenerateResponse:
    """The event, in which all opaque state says that it came from `provider`. One without is returned as it is."""
    kind = event.WhichOneof("event")
    if kind == "completed":
        has_state = any(map(_has_opaque, event.completed.response.message.parts))
    elif kind == "part_delta":
        has_state = bool(event.part_delta.citations)
    elif kind == "part_completed":
        has_state = event.part_completed.HasField("provider_state")
    else:
        has_state = kind == "part_started" and _has_opaque(event.part_started.part)
    if not has_state:
        return event
    copy = StreamGenerateResponse()
    copy.CopyFrom(event)
    _stamp(_opaque_of(copy), provider)
    return copy


def stamp_parts(parts: Iterable[Part], provider: str) -> None:
    """The same of the parts of an answer that is nobody else's yet: in place."""
    for part in parts:
        if _has_opaque(part):
            _stamp(_opaque(part), provider)


def _stamp(opaques: Iterable[Opaque], provider: str) -> None:
    for opaque in opaques:
        opaque.provider = f"{provider}{BEHIND}{opaque.provider}" if opaque.provider else provider


def own_only(request: GenerateRequest, provider: str) -> GenerateRequest:
    """The request, in which all opaque state that came from another provider than this is emptied, and named as
    another's: every dialect leaves out what it has no name for, and says so. State of unknown origin stays.

    One that has none is returned as it is.
    """
    if not _has_origin(request):
        return request
    own = GenerateRequest()
    own.CopyFrom(request)
    for part in _answered(own):
        for state in _states(part):
            if not _is_own(state, provider):
                state.format, state.data = f"{state.format} of {state.provider}", ""
        if part.HasField("provider_part") and not _is_own(part.provider_part, provider):
            foreign = part.provider_part
            foreign.dialect, foreign.json = f"{foreign.provider} ({foreign.dialect})", "{}"
    return own


def _is_own(opaque: Opaque, provider: str) -> bool:
    """Whether it is this provider's, or may be. What it came from behind another gateway is that one's to know."""
    origin, _, behind = opaque.provider.partition(BEHIND)
    if origin not in ("", provider):
        return False
    opaque.provider = behind
    return True


def _answered(request: GenerateRequest) -> Iterator[Part]:
    return (part for message in request.messages if message.role == ROLE_ASSISTANT for part in message.parts)


def _has_opaque(part: Part) -> bool:
    """Whether a part has any state of a provider's."""
    return part.HasField("provider_state") or part.HasField("provider_part") or bool(part.citations)


def _has_origin(request: GenerateRequest) -> bool:
    """Asked of every call, and so in one loop."""
    for message in request.messages:
        if message.role == ROLE_ASSISTANT:
            for part in message.parts:
                if _has_opaque(part) and any(opaque.provider for opaque in _opaque(part)):
                    return True
    return False


def _opaque(part: Part) -> Iterator[Opaque]:
    yield from _states(part)
    if part.HasField("provider_part"):
        yield part.provider_part


def _states(part: Part) -> Iterator[ProviderState]:
    if part.HasField("provider_state"):
        yield part.provider_state
    yield from _cited(part.citations)


def _cited(citations: Sequence[Citation]) -> Iterator[ProviderState]:
    return (citation.provider_state for citation in citations if citation.HasField("provider_state"))


def _opaque_of(event: StreamGenerateResponse) -> Iterator[Opaque]:
    if event.HasField("completed"):
        return (opaque for part in event.completed.response.message.parts for opaque in _opaque(part))
    if event.HasField("part_delta"):
        return _cited(event.part_delta.citations)
    if event.HasField("part_completed"):
        return iter((event.part_completed.provider_state,))
    return _opaque(event.part_started.part)
