"""Trunkline as `trunkline serve` runs it, with its defaults and its log on, in front of one provider.

python -m bench.gateway http://127.0.0.1:PORT/v1 [plain|limits|budget]

limits: its callers' keys and workspaces have limits. budget: a hard budget pays, so every call is strict.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import uvloop
from bench import steps
from bench.control import obey, usage

from trunkline.v1.identity_pb2 import CreateApiKeyRequest
from trunkline_server.cli.gateway import running
from trunkline_server.cli.keeping import keeping
from trunkline_server.logs import LINGER, build_log
from trunkline_server.sections import Seconds
from trunkline_server.settings import (
    DatabaseUrl,
    LedgerSettings,
    ProviderSettings,
    Secret,
    ServerSettings,
    Settings,
)
from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.settings.limits import MOST, CallerLimit, CallerLimits
from trunkline_server.settings.models import DiscoverySettings
from trunkline_server.settings.prices import PriceSettings, TokenPrice
from trunkline_server.state.audit import COMMAND_LINE
from trunkline_server.state.identity.issuing import Issuer
from trunkline_server.state.identity.store import KeyStore

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDER = "bench"
# Limits and money that never run out: what is measured is counting them.
_PLENTY = CallerLimit(requests_per_minute=MOST, tokens_per_minute=MOST, concurrency=100_000)
_MILLION = 10**15
GUARDS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "limits": {"caller_limits": CallerLimits(each_key=_PLENTY, each_workspace=_PLENTY)},
    "budget": {
        "budgets": {"all": BudgetSettings(limit=Money(_MILLION), period="daily", time_zone="Europe/Vienna")},
        "prices": (PriceSettings(model=f"{PROVIDER}/*", input=TokenPrice(450_000), output=TokenPrice(1_800_000)),),
    },
}


def settings_for(base_url: str, folder: Path, guard: str = "plain") -> Settings:
    """The defaults, but for a free port, no waiting at the end, one provider, a ledger and a pepper in `folder`.

    And one of GUARDS.
    """
    pepper = Secret("0123456789abcdef" * 4)
    provider = ProviderSettings(kind="openai_compatible", base_url=base_url, default_model="unary")
    return Settings(
        server=ServerSettings(
            listen="127.0.0.1:0", admin_listen="", pepper=pepper, grace=Seconds(1.0), notice=Seconds(0.0)
        ),
        # The provider has no list of models.
        discovery=DiscoverySettings(every=Seconds(0.0)),
        providers={PROVIDER: provider},
        ledger=LedgerSettings(url=DatabaseUrl(f"sqlite:///{folder / 'ledger.sqlite3'}"), folder=str(folder)),
        **GUARDS[guard],
    )


async def make_key(settings: Settings) -> str:
    """A caller's key: since there is one, every call needs one."""
    async with keeping(settings) as kept:
        made = await Issuer(KeyStore(kept.database), kept.pepper).create(
            CreateApiKeyRequest(name="bench"), COMMAND_LINE
        )
    return made.secret_key


async def serve(base_url: str, guard: str, folder: Path, log: BinaryIO) -> None:
    settings = settings_for(base_url, folder, guard)
    key = await make_key(settings)
    async with running(settings, build_log(log, linger=LINGER)) as address:
        await obey({"usage": usage, **steps.COMMANDS}, port=int(address.rpartition(":")[2]), key=key)


def main(base_url: str, guard: str = "plain") -> None:
    """Serve, and then show the first bugs that the log tells of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with path.open("wb") as log:
            uvloop.run(serve(base_url, guard, Path(folder), log))
        with path.open() as log:
            bugs = (line for line in log if '"level":"error"' in line)
            print(*islice(bugs, 3), sep="", end="", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
