"""What every client is: a channel, and calls on it that fail in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trunkline_client.channel import open_async_channel
from trunkline_client.status import raising

if TYPE_CHECKING:
    from typing import Self

    from grpc import ChannelCredentials

    from trunkline_client.channel import AsyncChannel, AsyncMethod

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class AsyncCaller:
    """The other end of a channel."""

    def __init__(
        self,
        target: str | None,
        *,
        credentials: ChannelCredentials | None,
        api_key: str | None,
        timeout: float | None,
        channel: AsyncChannel | None,
    ) -> None:
        if (not target) is (channel is None):
            raise TypeError("either a target or a channel")
        self._address = target or "the given channel"
        self._owned = channel is None
        self._channel = channel or open_async_channel(self._address, credentials)
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout = timeout

    async def _ask(
        self, method: AsyncMethod[_Request, _Response], request: _Request, timeout: float | None
    ) -> _Response:
        limit = self._timeout if timeout is None else timeout
        with raising(self._address):
            return await method(request, timeout=limit, metadata=self._metadata)

    async def aclose(self) -> None:
        """Close the channel, if this client opened it. What still runs is cancelled."""
        if self._owned:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r})"
