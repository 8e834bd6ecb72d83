"""provider_options under a provider's own name: said to it in whichever dialect it is asked."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline_server.core import Call, Events, Handler


def named_options(handler: Handler, provider: str, dialect: str) -> Handler:
    """`handler`, which reads options under `dialect`, given those under the provider's name there, too.

    Of the same key in both, the provider's stands. What is refused is named as the caller wrote it.
    """

    def handle(call: Call) -> Events:
        named = provider in call.request.provider_options
        return _moved(handler, call, provider, dialect) if named else handler(call)

    return handler if provider == dialect else handle


async def _moved(handler: Handler, call: Call, provider: str, dialect: str) -> Events:
    request = GenerateRequest()
    request.CopyFrom(call.request)
    own = call.request.provider_options[provider].fields
    request.provider_options[dialect].MergeFrom(call.request.provider_options[provider])
    try:
        async with aclosing(handler(structs.replace(call, request=request))) as events:
            async for event in events:
                yield event
    except InvalidRequest as error:
        written, said = f"provider_options.{dialect}.", f"provider_options.{provider}."
        raise InvalidRequest([_as_written(violation, written, said, own) for violation in error.violations]) from None


def _as_written(violation: Violation, written: str, said: str, own: Iterable[str]) -> Violation:
    name = violation.field.removeprefix(written)
    is_own = name != violation.field and any(name == key or name.startswith(f"{key}.") for key in own)
    return Violation(said + name, violation.description) if is_own else violation
