"""What a prompt begins with, as a hash. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_SYSTEM, ROLE_USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest

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
