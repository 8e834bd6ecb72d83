"""Secret stores: what a reference such as aws-sm:prod/openai names, by the scheme before its colon.

A package adds a scheme by an entry point of the group `trunkline.secrets`: its name is the scheme, its value an async
function from what stands after the colon to the secret.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from trunkline_server.errors import CredentialMissing
from trunkline_server.providers.refreshed import Lease
from trunkline_server.settings import SECRETS_GROUP, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.settings import Reference

# Gives the secret of this name. May fail in any way; CredentialMissing tells why.
Resolve = Callable[[str], Awaitable[str]]

# Seconds between two looks at a secret. The one that was read stays good however long the store is away.
LOOK_EVERY: Final = 300.0
_VISIBLE = re.compile(r"[!-~]+")


async def fetch(reference: Reference, own: Mapping[str, Resolve]) -> Lease[Secret]:
    """The secret that is referred to; `own` are the schemes that need no package. Raises what the store raises."""
    scheme, _, name = reference.origin.partition(":")
    resolve: Resolve = own[scheme] if scheme in own else _load(scheme)
    text = (await resolve(name)).rstrip("\r\n")
    if not _VISIBLE.fullmatch(text):
        raise CredentialMissing("the secret is not one line of visible ASCII characters")
    return Lease(Secret(text, reference.origin), float("inf"), LOOK_EVERY)


def _load(scheme: str) -> Resolve:
    for found in entry_points(group=SECRETS_GROUP, name=scheme):
        resolve: Resolve = found.load()
        return resolve
    raise CredentialMissing(f"no package here knows the scheme {scheme}")
