"""What a package of your own may import: the whole of it. server/README.md walks through a dialect and a provider.

A dialect is a module with the four functions of `Dialect`, named in the entry point group `trunkline.dialects`. A whole
provider is a `Provider`, named in the group `trunkline.providers`. Both are loaded only where trunkline.yaml names
them. The messages are the contract's, `trunkline.v1`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_STREAMING
from trunkline_server.core import Call, Events, Handler
from trunkline_server.dialects.classify import answered_error
from trunkline_server.dialects.dialect import Dialect, Encoded, Quirks, StreamDecoder
from trunkline_server.errors import UnsupportedCapability, UpstreamError, Violation
from trunkline_server.settings import ProviderSettings, Secret
from trunkline_server.wire.ndjson import NdjsonFramer
from trunkline_server.wire.sse import SseFramer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.v1.model_pb2 import Capability

__all__ = [
    "Call",
    "Dialect",
    "Encoded",
    "Events",
    "Handler",
    "NdjsonFramer",
    "Provider",
    "ProviderSettings",
    "Quirks",
    "Secret",
    "SseFramer",
    "StreamDecoder",
    "UnsupportedCapability",
    "UpstreamError",
    "Violation",
    "answered_error",
    "settings_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A whole provider: one handler and what the catalogue tells of its models."""

    # An async generator over a call: for each part of the answer, in order, part_started, part_delta as they come and
    # part_completed; then, once and last, completed. Raises UpstreamError where the provider fails. It is closed as
    # soon as nobody reads on: what it holds open it closes in `finally`. It never changes what it was given.
    handle: Handler
    # The ids that it lists. The first is its default model.
    models: Sequence[str]
    # Whether it takes other ids, too.
    open: bool = False
    capabilities: Sequence[Capability.ValueType] = (CAPABILITY_STREAMING,)
    # How many tokens go in and come out together, by model.
    windows: Mapping[str, int] = field(default_factory=dict)
    # Without an api_key in the configuration it cannot be called.
    key_required: bool = False
    # The environment variable that the key is taken from where the configuration names none. Empty = there is none.
    key_env: str = ""
    # Runs on the gateway's own machine.
    local: bool = False
    # Where the provider itself tells how it is. Empty = nowhere.
    status_url: str = ""


def settings_of(call: Call) -> ProviderSettings:
    """What is configured of the provider that the call is at: its base_url, its api_key (`reveal()` it to send)..."""
    return call.snapshot.settings.providers[call.target.provider]
