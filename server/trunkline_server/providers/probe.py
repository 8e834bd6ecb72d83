"""Probes: what a provider says to a credential, asked for nothing, and to its models, asked for one token each."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, ProbeResult
from trunkline_server.core import Call, now
from trunkline_server.dialects.limits import read_limits
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.providers.http import HttpRequest
from trunkline_server.providers.row import NO_PROBE
from trunkline_server.providers.upstream import MAX_ERROR_BODY
from trunkline_server.spans import set_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.core import Chain, Identity
    from trunkline_server.dialects.dialect import Dialect
    from trunkline_server.dialects.limits import Limit
    from trunkline_server.providers.credential import Sign
    from trunkline_server.providers.row import Row
    from trunkline_server.providers.upstream import Endpoint, Http

# Seconds that all probes of a round take together, at most, and how many are under way at once. One alone takes no
# longer than the first of them, either.
ROUND: Final = 10.0
MODELS_ROUND: Final = 60.0
AT_ONCE: Final = 8
# Seconds between two rounds of validation; each wait is up to a tenth shorter or longer, so that gateways spread out.
VALIDATE_EVERY: Final = 300.0

# What lists the models, by dialect; the row's probe_path stands above it.
_PATHS = {"openai_chat": "/models", "openai_responses": "/models"}
# What the provider wants to see beside the credential, by dialect.
_HEADERS = {"anthropic_messages": {"anthropic-version": "2023-06-01"}}


class Learner(Protocol):
    """Who keeps what a probe finds out of a credential."""

    @property
    def credential(self) -> str:
        """How it is shown. Empty = there is none."""

    def limited(self, limits: Sequence[Limit]) -> None:
        """An answer came, and said this of its limits."""

    def succeeded(self) -> None:
        """The provider took the credential."""

    def failed(self, error: UpstreamError) -> None:
        """The probe ended so."""


class Probe(Protocol):
    """A question, and of whom and with which credential it is asked."""

    @property
    def target(self) -> call_pb2.Target:
        """Without a model: the credential alone is asked about."""

    @property
    def credential(self) -> str:
        """How it is shown."""

    async def ask(self) -> call_pb2.Outcome.ValueType:
        """How it ended. May be cancelled."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Through what a provider is asked, and how its errors are read."""

    http: Http
    dialect: Dialect
    sign: Sign | None = None


@dataclass(frozen=True, slots=True)
class CredentialProbe:
    """The provider's cheapest call in which it looks at the credential: never billed."""

    target: call_pb2.Target
    request: HttpRequest
    asked: Asked
    learner: Learner
    # Asked at another address than calls are: it tells of the credential, and of nothing else.
    elsewhere: bool = False

    @property
    def credential(self) -> str:
        """How it is shown now."""
        return self.learner.credential

    async def ask(self) -> call_pb2.Outcome.ValueType:
        """SUCCESS: the provider took the credential. The learner is told, too."""
        try:
            await self._exchange()
        except UpstreamError as error:
            if not self.elsewhere or error.outcome == call_pb2.OUTCOME_AUTH:
                self.learner.failed(error)
            return error.outcome
        self.learner.succeeded()
        return call_pb2.OUTCOME_SUCCESS

    async def _exchange(self) -> None:
        request = await self.asked.sign(self.request) if self.asked.sign is not None else self.request
        async with self.asked.http.exchange(request) as response:
            if not self.elsewhere:
                self.learner.limited(read_limits(response.headers))
            if response.status < 300:
                return  # the list itself is of no use here
            body = await response.read_start(MAX_ERROR_BODY)
            error = self.asked.dialect.decode_error(response.status, response.headers, body)
        if error.outcome == call_pb2.OUTCOME_MODEL_NOT_FOUND:
            error.outcome = call_pb2.OUTCOME_INVALID  # no model was asked for: it is the path that is unknown
        raise error


@dataclass(frozen=True, slots=True)
class ModelProbe:
    """One token of a model, asked for as its caller would: through every layer, once, and of nobody else."""

    target: call_pb2.Target
    credential: str
    chain: Chain
    # Who asks, and pays.
    identity: Identity
    call_id: str
    timeout: float

    async def ask(self) -> call_pb2.Outcome.ValueType:
        """How the last attempt ended; NOT_SENT if there was none."""
        try:
            async with aclosing(self.chain.handler(self._call())) as events:
                async for _ in events:
                    pass
        except CallError as error:
            return _outcome(error)
        return call_pb2.OUTCOME_SUCCESS

    def _call(self) -> Call:
        request = GenerateRequest(
            model=f"{self.target.provider}/{self.target.model}",
            prompt="Hi",
            config=GenerationConfig(max_output_tokens=1),
            routing=call_pb2.Routing(disable_fallback=True, max_attempts=1),
        )
        arrival = now()
        return Call(
            self.call_id,
            request,
            arrival,
            arrival + self.timeout,
            streaming=False,
            snapshot=self.chain.snapshot,
            identity=self.identity,
        )


