"""What of a request Gemini is not told, or not as it stands: warnings, gathered while the request is encoded."""

from __future__ import annotations

from trunkline.v1.call_pb2 import Warning as CallWarning


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
