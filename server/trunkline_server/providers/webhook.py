"""Posts what happened to an address of the operator's: in order, each a few times if need be, and signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline_server.errors import UpstreamError
from trunkline_server.providers.http import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trunkline_server.logs import Log
    from trunkline_server.providers.upstream import Http
    from trunkline_server.settings import WebhookSettings

# Seconds before each further try; after the last one it is given up.
PAUSES = (1.0, 5.0, 25.0, 125.0)
# Seconds that one try may take.
PATIENCE = 10.0
# Posts that wait. What comes then is told to the log only.
MOST_WAITING = 1000
# Answers below 500 that may be others if it is tried again.
_TEMPORARY = frozenset({408, 425, 429})


def signature(secret: str, moment: int, body: bytes) -> str:
    """What the receiver computes, too: HMAC-SHA256 of "{moment}.{body}", with the moment in seconds since 1970."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class Webhook:
    """For one event loop."""

    def __init__(
        self,
        settings: WebhookSettings,
        http: Http,
        log: Log,
        clock: Callable[[], float] = time.time,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """`clock` gives seconds since 1970; `pauses` are those before further tries."""
        self._url = settings.url.reveal()
        self._secret = settings.secret.reveal() if settings.secret else ""
        self._http = http
        self._log = log
        self._clock = clock
        self._pauses = pauses
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MOST_WAITING)

    def post(self, post_id: str, body: Mapping[str, Any]) -> None:
        """Have it posted soon. `post_id` is the same in each try, so that receivers know one that they have."""
        try:
            self._waiting.put_nowait((post_id, msgspec.json.encode(body)))
        except asyncio.QueueFull:
            self._log.error("webhook_not_posted", id=post_id, why="too many posts wait")

    async def follow(self) -> None:
        """Post, until it is cancelled: what waits then is lost."""
        while True:
            post_id, body = await self._waiting.get()
            if why := await self._post(post_id, body):
                self._log.error("webhook_not_posted", id=post_id, why=why)

    async def _post(self, post_id: str, body: bytes) -> str:
        """Try until it is taken, refused, or was tried often enough. Why it is given up; empty = it was taken."""
        why, again = await self._try(post_id, body)
        for pause in self._pauses:
            if not again:
                break
            await asyncio.sleep(pause)
            why, again = await self._try(post_id, body)
        return why

    async def _try(self, post_id: str, body: bytes) -> tuple[str, bool]:
        """Why it was not taken, empty = it was; and whether it may be if it is tried again."""
        try:
            async with asyncio.timeout(PATIENCE), self._http.exchange(self._request(post_id, body)) as response:
                status = response.status
        except TimeoutError:
            return f"no answer within {PATIENCE:.0f} s", True
        except UpstreamError as error:
            return error.message, True
        if 200 <= status < 300:
            return "", False
        return f"status {status}", status >= 500 or status in _TEMPORARY

    def _request(self, post_id: str, body: bytes) -> HttpRequest:
        headers = {"content-type": "application/json", "x-trunkline-id": post_id}
        if self._secret:
            headers["x-trunkline-signature"] = signature(self._secret, int(self._clock()), body)
        return HttpRequest("POST", self._url, headers, body)
