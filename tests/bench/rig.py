"""The processes of a benchmark, and the runs that they can do."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.control import Process, ProcessFailed

from trunkline_server.state.ledger.ledger import LINGER

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Took:
    """What a run took: CPU seconds of the server's process, seconds by the clock, milliseconds of its calls."""

    cpu: float
    seconds: float
    total_ms: dict[str, float]
    first_ms: dict[str, float]


# The gateway with what bench.gateway calls its guards: the one that is measured in all ways, and two more.
GATEWAYS = {"gateway": "plain", "limits": "limits", "budget": "budget"}

# Seconds after which a gateway has written down the calls that it had: that belongs to what they cost.
WRITTEN = 2 * LINGER


class Rig:
    """Upstream, floor, gateways and what loads them: each a process of its own. They end with the block."""

    def __enter__(self) -> Rig:
        with ExitStack() as stack:
            upstream = stack.enter_context(Process("bench.upstream"))
            base_url = f"http://127.0.0.1:{upstream.hello['port']}/v1"
            floor = stack.enter_context(Process("bench.floor", base_url))
            gateways = {
                name: stack.enter_context(Process("bench.gateway", base_url, guard)) for name, guard in GATEWAYS.items()
            }
            self._servers = {"upstream": upstream, "floor": floor, **gateways}
            loads = {
                name: stack.enter_context(Process("bench.load", gateway.hello["key"]))
                for name, gateway in gateways.items()
            }
            # The floor is sent a key, too, and does not look at it.
            self._loads = dict.fromkeys(("upstream", "floor"), loads["gateway"]) | loads
            self._stack = stack.pop_all()
        # How many calls each has had, and how many failed, by server and model.
        self.calls = dict.fromkeys(self._servers, 0)
        self.errors: Counter[tuple[str, str]] = Counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def closed(self, name: str, model: str, calls: int, concurrency: int, ramp: float = 0.0) -> Took:
        """`calls` calls, always `concurrency` at once, whose first ones begin spread over `ramp` seconds."""
        return self._run(name, "closed", model=model, calls=calls, concurrency=concurrency, ramp=ramp)

    def open(self, name: str, model: str, rate: float, seconds: float) -> Took:
        """`rate` calls a second at random times."""
        return self._run(name, "open", model=model, rate=rate, seconds=seconds)

    def read(self, name: str, model: str) -> dict[str, Any]:
        """One stream: what it says, and in how many messages."""
        return self._loads[name].ask("read", port=self._port(name), model=model)

    def resident(self, name: str) -> float:
        """Bytes."""
        return float(self._servers[name].ask("usage")["rss"])

    def _run(self, name: str, do: str, model: str, **arguments: object) -> Took:
        kind, before = "http" if name == "upstream" else "grpc", self._cpu(name)
        run = self._loads[name].ask(do, kind=kind, port=self._port(name), model=model, **arguments)
        self.calls[name] += run["calls"]
        if run["errors"]:
            print(f"{name}, {model}: {run['errors']}")
            self.errors[name, model] += sum(run["errors"].values())
        if not run["calls"]:
            raise ProcessFailed(f"{name} answers no call")
        if name in GATEWAYS and do == "closed":
            time.sleep(WRITTEN)
        return Took(self._cpu(name) - before, run["seconds"], run["total_ms"], run["first_ms"])

    def _cpu(self, name: str) -> float:
        return float(self._servers[name].ask("usage")["cpu"])

    def _port(self, name: str) -> int:
        return int(self._servers[name].hello["port"])
