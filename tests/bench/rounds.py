"""The measurements. In every round the floor and the gateway do the same, one right after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import Pair, Results
from bench.rig import GATEWAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.rig import Rig, Took

UNARY = "unary"
# An answer of common length from a fast model: 16 at once make 3,200 tokens a second.
PACED, PACED_TOKENS, PACED_AT_ONCE, PACED_SECONDS = "paced-100-200", 100, 16, 0.5
# Short ones, of which more begin: for the time to the first token.
BRIEF, BRIEF_TOKENS = "paced-20-100", 20
# More tokens than come with one read.
BURST, BURST_TOKENS, BURST_AT_ONCE = "burst-500", 500, 8
MIXED = "mixed-2000"
# 500 of these at once are 2,500 tokens and 250 calls a second, which leaves both servers room.
CROWD, CROWD_PACED, CROWD_SECONDS = 500, "paced-10-5", 2.0
CROWD_SHORT = "burst-8"
# Share of a core that the gateway uses in the runs that measure latency; the others get the same calls.
HALF = 0.5
# The gateways that guard more.
WORDS = {"limits": "limits of keys and workspaces", "budget": "a hard budget"}
US, MB = 1e6, 1 << 20


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: pairs of runs, and of each run its calls or its seconds."""

    cost_pairs: int
    unary_calls: int
    streams: int
    bursts: int
    latency_pairs: int
    latency_seconds: float
    calls_before_memory: int
    crowd_pairs: int
    crowd_calls: int
    growth_calls: int


FULL = Size(7, 1200, 48, 48, 5, 1.5, 10_000, 5, 1000, 20_000)
QUICK = Size(2, 200, 32, 16, 2, 0.5, 1_000, 1, 500, 1_000)


def measure(rig: Rig, size: Size) -> Results:
    """Everything, in turn."""
    results = Results()
    _warm_up(rig)
    _unary(rig, size, results)
    _memory(rig, size, results)
    _streamed(rig, size, results)
    _saturated(rig, size, results)
    _latency(rig, size, results)
    _guarded(rig, size, results)
    _first_token(rig, size, results)
    _crowd(rig, size, results)
    _growth(rig, size, results)
    results.differences = _differences(rig)
    results.crowd_errors = sum(rig.errors["gateway", model] for model in (CROWD_PACED, CROWD_SHORT))
    results.errors = rig.errors.total()
    return results


def _warm_up(rig: Rig) -> None:
    """Connections, caches and allocators as they are in a process that has run for a while."""
    for name in ("upstream", "floor", *GATEWAYS):
        for model, calls, at_once in ((UNARY, 100, 8), (BURST, 20, 8), (CROWD_SHORT, 2 * CROWD, CROWD)):
            rig.closed(name, model, calls, at_once)


def _unary(rig: Rig, size: Size, results: Results) -> None:
    for _ in range(size.cost_pairs):
        runs = _in_turn(lambda name: rig.closed(name, UNARY, size.unary_calls, 8))
        cpu = _pair(runs, lambda took: took.cpu / size.unary_calls * US)
        rate = _pair(runs, lambda took: size.unary_calls / took.seconds)
        results.add("unary_cpu", "CPU of a unary call, us", cpu)
        results.add("calls_per_second", "unary calls a second at saturation", rate)


def _memory(rig: Rig, size: Size, results: Results) -> None:
    """After so many calls, and a few times on from there."""
    for number in range(size.latency_pairs):
        calls = size.calls_before_memory + number * size.unary_calls // 4
        for name in ("floor", "gateway"):
            rig.closed(name, UNARY, max(8, calls - rig.calls[name]), 8)
        pair = Pair(rig.resident("floor") / MB, rig.resident("gateway") / MB)
        results.add("rss", f"resident memory after {size.calls_before_memory:,} calls, MB", pair)


def _streamed(rig: Rig, size: Size, results: Results) -> None:
    tokens = size.streams * PACED_TOKENS
    for _ in range(size.cost_pairs):
        runs = _in_turn(lambda name: rig.closed(name, PACED, size.streams, PACED_AT_ONCE, PACED_SECONDS))
        pair = _pair(runs, lambda took: took.cpu / tokens * US)
        results.add("stream_cpu", "CPU of a streamed token, us", pair)


def _saturated(rig: Rig, size: Size, results: Results) -> None:
    tokens = size.bursts * BURST_TOKENS
    for _ in range(size.latency_pairs):
        runs = [rig.closed(name, BURST, size.bursts, BURST_AT_ONCE) for name in ("floor", "gateway")]
        cpu = _pair(runs, lambda took: took.cpu / tokens * US)
        rate = _pair(runs, lambda took: tokens / took.seconds)
        results.add("merged_cpu", "CPU of a token when all are ready, us", cpu)
        results.add("tokens_per_second", "tokens a second at saturation", rate)