def _outcome(error: CallError) -> call_pb2.Outcome.ValueType:
    if error.reason == call_pb2.ERROR_REASON_DEADLINE_EXCEEDED:
        return call_pb2.OUTCOME_TIMEOUT
    attempts = error.failure.served.attempts if error.failure is not None else ()
    return attempts[-1].outcome if attempts else call_pb2.OUTCOME_NOT_SENT


@dataclass(slots=True)
class Prober:
    """Asks probes: many at once, within a time, and never fails."""

    # Gives the calls of model probes their ids.
    new_id: Callable[[], str]
    # By provider: one for each credential.
    probes: dict[str, Sequence[Probe]] = field(default_factory=dict)
    # For all rounds together: however many ask for health, providers are asked no more at once. Models answer slowly:
    # they take no place of a question about a credential.
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _free_for_models: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def add(self, name: str, probes: Sequence[Probe]) -> None:
        """This provider is asked so from now on; with no probes not at all."""
        self.probes[name] = probes

    async def credentials(self, within: float = ROUND, only: str = "") -> list[ProbeResult]:
        """Ask about every credential, and every provider that goes without. Takes at most `within` seconds.

        `only`: the provider that is asked. Empty = all.
        """
        names = [name for name in sorted(self.probes) if only in ("", name)]
        return await self.round([probe for name in names for probe in self.probes[name]], within)

    async def models(
        self,
        chain: Chain,
        identity: Identity,
        targets: Sequence[call_pb2.Target],
        credential: Callable[[str], str],
        within: float = MODELS_ROUND,
    ) -> list[ProbeResult]:
        """Ask each of these models, on behalf of `identity`. Takes at most `within` seconds. Costs money."""
        # A little less than the probe's own time: a call that ends at its deadline is counted as such.
        share = _share(len(targets), within) * 0.9
        probes = [
            ModelProbe(target, credential(target.provider), chain, identity, self.new_id(), share) for target in targets
        ]
        return await self.round(probes, within, self._free_for_models)

    async def validate(self, spread: Callable[[float, float], float] = random.uniform) -> None:
        """Ask about every credential now and every five minutes, for ever. Where there is none nothing is asked."""
        while True:
            await self.round([probe for probes in self.probes.values() for probe in probes if probe.credential])
            await asyncio.sleep(VALIDATE_EVERY * spread(0.9, 1.1))

    async def round(
        self, probes: Sequence[Probe], within: float = ROUND, free: asyncio.Semaphore | None = None
    ) -> list[ProbeResult]:
        """Ask all of them. Each gets its turn: with more than AT_ONCE of them, a share of the time. Never fails.

        One that ran out of time is a TIMEOUT; one that did not get its turn in time was NOT_SENT.
        """
        end, share = asyncio.get_running_loop().time() + within, _share(len(probes), within)
        return await asyncio.gather(*(_ask(probe, end, share, free or self._free) for probe in probes))


async def _ask(probe: Probe, end: float, share: float, free: asyncio.Semaphore) -> ProbeResult:
    begin, outcome = now(), call_pb2.OUTCOME_NOT_SENT
    try:
        async with asyncio.timeout_at(end), free:
            begin, outcome = now(), call_pb2.OUTCOME_TIMEOUT
            async with asyncio.timeout(share):
                outcome = await probe.ask()
    except TimeoutError:
        pass
    except Exception:  # noqa: BLE001 - health must be told whatever one provider does to us
        outcome = call_pb2.OUTCOME_PROTOCOL_ERROR
    result = ProbeResult(target=probe.target, credential=probe.credential, outcome=outcome)
    set_seconds(result.duration, max(0.0, now() - begin))
    return result


def _share(count: int, within: float) -> float:
    return min(ROUND, within / max(1, -(-count // AT_ONCE)))


def build_probe(name: str, row: Row, endpoint: Endpoint, learner: Learner, asked: Asked) -> CredentialProbe | None:
    """The probe of a provider. None: it has no free call for that, or it wants a credential and there is none."""
    path = row.probe_path or _PATHS.get(row.dialect, NO_PROBE)
    if path == NO_PROBE or not endpoint.base_url or (row.key_required and not learner.credential):
        return None
    headers = {"accept": "application/json", **_HEADERS.get(row.dialect, {}), **endpoint.headers}
    elsewhere = path.startswith("https://")
    url = path if elsewhere else endpoint.base_url + path
    request = HttpRequest("GET", url, headers)
    if row.probe_body:
        request = HttpRequest("POST", url, {"content-type": "application/json", **headers}, row.probe_body)
    return CredentialProbe(call_pb2.Target(provider=name), request, asked, learner, elsewhere)
