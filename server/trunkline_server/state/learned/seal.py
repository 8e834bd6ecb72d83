"""What is kept of prompts, sealed: who has the database and not the pepper can tell nothing of them."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import json

from trunkline_server.routing.learned.shape import NO_SHAPE, Shape

# Tells the key from whatever else is made of the pepper.
_PURPOSE = b"trunkline: what decisions keep of prompts"
_NONCE = 12


class Seal:
    """AES-256-GCM with a key of its own, made of the pepper: HMAC-SHA-256 of a fixed text."""

    def __init__(self, pepper: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(pepper, _PURPOSE, "sha256"))

    def sealed(self, shape: Shape) -> str:
        """The shape as the database has it, never twice the same."""
        nonce = secrets.token_bytes(_NONCE)
        return b64encode(nonce + self._cipher.encrypt(nonce, json.encode(shape), None)).decode()

    def opened(self, text: str | None) -> Shape:
        """What was sealed; nothing, where there is none, where another pepper sealed it, and where it is damaged."""
        if not text:
            return NO_SHAPE
        try:
            data = b64decode(text)
            return json.decode(self._cipher.decrypt(data[:_NONCE], data[_NONCE:], None), type=Shape)
        except (InvalidTag, ValueError):
            return NO_SHAPE
