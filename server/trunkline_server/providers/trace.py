"""What `monitoring_level: comprehensive`, or a provider's `debug`, adds: a line for each exchange. Never a body."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from trunkline_server.core import now
from trunkline_server.providers.http import HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from trunkline_server.logs import Log
    from trunkline_server.providers.http import HttpClient, HttpRequest

# Headers whose values say nothing of a key, an account or a person.
_PLAIN = re.compile(
    r"content-(type|length|encoding)|accept|date|server|retry-after.*|.*ratelimit.*|.*request-id|user-agent"
)
_LONGEST_VALUE = 200


class TracedHttp:
    """An HttpClient that writes a line for each exchange: times, sizes, and headers with their values masked."""

    def __init__(self, http: HttpClient, log: Log, provider: str) -> None:
        self._http = http
        self._log = log.bind(provider=provider)

    @asynccontextmanager
    async def exchange(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        """As HttpClient.exchange."""
        begin, response, head = now(), None, None
        try:
            async with self._http.exchange(request) as inner:
                head = now()
                response = _CountedResponse(inner)
                yield response
        finally:
            self._log.info(
                "exchange",
                id=request.call_id,
                request_bytes=len(request.body),
                request_headers=masked(request.headers),
                status=response.status if response else 0,
                response_bytes=response.received if response else 0,
                response_headers=masked(response.headers) if response else {},
                head_ms=None if head is None else round((head - begin) * 1000, 2),
                total_ms=round((now() - begin) * 1000, 2),
            )


class _CountedResponse(HttpResponse):
    """A response that counts the bytes of its body."""

    def __init__(self, inner: HttpResponse) -> None:
        self.__dict__.update(inner.__dict__)
        self.received = 0

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        async for data in super()._pieces():
            self.received += len(data)
            yield data


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with the value of each that is not known to be plain replaced by ***."""
    return {
        name.lower(): value[:_LONGEST_VALUE] if _PLAIN.fullmatch(name.lower()) else "***"
        for name, value in headers.items()
    }
