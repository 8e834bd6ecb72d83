"""What a caller may use. Pure.

Decided on the target that a name means, never on the name: so no alias, other spelling or default gets round it.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Identity
    from trunkline_server.snapshot import Offer


def may_use(identity: Identity, target: Target) -> bool:
    """Whether the caller may have this target asked."""
    return may_use_model(identity, target.provider, target.model)


def may_use_model(identity: Identity, provider: str, model: str) -> bool:
    """Whether the caller may have a provider asked for its own id of a model.

    A pattern with a slash is compared with "provider/model", one without with the id alone; * is any text.
    """
    if identity.providers and provider not in identity.providers:
        return False
    return not identity.models or any(
        _matcher(pattern).match(f"{provider}/{model}" if "/" in pattern else model) for pattern in identity.models
    )


def may_see(identity: Identity, offer: Offer) -> bool:
    """Whether the caller may use any model that the provider lists; of one that lists none, the provider."""
    if not offer.models and not offer.discovered:
        return not identity.providers or offer.provider in identity.providers
    return any(may_use_model(identity, offer.provider, model) for model in chain(offer.models, offer.discovered))


def usable(identity: Identity, targets: Iterable[Target]) -> tuple[Target, ...]:
    """Those targets that the caller may have asked, in their order."""
    return tuple(target for target in targets if may_use(identity, target))


@lru_cache(maxsize=4096)
def _matcher(pattern: str) -> re.Pattern[str]:
    """Of the characters that are special to `translate`, only * is so here. What it makes does not backtrack."""
    return re.compile(translate(re.sub(r"[?\[]", r"[\g<0>]", pattern)))
