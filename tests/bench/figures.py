"""Figures in pairs of the floor's and the gateway's, the bars, the table and the last line."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What must hold: names of the last line, and the most that each may be.
BARS: Mapping[str, float] = {
    # With a gateway key and the relaxed ledger.
    "unary_cpu_ratio": 1.7,
    # With limits of the key and its workspace as well; with a hard budget, which makes every call strict.
    "limits_cpu_ratio": 1.7,
    "budget_cpu_ratio": 2.1,
    "budget_latency_added_ms_p50": 3.0,
    "stream_cpu_ratio": 1.3,
    "merged_us_per_token": 30.0,
    "merged_differences": 0,
    "rss_growth_ratio": 1.10,
    "streams500_errors": 0,
    "streams500_ttft_added_p99_ratio": 4.0,
    "errors": 0,
}
# Those that have nothing to do with the machine's speed.
EXACT = {"merged_differences", "streams500_errors", "errors"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of both servers, measured one after the other: floor, gateway and, where noise counts, floor again."""

    floor: float
    gateway: float
    again: float | None = None

    @property
    def ratio(self) -> float:
        """Gateway over floor; over the mean of the floor's two, so that a drift between them cancels."""
        return self.gateway / (self.floor if self.again is None else (self.floor + self.again) / 2)

    @property
    def noise(self) -> float | None:
        """The floor against itself."""
        return None if self.again is None else self.again / self.floor


@dataclass(slots=True)
class Figure:
    """A figure over all pairs."""

    words: str
    pairs: list[Pair] = field(default_factory=list)

    @property
    def floor(self) -> float:
        """The median."""
        return statistics.median(pair.floor for pair in self.pairs)

    @property
    def gateway(self) -> float:
        """The median."""
        return statistics.median(pair.gateway for pair in self.pairs)

    def ratios(self) -> dict[str, float]:
        return spread([pair.ratio for pair in self.pairs])

    def noise(self) -> dict[str, float] | None:
        """Nothing if it was not measured."""
        noises = [pair.noise for pair in self.pairs if pair.noise is not None]
        return spread(noises) if noises else None


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


@dataclass(slots=True)
class Results:
    """All that was measured."""

    figures: dict[str, Figure] = field(default_factory=dict)
    # Resident memory of the gateway in MB, over the calls of the crowd.
    resident: list[float] = field(default_factory=list)
    # Where the merged stream differs from the unmerged one.
    differences: int = 0
    # Failed calls: of the gateway in the crowd, and all.
    crowd_errors: int = 0
    errors: int = 0

    def add(self, name: str, words: str, pair: Pair) -> None:
        """Take a pair of the figure `name`, which `words` tell in the table."""
        self.figures.setdefault(name, Figure(words)).pairs.append(pair)

    def last_line(self) -> dict[str, Any]:
        """The medians; under `ratios` and `floor_against_itself` how far the pairs lie apart."""
        figures = self.figures
        return {
            "unary_cpu_ratio": figures["unary_cpu"].ratios()["median"],
            "limits_cpu_ratio": figures["limits_cpu"].ratios()["median"],
            "budget_cpu_ratio": figures["budget_cpu"].ratios()["median"],
            "budget_latency_added_ms_p50": figures["budget_latency_added_ms_p50"].gateway,
            "stream_cpu_ratio": figures["stream_cpu"].ratios()["median"],
            "merged_us_per_token": figures["merged_cpu"].gateway,
            "merged_differences": self.differences,
            "latency_added_ms_p50": figures["latency_added_ms_p50"].gateway,
            "latency_added_ms_p99": figures["latency_added_ms_p99"].gateway,
            "ttft_added_ms_p50": figures["ttft_added_ms_p50"].gateway,
            "ttft_added_ms_p99": figures["ttft_added_ms_p99"].gateway,
            "tokens_per_second": figures["tokens_per_second"].gateway,
            "rss_mb": figures["rss"].gateway,
            "rss_ratio": figures["rss"].ratios()["median"],
            "rss_growth_ratio": max(self.resident[1:]) / self.resident[0],
            "streams500_ttft_added_p99_ratio": figures["streams500_ttft_added_ms_p99"].ratios()["median"],
            "streams500_errors": self.crowd_errors,
            "errors": self.errors,
            "ratios": {name: figure.ratios() for name, figure in figures.items()},
            "floor_against_itself": {name: noise for name, f in figures.items() if (noise := f.noise())},
        }


def missed(last_line: Mapping[str, Any]) -> dict[str, str]:
    """Each bar that is not met, in words. What is not a number meets none."""
    over = {name: most for name, most in BARS.items() if not last_line[name] <= most}
    return {name: f"{name} is {last_line[name]:.4g}: at most {most:g}" for name, most in over.items()}


def table(figures: Sequence[Figure]) -> str:
    """A row for each figure: the medians of both servers, and the ratios of the pairs."""
    head = ("medians", "floor", "gateway", "ratio: min", "median", "max", "floor against itself")
    rows = [head, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(figure: Figure) -> tuple[str, ...]:
    ratios = [f"{value:.2f}" for value in figure.ratios().values()]
    noise = [f"{value:.2f}" for value in (figure.noise() or {}).values()]
    return (figure.words, _short(figure.floor), _short(figure.gateway), *ratios, " ".join(noise))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *rest]).rstrip()


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    packages = ("grpcio", "aiohttp", "uvloop", "protobuf", "msgspec")
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
