"""What of a request is not said, or not as it stands: warnings, gathered while the request is encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.gateway_service_pb2 import GenerationConfig

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import Quirks


class Notes:
    """Gathers the warnings of one request, in the order of its encoding."""

    def __init__(self) -> None:
        self.warnings: list[CallWarning] = []

    def dropped(self, field: str, why: str) -> None:
        """A setting is left out."""
        self._warn(CallWarning.KIND_PARAMETER_DROPPED, field, f"left out: {why}")

    def changed(self, field: str, what: str) -> None:
        """A setting is sent with another value."""
        self._warn(CallWarning.KIND_PARAMETER_CHANGED, field, what)

    def lost(self, field: str, why: str) -> None:
        """A piece of content is left out."""
        self._warn(CallWarning.KIND_CONTENT_DROPPED, field, f"left out: {why}")

    def _warn(self, kind: CallWarning.Kind.ValueType, field: str, message: str) -> None:
        self.warnings.append(CallWarning(kind=kind, field=field, message=message))


def known_settings(config: GenerationConfig, quirks: Quirks, notes: Notes) -> GenerationConfig:
    """`config` without what the host does not know, which is noted."""
    asked = [field.name for field, _ in config.ListFields() if field.name in quirks.unsupported]
    known = GenerationConfig()
    known.CopyFrom(config)
    for name in asked:
        known.ClearField(name)  # type: ignore[arg-type]
        notes.dropped(f"config.{name}", f"the provider does not know {name}: unset it, or choose another one")
    return known
