"""How tokens are asked for: one request to a place that may have secrets, and one answer that says what it must."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from trunkline_server.dialects.scrub import scrub
from trunkline_server.errors import CredentialMissing, UpstreamError
from trunkline_server.providers.addresses import may_have_secrets
from trunkline_server.providers.http import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.providers.upstream import Http

# Gives the body of a good answer. Raises CredentialMissing.
Ask = Callable[[HttpRequest], Awaitable[bytes]]
T = TypeVar("T")

_MAX_ANSWER = 1 << 20
_MAX_ERROR = 8 << 10
# Machine codes of token endpoints: OAuth's {"error": "invalid_grant"}, AWS's <Code> and __type.
_CODE = re.compile(rb'"(?:error|__type|code)"\s*:\s*"([A-Za-z0-9_.#-]{1,64})"|<Code>([A-Za-z0-9_.]{1,64})</Code>')


def build_ask(http: Http) -> Ask:
    """What sends requests for tokens. Their answers are secrets: `http` is to write none of it down."""

    async def ask(request: HttpRequest) -> bytes:
        host = urlsplit(request.url).netloc if may_have_secrets(request.url) else ""
        if not host:
            raise CredentialMissing("the address that gives it must be https, or on this machine")
        try:
            async with http.exchange(request) as response:
                if response.status == 200:
                    return await response.read(_MAX_ANSWER)
                body = await response.read_start(_MAX_ERROR)
        except UpstreamError as error:
            raise CredentialMissing(f"{host}: {error.message}") from None
        raise CredentialMissing(f"{host} answered {response.status}{_code_in(body)}")

    return ask


def _code_in(body: bytes) -> str:
    match = _CODE.search(body)
    code = scrub((match[1] or match[2]).decode()) if match else ""
    return f" ({code})" if code else ""


def get(url: str, headers: Mapping[str, str] = {}) -> HttpRequest:
    """A request that asks."""
    return HttpRequest("GET", url, {"accept": "application/json", **headers})


def form(url: str, fields: Mapping[str, str]) -> HttpRequest:
    """A request that posts a form."""
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    return HttpRequest("POST", url, headers, urlencode(fields).encode())


def decode(body: bytes, kind: type[T], why: str = "what was answered lacks what it must have") -> T:
    """The answer as it must be. Raises CredentialMissing with `why`, and shows nothing of it."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CredentialMissing(why) from None
