"""What is wrong with the settings of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.config.check import Problem
from trunkline_server.providers.addresses import may_have_secrets
from trunkline_server.settings import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.settings import Settings

SHORTEST_ROTATION = 86400.0


def alert_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """Everything that is wrong with them. Nothing of the webhook's address is shown."""
    alerts = settings.alerts
    if alerts.key_rotation is not None and alerts.key_rotation < SHORTEST_ROTATION:
        yield Problem("alerts.key_rotation", "at least 1d")
    if alerts.webhook is None:
        return
    if not may_have_secrets(alerts.webhook.url.reveal()):
        yield Problem("alerts.webhook.url", "an https URL, or one of this machine: posts tell of your providers")
    if isinstance(alerts.webhook.secret, Reference):
        yield Problem("alerts.webhook.secret", "env:NAME or file:/path: stores are asked for providers' keys only")
