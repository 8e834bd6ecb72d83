"""What a prompt begins with, as a hash; and what a target that has read it already would save. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_SYSTEM, ROLE_USER
from trunkline_server.prices.rates import CACHE_READ, INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.prices.rates import Prices

# Bytes of each piece that are hashed, beside its length: two prompts that are told apart no better cost a preference,
# and a long prompt costs no time.
MOST = 16_384


def prefix_key(workspace: str, request: GenerateRequest) -> bytes:
    """The same for calls of a workspace that begin alike: model, instructions, tools and the first thing the user says.

    A hash: nothing of the prompt can be read from it.
    """
    digest = blake2b(digest_size=16)
    for piece in _pieces(workspace, request):
        digest.update(len(piece).to_bytes(8, "big"))
        digest.update(piece[:MOST])
    return digest.digest()


def _pieces(workspace: str, request: GenerateRequest) -> Iterator[bytes]:
    yield workspace.encode()
    yield request.model.encode()
    yield request.system_instruction.encode()
    for tool in request.tools:
        yield tool.SerializeToString(deterministic=True)
    # However many tools there are: what follows is something else.
    yield b"turn"
    yield request.prompt.encode()
    for message in request.messages:
        if message.role in (ROLE_SYSTEM, ROLE_USER):
            yield message.SerializeToString(deterministic=True)
        if message.role == ROLE_USER:
            return


def saving(prices: Prices | None, cached_tokens: int, input_tokens: int) -> int:
    """Nano-USD by which a call is expected to cost less where so many of its tokens are in the provider's cache.

    0 where reads from the cache cost what all input costs, or are unpriced.
    """
    if prices is None or INPUT not in prices.rates or CACHE_READ not in prices.rates:
        return 0
    cached = min(cached_tokens, input_tokens)
    full, read = (prices.rates[unit].amount(cached, input_tokens) for unit in (INPUT, CACHE_READ))
    return max(0, (full - read) // 1000)
