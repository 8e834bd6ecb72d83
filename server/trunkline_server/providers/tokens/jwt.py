"""JSON Web Tokens signed with RS256 (RFC 7515, 7518): how a service account proves who it is."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trunkline_server.errors import CredentialMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.settings import Secret


def signed(claims: Mapping[str, object], private_key: Secret, key_id: str) -> str:
    """A token that makes these claims. Raises CredentialMissing where the key, in PEM, is none of RSA."""
    header = {"alg": "RS256", "typ": "JWT", "kid": key_id}
    text = f"{_part(header)}.{_part(claims)}"
    return f"{text}.{_base64(_load(private_key).sign(text.encode(), PKCS1v15(), SHA256()))}"


def _load(private_key: Secret) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise CredentialMissing("private_key is no RSA key in PEM")
    return key


def _part(fields: Mapping[str, object]) -> str:
    return _base64(msgspec.json.encode(fields))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
