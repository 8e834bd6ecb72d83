"""`make bench-steps`: how many bytecodes a unary call takes in a server at work, by function.

Beside the time that a call takes, which is never the same twice: of two trees, or of a gateway before and after a
change, the one with fewer is quicker, as long as it makes no more objects and calls no more C. A bytecode of ours costs
25 to 30 ns there, with all that hangs on it.

    python -m bench.steps [plain|limits|budget]
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bench.control import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FrameType

# What is not counted before: caches, connections, and what is compiled when it is used first.
WARM_UP, CALLS, AT_ONCE = 300, 400, 8
MOST_SHOWN = 60
_counts: Counter[CodeType] = Counter()


def _enter(frame: FrameType, _event: str, _argument: object) -> Any:
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return _step


def _step(frame: FrameType, event: str, _argument: object) -> Any:
    if event == "opcode":
        _counts[frame.f_code] += 1
    return _step


async def begin_steps() -> None:
    """Count what functions of this thread do that are called from now on."""
    _counts.clear()
    sys.settrace(_enter)


async def end_steps() -> dict[str, int]:
    """Count no more. How many bytecodes each function has taken."""
    sys.settrace(None)
    named: Counter[str] = Counter()
    for code, count in _counts.items():
        named[f"{code.co_qualname} {'/'.join(code.co_filename.split('/')[-3:])}:{code.co_firstlineno}"] += count
    return dict(named)


# For processes that are told what to do.
COMMANDS = {"begin_steps": begin_steps, "end_steps": end_steps}


def measure(base_url: str, module: str, *arguments: str) -> Mapping[str, float]:
    """By function, the bytecodes of a call that such a server answers."""
    with ExitStack() as stack:
        server = stack.enter_context(Process(module, base_url, *arguments))
        load = stack.enter_context(Process("bench.load", server.hello.get("key", "none")))
        call: dict[str, Any] = {"kind": "grpc", "port": server.hello["port"], "model": "unary", "ramp": 0.0}
        load.ask("closed", calls=WARM_UP, concurrency=AT_ONCE, **call)
        server.ask("begin_steps")
        load.ask("closed", calls=CALLS, concurrency=AT_ONCE, **call)
        return {name: count / CALLS for name, count in server.ask("end_steps").items()}


def table(floor: Mapping[str, float], gateway: Mapping[str, float]) -> str:
    """Both sums, and what the gateway takes more, the most first."""
    more = {name: steps - floor.get(name, 0.0) for name, steps in gateway.items()}
    largest = sorted(more, key=lambda name: -more[name])[:MOST_SHOWN]
    lines = [f"{sum(floor.values()):8.0f}  the floor", f"{sum(gateway.values()):8.0f}  the gateway; of these, more:"]
    return "\n".join([*lines, *(f"{more[name]:8.1f}  {name}" for name in largest)])


def main(guard: str = "limits") -> None:
    with Process("bench.upstream") as upstream:
        base_url = f"http://127.0.0.1:{upstream.hello['port']}/v1"
        print(table(measure(base_url, "bench.floor"), measure(base_url, "bench.gateway", guard)))


if __name__ == "__main__":
    main(*sys.argv[1:])