def _latency(rig: Rig, size: Size, results: Results) -> None:
    rate = HALF / results.figures["unary_cpu"].gateway * US
    rounds = _rounds(size.latency_pairs, lambda name: rig.open(name, UNARY, rate, size.latency_seconds))
    for share in ("p50", "p99"):
        for pair in _added([[took.total_ms[share] for took in runs] for runs in rounds]):
            results.add(f"latency_added_ms_{share}", f"latency added to a unary call at half load, {share}, ms", pair)


def _guarded(rig: Rig, size: Size, results: Results) -> None:
    """What limits and a hard budget make of a unary call: each against the floor, and the budget's latency."""
    for name in ("limits", "budget"):
        for _ in range(size.cost_pairs):
            runs = _in_turn(lambda name: rig.closed(name, UNARY, size.unary_calls, 8), name)
            cpu = _pair(runs, lambda took: took.cpu / size.unary_calls * US)
            results.add(f"{name}_cpu", f"CPU of a unary call with {WORDS[name]}, us", cpu)
    rate = HALF / results.figures["budget_cpu"].gateway * US
    rounds = _rounds(size.latency_pairs, lambda name: rig.open(name, UNARY, rate, size.latency_seconds), "budget")
    for pair in _added([[took.total_ms["p50"] for took in runs] for runs in rounds]):
        results.add("budget_latency_added_ms_p50", f"latency added with {WORDS['budget']}, p50, ms", pair)


def _first_token(rig: Rig, size: Size, results: Results) -> None:
    figures = results.figures
    rate = HALF / (figures["unary_cpu"].gateway + BRIEF_TOKENS * figures["stream_cpu"].gateway) * US
    rounds = _rounds(size.latency_pairs, lambda name: rig.open(name, BRIEF, rate, size.latency_seconds))
    for share in ("p50", "p99"):
        for pair in _added([[took.first_ms[share] for took in runs] for runs in rounds]):
            results.add(f"ttft_added_ms_{share}", f"time to first token added at half load, {share}, ms", pair)


def _crowd(rig: Rig, size: Size, results: Results) -> None:
    rounds = _rounds(
        size.crowd_pairs, lambda name: rig.closed(name, CROWD_PACED, size.crowd_calls, CROWD, CROWD_SECONDS)
    )
    for pair in _added([[took.first_ms["p99"] for took in runs] for runs in rounds]):
        results.add("streams500_ttft_added_ms_p99", f"first token added, {CROWD} streams at once, p99, ms", pair)


def _growth(rig: Rig, size: Size, results: Results) -> None:
    """Resident memory before and ten times on the way. What 500 streams at once need is there before."""
    rig.closed("gateway", CROWD_SHORT, 2 * CROWD, CROWD)
    results.resident = [rig.resident("gateway") / MB]
    for _ in range(10):
        rig.closed("gateway", CROWD_SHORT, size.growth_calls // 10, CROWD)
        results.resident.append(rig.resident("gateway") / MB)


def _differences(rig: Rig) -> int:
    """0 if text, tool arguments and order are those of the unmerged stream, in fewer messages."""
    unmerged, merged = rig.read("floor", MIXED), rig.read("gateway", MIXED)
    told: int = sum(one != other for one, other in zip(unmerged["said"], merged["said"], strict=False))
    missing = abs(len(unmerged["said"]) - len(merged["said"]))
    return told + missing + int(merged["messages"] >= unmerged["messages"])


def _in_turn(run: Callable[[str], Took], gateway: str = "gateway") -> list[Took]:
    """Floor, gateway, and the floor again: the same server against itself."""
    return [run(name) for name in ("floor", gateway, "floor")]


def _rounds(count: int, run: Callable[[str], Took], gateway: str = "gateway") -> list[list[Took]]:
    """Bare upstream, floor and gateway, so many times; every other time in the opposite order."""
    names = ("upstream", "floor", gateway)
    orders = [names[::-1] if number % 2 else names for number in range(count)]
    return [[runs[name] for name in names] for runs in ({name: run(name) for name in order} for order in orders)]


def _added(rounds: list[list[float]]) -> list[Pair]:
    """What floor and gateway take longer than the bare upstream in its best round: noise only adds.

    At least a microsecond, so that there is a ratio.
    """
    bare = min(runs[0] for runs in rounds)
    return [Pair(*(max(took - bare, 1e-3) for took in runs[1:])) for runs in rounds]


def _pair(runs: list[Took], figure: Callable[[Took], float]) -> Pair:
    return Pair(*map(figure, runs))
