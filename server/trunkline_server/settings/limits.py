"""What the configuration says of callers' limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from trunkline_server.sections import Section

# The most a minute: what Valkey counts with is exact up to here.
MOST = 100_000_000
_AMinute = Annotated[int, Meta(ge=1, le=MOST)]


class CallerLimit(Section, frozen=True, kw_only=True):
    """How much a caller may use. Unset = as much as it likes, unless what holds for all says otherwise."""

    requests_per_minute: _AMinute | None = None
    # Of what goes in and what comes out together.
    tokens_per_minute: _AMinute | None = None
    # Calls at once.
    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class CallerLimits(Section, frozen=True, kw_only=True):
    """How much callers may use. A call has to be within the limits of its key and of its workspace."""

    # What holds for each key, and for each workspace.
    each_key: CallerLimit = CallerLimit()
    each_workspace: CallerLimit = CallerLimit()
    # By a key's id, or the name in a client's certificate; by a workspace's name: what holds in place of that, one by
    # one.
    keys: dict[str, CallerLimit] = field(default_factory=dict)
    workspaces: dict[str, CallerLimit] = field(default_factory=dict)
