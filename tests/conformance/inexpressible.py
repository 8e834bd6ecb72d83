"""What a request may have that the contract has no word for."""

from __future__ import annotations


class Inexpressible(Exception):
    """The contract has no word for a part of the request: which."""
