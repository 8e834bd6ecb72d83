"""What is read of one thing that may go wrong, at one moment."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from trunkline.v1.alerts_pb2 import Alert


class Is(Enum):
    """How it is."""

    BAD = "bad"
    # No longer bad enough to open an alert, and not yet well enough to resolve one.
    BETWEEN = "between"
    WELL = "well"


class Evidence(NamedTuple):
    """A figure behind a reading."""

    name: str
    value: float
    unit: str = ""


class Key(NamedTuple):
    """What an alert is about: at most one of a kind and subject is open."""

    kind: Alert.Kind.ValueType
    subject: str


class Reading(NamedTuple):
    """How something is, and what to do about it. The texts hold no secret and nothing of a prompt."""

    key: Key
    state: Is
    severity: Alert.Severity.ValueType = Alert.SEVERITY_UNSPECIFIED
    summary: str = ""
    remedy: str = ""
    evidence: tuple[Evidence, ...] = ()
    # The workspace that it is about, and whose callers are told; else the gateway key. Empty = it is not about one.
    workspace: str = ""
    api_key: str = ""
    # It neither passes nor comes again by itself: nobody waits and sees.
    at_once: bool = False


def state_of(value: float, enter: float, leave: float) -> Is:
    """Bad from `enter` on, well below `leave`."""
    if value >= enter:
        return Is.BAD
    return Is.WELL if value < leave else Is.BETWEEN
