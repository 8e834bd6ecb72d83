"""The edge, round every method: a call gets its id and its caller, and what its handler raises one honest status."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from trunkline.v1 import call_pb2
from trunkline_server.errors import STATUS_CODES, CallerGone, CallError
from trunkline_server.logs import frames_of
from trunkline_server.rpc.access import PUBLIC
from trunkline_server.rpc.status import status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline_server.core import Identity
    from trunkline_server.logs import Log
    from trunkline_server.rpc.gatekeeper import Gatekeeper

    Context = aio.ServicerContext[Any, Any]
    Behaviour = Callable[[Any, Context], Awaitable[Any]]
    RpcHandler = grpc.RpcMethodHandler[Any, Any]

CALL_ID_KEY = "trunkline-call-id"
# The id of the call whose task this is. Set here and read by the services, never below them.
CALL_ID: ContextVar[str] = ContextVar("call_id")
# Who makes it: likewise. Not set in methods that are called without a key.
IDENTITY: ContextVar[Identity] = ContextVar("identity")


# Seeded by the system once; asking it for each id would cost as much as the rest of the edge.
_RANDOM = random.Random(secrets.randbits(256))  # noqa: S311 - ids are names, not secrets


def new_id() -> str:
    """An id that no other call has: 12 hex digits of milliseconds, so that ids sort by time, and 64 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{_RANDOM.getrandbits(64):016x}"


class Edge:
    """Wraps every handler but that of reflection, the only one of streamed requests.

    Handlers are coroutines that write, not generators: the clean-up of a generator can run detached from its RPC.
    """

    def __init__(self, log: Log, gatekeeper: Gatekeeper) -> None:
        self._log = log
        self._gatekeeper = gatekeeper

    def wrap(self, method: str, handler: RpcHandler) -> RpcHandler:
        """The method's handler, with the edge round it."""
        if handler.request_streaming and method in PUBLIC:
            return handler
        codecs = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._guarded(method, handler.unary_stream), *codecs)
        return grpc.unary_unary_rpc_method_handler(self._guarded(method, handler.unary_unary), *codecs)

    def _guarded(self, method: str, behaviour: Any) -> Behaviour:
        is_public, admit = method in PUBLIC, self._gatekeeper.admit

        async def guarded(request: Any, context: Context) -> Any:
            call_id = new_id()
            CALL_ID.set(call_id)
            context.set_trailing_metadata(((CALL_ID_KEY, call_id),))
            try:
                if not is_public:
                    IDENTITY.set(await admit(method, context))
                return await behaviour(request, context)
            except aio.AbortError:
                raise
            except CallError as error:
                await _abort(context, error, call_id)
            except CallerGone:
                raise asyncio.CancelledError from None
            except asyncio.CancelledError as cancelled:
                if _cancelled_by_grpc():
                    raise
                await self._abort_bug(context, cancelled, call_id)
            except BaseException as error:  # noqa: BLE001 - gRPC would send its text to the caller
                await self._abort_bug(context, error, call_id)

        return guarded

    async def _abort_bug(self, context: Context, error: BaseException, call_id: str) -> None:
        self._log.error("bug", id=call_id, kind=type(error).__name__, at=frames_of(error))
        bug = CallError(call_pb2.ERROR_REASON_INTERNAL, "a bug in the gateway: its log has more under this call's id")
        await _abort(context, bug, call_id)


async def _abort(context: Context, error: CallError, call_id: str) -> None:
    message, metadata = status_of(error, call_id, context.time_remaining())
    await context.abort(STATUS_CODES[error.reason], message, (*metadata, *context.trailing_metadata()))


def _cancelled_by_grpc() -> bool:
    """gRPC cancels the task of a call whose caller went away. Any other cancellation would leave the caller hanging."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
