"""Providers over HTTP, built: each is a list of endpoints, which are one address with one credential each."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline_server.config.secrets import SecretFiles
from trunkline_server.formats import DIALECTS
from trunkline_server.layers.endpoint import one_of
from trunkline_server.providers.as_asked import as_asked
from trunkline_server.providers.auth import Means, build_aws_secrets, build_credentials, headers_of
from trunkline_server.providers.by_model import base_of, by_model, dialects_of
from trunkline_server.providers.credential import Fixed
from trunkline_server.providers.discovery import AnyOf, build_lister
from trunkline_server.providers.gateway import FarGateway
from trunkline_server.providers.guarded import guarded
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.named_options import named_options
from trunkline_server.providers.origin import with_origin
from trunkline_server.providers.probe import Asked, build_probe
from trunkline_server.providers.tokens.asking import build_ask
from trunkline_server.providers.trace import TracedHttp
from trunkline_server.providers.upstream import Endpoint, build_upstream
from trunkline_server.settings import AwsSecrets
from trunkline_server.state import endpoints
from trunkline_server.state.provider_health import EndpointState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AsyncExitStack

    from trunkline.v1.identity_pb2 import AuditEvent
    from trunkline_server.core import Handler, Layer
    from trunkline_server.dialects.dialect import Dialect, ModelList
    from trunkline_server.logs import Log
    from trunkline_server.providers.credential import Credential
    from trunkline_server.providers.discovery import Lister, Lists
    from trunkline_server.providers.probe import CredentialProbe, Prober
    from trunkline_server.providers.refreshed import Refreshed
    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.state.audit import Audit
    from trunkline_server.state.endpoint.breaker import State

    # A provider, where it tells how it is, and its endpoints.
    Known = Callable[[str, str, Sequence[endpoints.Endpoint]], None]

# Requests for tokens and secrets that are under way at once.
_TOKENS_AT_ONCE = 16


class _Built(NamedTuple):
    """An endpoint: what is known of it, who asks it, and what asks about its credential and for its models."""

    endpoint: endpoints.Endpoint
    handler: Handler
    probe: CredentialProbe | None
    lister: Lister | None


class Upstreams:
    """Builds the endpoints of one configuration's providers. Nothing here waits for anybody."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that endpoints are made of
        self,
        settings: Settings,
        dialects: Mapping[str, Dialect],
        lists: Mapping[str, ModelList],
        log: Log,
        opened: AsyncExitStack,
        account: Layer,
        known: Known,
        audit: Audit,
        drain: Callable[[Handler, float], Handler],
    ) -> None:
        """What has to be closed at the end goes into `opened`; `known` learns of the endpoints of each provider.

        `audit` is told of credentials that are refused or replaced.

        `account` stands below the endpoints: what they do not take is not accounted for. `drain` stands above them,
        where a provider bills what nobody waits for.
        """
        self._settings = settings
        self._dialects = dialects
        self._lists = lists
        self._log = log
        self._opened = opened
        self._account = account
        self._known = known
        self._audit = audit
        self._drain = drain
        # By provider: who asks it for its models.
        self.listers: dict[str, Lists] = {}

    def build(self, name: str, row: Row, prober: Prober) -> Handler:
        """The provider of this name over HTTP, known to `prober`."""
        provider = self._settings.providers[name]
        credentials = build_credentials(row, provider, self._means(name))
        built = [self._endpoint(name, row, credential) for credential in credentials]
        if listers := [(each.endpoint.known.wait, each.lister) for each in built if each.lister is not None]:
            self.listers[name] = AnyOf(listers)
        prober.add(name, [each.probe for each in built if each.probe is not None])
        handler = self._opened_at(name, row, [each.endpoint for each in built], [each.handler for each in built])
        return as_asked(handler, provider.provider_tools)

    def build_brought(self, name: str, row: Row, handler: Handler) -> Handler:
        """A provider that a package brings, asked in the package's own way."""
        provider = self._settings.providers[name]
        (credential, *_) = build_credentials(row, provider, self._means(name))
        endpoint = self._known_as(name, row, self._state(name, row, credential))
        guard = with_origin(guarded(handler, self._log))
        return as_asked(self._opened_at(name, row, [endpoint], [guard]), provider.provider_tools)

    def build_gateway(self, name: str, row: Row) -> Handler:
        """Another Trunkline."""
        provider = self._settings.providers[name]
        built = [self._far(name, row, credential) for credential in build_credentials(row, provider, self._means(name))]
        handler = self._opened_at(name, row, [endpoint for endpoint, _ in built], [handler for _, handler in built])
        return as_asked(handler, provider.provider_tools)

    def _far(self, name: str, row: Row, credential: Credential) -> tuple[endpoints.Endpoint, Handler]:
        headers = headers_of(self._settings.providers[name], credential)
        far = FarGateway(row.base_url, headers, credential.sign, self._settings.limits.connect)
        self._opened.push_async_callback(far.aclose)
        known = self._known_as(name, row, self._state(name, row, credential))
        return known, with_origin(guarded(far.handle, self._log))

    def build_inner(self, name: str, row: Row, handler: Handler) -> Handler:
        """A provider that is a part of this process."""
        endpoint = self._known_as(name, row, EndpointState(name, Fixed("")))
        return self._opened_at(name, row, [endpoint], [handler])

    def _opened_at(
        self, name: str, row: Row, built: Sequence[endpoints.Endpoint], handlers: Sequence[Handler]
    ) -> Handler:
        """Calls to these endpoints, which health tells of and steering knows."""
        self._known(name, row.status_url, built)
        handler = one_of(built, [self._account(handler) for handler in handlers], random.random)
        return self._drain(handler, row.read_on) if row.read_on > 0 else handler

    def _endpoint(self, name: str, row: Row, credential: Credential) -> _Built:
        """One credential at the provider's address, with connections of its own, and the probe of it."""
        provider = self._settings.providers[name]
        http = self._client(name)
        endpoint = Endpoint(
            row.base_url,
            headers_of(provider, credential),
            row.quirks,
            row.stream_above,
            credential.sign,
        )
        state = self._state(name, row, credential)
        known = self._known_as(name, row, state)
        asked = Asked(http, self._dialects[row.dialect], credential.sign)
        ask = {
            of: named_options(
                build_upstream(replace(endpoint, base_url=base_of(row, of)), self._dialects[of], http, known.limited),
                name,
                of,
            )
            for of in dialects_of(row)
        }
        by_dialect = by_model(row, ask, provider.base_models)
        # A dialect that a package brings is others' code.
        handler = by_dialect if row.dialect in DIALECTS else guarded(by_dialect, self._log)
        lister = build_lister(name, row, endpoint, state.credential, asked, self._lists.get(row.dialect))
        return _Built(known, handler, build_probe(name, row, endpoint, state, asked), lister)

    def _state(self, name: str, row: Row, credential: Credential) -> EndpointState:
        def tell(kind: AuditEvent.Kind.ValueType, hint: str, why: str) -> None:
            self._audit.record(kind, subject=f"{name}: {hint}", detail=why)

        return EndpointState(row.base_url, credential, required=row.key_required, tell=tell)

    def _known_as(self, name: str, row: Row, state: EndpointState) -> endpoints.Endpoint:
        provider, limits = self._settings.providers[name], self._settings.limits

        def tell(circuit: State) -> None:
            self._log.warning("circuit", provider=name, credential=state.credential, state=circuit.value)

        return endpoints.Endpoint(state, provider, limits, tell, random.random, local=row.local)

    def _client(self, name: str) -> HttpClient | TracedHttp:
        """Connections of their own: a slow provider, or a key that waits, cannot use up another's."""
        provider, settings = self._settings.providers[name], self._settings
        client = HttpClient(max_connections=provider.max_connections, connect_timeout=settings.limits.connect)
        self._opened.push_async_callback(client.aclose)
        traced = provider.debug or settings.logs.monitoring_level == "comprehensive"
        return TracedHttp(client, self._log, name) if traced else client

    def _means(self, name: str) -> Means:
        def tell(credential: str, what: str) -> None:
            self._log.warning("credential", provider=name, credential=credential, what=what)

        return replace(self._common, tell=tell)

    @cached_property
    def _common(self) -> Means:
        """What all credentials share: one client for tokens, and AWS's secrets where they are configured."""
        client = HttpClient(max_connections=_TOKENS_AT_ONCE, connect_timeout=self._settings.limits.connect)
        self._opened.push_async_callback(client.aclose)
        means = Means(SecretFiles(), build_ask(client), self._start)
        aws = self._settings.aws_secrets
        return means if aws == AwsSecrets() else replace(means, stores={"aws-sm": build_aws_secrets(aws, means)})

    def _start(self, source: Refreshed[Any]) -> None:
        source.start()
        self._opened.push_async_callback(source.aclose)
