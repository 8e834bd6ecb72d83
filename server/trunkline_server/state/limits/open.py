"""From the settings to where callers' limits are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.settings.limits import CallerLimits
from trunkline_server.state.limits.local import LocalLimits
from trunkline_server.state.limits.shared import SharedLimits
from trunkline_server.state.limits.where import where

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.logs import Log
    from trunkline_server.settings import Settings
    from trunkline_server.state.limits.limits import Limits


def open_limits(settings: Settings, workers: int, clock: Callable[[], float], log: Log) -> Limits:
    """In Valkey, if there is one and anybody is limited; else in this process. Each gateway has so many workers."""
    valkey = settings.valkey
    if valkey.url is None or settings.caller_limits == CallerLimits():
        return LocalLimits(clock)
    return SharedLimits(where(valkey.url.reveal()), valkey.instances * workers, clock, log)
