"""Dispatch: the handler of the provider that the call's target names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.core import Call, Events, Handler


def dispatch(providers: Mapping[str, Handler]) -> Handler:
    """The bottom of the layers. The target's provider is one of `providers`."""

    def handle(call: Call) -> Events:
        return providers[call.target.provider](call)

    return handle
