"""Whose settings `provider_options` are: names that mean nobody go nowhere, and their caller is told."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline_server.errors import UnknownName
from trunkline_server.providers.table import GATEWAY, QUIRKS, ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.settings import Settings


# Names that anybody may be told: what else is configured here is not every caller's to know.
_TOLD = (*QUIRKS, *ROWS)


def stray_options(settings: Settings, request: GenerateRequest) -> Iterator[CallWarning]:
    """Options under a name that is no dialect's, no provider's and no kind's. Raises UnknownName with strict_params.

    Where another gateway is a provider the name may be of one of its providers.
    """
    if not request.provider_options or any(each.kind == GATEWAY for each in settings.providers.values()):
        return
    known = _known(settings)
    for name in sorted(request.provider_options.keys() - known):
        if request.routing.strict_params:
            raise UnknownName("provider_options", "dialect or provider", name, _TOLD)
        near = next(iter(get_close_matches(name.lower(), _TOLD, n=1)), "")
        yield CallWarning(
            kind=CallWarning.KIND_NAME_UNKNOWN,
            field=f"provider_options.{name}",
            message=f"sent to nobody: no dialect and no provider has this name{f'; is {near} meant?' * bool(near)}",
        )


def _known(settings: Settings) -> dict[str, None]:
    """Dialects and providers, the built-in and the configured ones, and those that packages bring."""
    packages = (name for each in settings.providers.values() for name in (each.dialect, each.kind) if name)
    return dict.fromkeys([*QUIRKS, *ROWS, *settings.providers, *packages])
