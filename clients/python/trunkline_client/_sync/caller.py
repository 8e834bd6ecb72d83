# Generated from _async by generate_sync.py. DO NOT EDIT!
"""What every client is: a channel, and calls on it that fail in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trunkline_client.channel import open_channel
from trunkline_client.status import raising

if TYPE_CHECKING:
    from typing import Self

    from grpc import ChannelCredentials

    from trunkline_client.channel import Channel, Method

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Caller:
    """The other end of a channel."""

    def __init__(
        self,
        target: str | None,
        *,
        credentials: ChannelCredentials | None,
        api_key: str | None,
        timeout: float | None,
        channel: Channel | None,
    ) -> None:
        if (not target) is (channel is None):
            raise TypeError("either a target or a channel")
        self._address = target or "the given channel"
        self._owned = channel is None
        self._channel = channel or open_channel(self._address, credentials)
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout = timeout

    def _ask(
        self, method: Method[_Request, _Response], request: _Request, timeout: float | None
    ) -> _Response:
        limit = self._timeout if timeout is None else timeout
        with raising(self._address):
            return method(request, timeout=limit, metadata=self._metadata)

    def close(self) -> None:
        """Close the channel, if this client opened it. What still runs is cancelled."""
        if self._owned:
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r})"
