"""What the configuration is made of."""

from __future__ import annotations

from msgspec import Struct


class Seconds(float):
    """A span of time. Written as "30s", "250ms", "2m", "1h", "90d" or a number of seconds."""


class Section(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A part of the file: unknown keys are refused."""
