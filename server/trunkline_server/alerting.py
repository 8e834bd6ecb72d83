"""Alerts, put together: what feeds them, who looks, and where changes are posted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from trunkline.v1.alerts_pb2 import WatchAlertsResponse
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.webhook import PATIENCE, Webhook
from trunkline_server.state.alerts.monitor import Monitor
from trunkline_server.state.alerts.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from contextlib import AsyncExitStack

    from trunkline.v1.gateway_service_pb2 import ProviderHealth
    from trunkline_server.logs import Log
    from trunkline_server.settings import AlertSettings
    from trunkline_server.state.alerts.store import Change
    from trunkline_server.state.budgets.purses import Purses
    from trunkline_server.state.ledger.database import Database


class Alerting:
    """For one gateway: fed from its first call on, looked at once it has a database."""

    def __init__(self, settings: AlertSettings, log: Log) -> None:
        self.tally = Tally()
        self._settings = settings
        self._log = log
        self._webhook: Webhook | None = None

    def build(
        self,
        database: Database,
        providers: Callable[[], Sequence[ProviderHealth]],
        purses: Purses,
        opened: AsyncExitStack,
    ) -> Monitor:
        """Who looks. `providers` tells how each is, `purses` what is spent; `opened` closes what is opened here."""
        if self._settings.webhook is not None:
            client = HttpClient(max_connections=1, connect_timeout=PATIENCE)
            opened.push_async_callback(client.aclose)
            self._webhook = Webhook(self._settings.webhook, client, self._log)
        self._monitor = Monitor(
            database,
            self.tally,
            providers,
            self._log,
            key_rotation=self._settings.key_rotation,
            purses=purses,
            post=self._post,
        )
        return self._monitor

    def works(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on until the gateway ends."""
        yield self._monitor.follow()
        if self._webhook is not None:
            yield self._webhook.follow()

    def _post(self, change: Change) -> None:
        if self._webhook is not None:
            told = WatchAlertsResponse(change=change.change, alert=change.alert)
            body = MessageToDict(told, preserving_proto_field_name=True)
            self._webhook.post(f"{change.alert.id}-{body['change'].removeprefix('CHANGE_').lower()}", body)
