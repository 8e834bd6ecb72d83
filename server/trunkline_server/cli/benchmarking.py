"""What `trunkline benchmark` does. Imported only by it, as cli/gateway.py is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvloop
from msgspec import structs

from trunkline.v1.call_pb2 import Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline_client import AsyncClient, TrunklineError
from trunkline_server.cli.failures import ExitCode, Failed, failed_call
from trunkline_server.cli.figures import usd
from trunkline_server.cli.gateway import running
from trunkline_server.cli.terminal import print_table, tell
from trunkline_server.config.measured import write_measured
from trunkline_server.logs import build_log
from trunkline_server.routing.described import speed_of
from trunkline_server.sections import Seconds
from trunkline_server.settings import LedgerSettings, ServerSettings
from trunkline_server.settings.models import MeasuredSettings
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.v1.gateway_service_pb2 import GenerateResponse
    from trunkline_server.logs import Log
    from trunkline_server.settings import Settings

# Fixed, so that what is measured today can be compared with what was measured before: a short question, one that wants
# a long answer, and a long one.
PROMPTS = (
    "Name three rivers in Europe.",
    "Explain to a child, in about a hundred words, why the sky is blue by day and red in the evening.",
    "Sum up in three sentences what follows.\n\n"
    + "The tide comes in twice a day, and each time a little later than the day before. " * 20,
)
LONGEST = 128
COLUMNS = ("target", "answered by", "first token", "tokens/s", "load", "speed", "cost")


@dataclass(slots=True)
class Found:
    """What was measured at one target. Seconds throughout."""

    answered_by: str
    # What the first of all calls waited for its first token.
    first_call: float
    first_tokens: list[float] = field(default_factory=list)
    # Tokens a second after the first, of answers that had more than one.
    rates: list[float] = field(default_factory=list)
    nano_usd: int = 0

    def take(self, answer: GenerateResponse) -> None:
        """Count an answer in."""
        first, whole = seconds(answer.served.time_to_first_token), seconds(answer.served.total_time)
        self.first_tokens.append(first)
        self.nano_usd += answer.cost.total_nano_usd
        if answer.usage.output_tokens > 1 and whole > first:
            self.rates.append((answer.usage.output_tokens - 1) / (whole - first))

    @property
    def load(self) -> float:
        """What the first call waited longer than others: for a model to be loaded, or a connection to be made."""
        return max(0.0, self.first_call - median(self.first_tokens))

    @property
    def measured(self) -> MeasuredSettings | None:
        """What is kept of it. None: its provider does not tell how many tokens came, or they came all at once."""
        if not self.rates:
            return None
        return MeasuredSettings(first_token=Seconds(median(self.first_tokens)), tokens_per_second=median(self.rates))


def measure(settings: Settings, targets: Sequence[str], rounds: int, data: Path | None) -> None:
    """Measure each, print what was found, and keep it in the folder `data` (None: nowhere). Raises Failed."""
    # Each failure is told, and nobody reads the log of a gateway whose only caller this is.
    with Path(os.devnull).open("wb") as nowhere:
        found = uvloop.run(_measure(settings, targets, rounds, build_log(nowhere)))
    print_table(COLUMNS, (_row(target, each) for target, each in found.items()))
    kept = {each.answered_by: measured for each in found.values() if (measured := each.measured) is not None}
    if kept and data is not None:
        _keep(data, kept)
    if missing := [target for target in targets if target not in found]:
        raise Failed(ExitCode.FAILED, f"not measured: {', '.join(missing)}")


def _keep(data: Path, kept: dict[str, MeasuredSettings]) -> None:
    try:
        tell("", f"kept in {write_measured(data, kept)}: `trunkline serve` takes scores of speed from it")
    except OSError as error:
        raise Failed(ExitCode.FAILED, f"{data} cannot be written to: {error.strerror}") from None


async def _measure(settings: Settings, targets: Sequence[str], rounds: int, log: Log) -> dict[str, Found]:
    found: dict[str, Found] = {}
    with TemporaryDirectory() as folder:
        async with (
            running(_alone(settings), log, Path(folder), inquires=False) as address,
            AsyncClient(address) as client,
        ):
            for target in dict.fromkeys(targets):
                try:
                    found[target] = await _measure_one(client, target, rounds)
                except TrunklineError as error:
                    failed = failed_call(error)
                    tell("error", f"{target}: {failed}", failed.more)
    return found


async def _measure_one(client: AsyncClient, target: str, rounds: int) -> Found:
    """Raises TrunklineError."""
    warming = await _ask(client, target, PROMPTS[0])
    served = warming.served.target
    found = Found(f"{served.provider}/{served.model}", seconds(warming.served.time_to_first_token))
    found.nano_usd += warming.cost.total_nano_usd
    for prompt in PROMPTS * rounds:
        found.take(await _ask(client, target, prompt))
    return found


async def _ask(client: AsyncClient, target: str, prompt: str) -> GenerateResponse:
    request = GenerateRequest(
        model=target,
        prompt=prompt,
        config=GenerationConfig(max_output_tokens=LONGEST, temperature=0),
        routing=Routing(disable_fallback=True, max_attempts=1),
    )
    async with client.stream(request) as stream:
        async for _ in stream:
            pass
        return stream.response.raw


def _alone(settings: Settings) -> Settings:
    """The same gateway with nobody else near it: an address of its own, no keys, a ledger that is thrown away."""
    server = ServerSettings(listen="127.0.0.1:0", admin_listen="", auth="none", notice=Seconds(0.0), grace=Seconds(1.0))
    return structs.replace(settings, server=server, ledger=LedgerSettings())


def _row(target: str, found: Found) -> tuple[str, ...]:
    measured = found.measured
    rate = f"{measured.tokens_per_second:.1f}" if measured else "unknown"
    speed = f"{speed_of(measured.first_token, measured.tokens_per_second):.3f}" if measured else "unknown"
    first = f"{median(found.first_tokens):.3f} s"
    cost = f"{usd(found.nano_usd)} USD"
    return target, found.answered_by, first, rate, f"{found.load:.3f} s", speed, cost
