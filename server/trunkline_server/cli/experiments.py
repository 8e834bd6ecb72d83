"""`trunkline experiments`: what became of each arm. Reads the database itself, whether a gateway runs or not."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from typer import Option

from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.figures import percent, usd
from trunkline_server.cli.keeping import keeping
from trunkline_server.cli.options import ConfigFile
from trunkline_server.cli.period import period_of
from trunkline_server.cli.terminal import print_line, print_table
from trunkline_server.routing.experiments import AB_TESTING
from trunkline_server.routing.verdicts import (
    LEAST,
    SUSPECT,
    Interval,
    Sample,
    mean_interval,
    share_interval,
    share_mismatch,
    verdict,
)
from trunkline_server.settings import Settings
from trunkline_server.settings.experiments import ExperimentSettings
from trunkline_server.state.ledger.database import WORDS, StoreFailed
from trunkline_server.state.ledger.experiments import Arm, arms

_HEAD = ("experiment", "arm", "weight", "callers", "calls", "failed", "score", "of calls", "USD a call", "seconds")
_EPOCH = datetime.fromtimestamp(0, UTC)
_BUILT_IN = ExperimentSettings(arms=dict(AB_TESTING.weights))


def experiments(
    *,
    since: Annotated[str, Option(metavar="SPAN", help="How far back: 24h, 7d, 4w. Default: all that is kept.")] = "",
    config_file: ConfigFile = None,
) -> None:
    """Tell how the arms of experiments do, with intervals of 95%, and whether one has won.

    An arm's figures are those of all calls that were given to it: one that another target than the first had to answer
    counts as failed. Scores are what callers sent with SubmitFeedback.
    """
    settings = config.load(config.find_path(explicit=config_file))
    start = period_of(since, "", "", "").start if since else None
    found = asyncio.run(_arms(settings, (start - _EPOCH) // timedelta(microseconds=1) if start else 0))
    known = {AB_TESTING.name: _BUILT_IN, **settings.experiments}
    names = [*dict.fromkeys([*settings.experiments, *(arm.name.partition("/")[0] for arm in found)])]
    by_name = {name: [arm for arm in found if arm.name.partition("/")[0] == name] for name in names}
    print_table(_HEAD, [row for name in names for row in _rows(name, known.get(name), by_name[name])])
    for name in names:
        for line in _verdicts(known.get(name), by_name[name]):
            print_line(f"{name}: {line}")


async def _arms(settings: Settings, start: int) -> list[Arm]:
    async with keeping(settings) as kept:
        try:
            return await arms(kept.database, start)
        except StoreFailed as failed:
            raise Failed(ExitCode.FAILED, f"the ledger cannot be read: {WORDS[failed.kind]}") from None


def _rows(name: str, said: ExperimentSettings | None, found: Sequence[Arm]) -> Iterator[tuple[str, ...]]:
    weights = said.arms if said is not None else {}
    by_arm = {arm.name.partition("/")[2]: arm for arm in found}
    for arm in dict.fromkeys([*weights, *by_arm]):
        of = by_arm.get(arm) or Arm("", 0, 0, 0, Sample(), Sample(), Sample())
        yield (name, arm, f"{weights[arm]:g}" if arm in weights else "-", str(of.units), str(of.calls), *_figures(of))


def _figures(of: Arm) -> tuple[str, ...]:
    failed = share_interval(of.failures, of.calls)
    score, cost, seconds = (mean_interval(each) for each in (of.scores, of.costs, of.seconds))
    return (
        _span(*map(percent, failed)) if of.calls else "-",
        _span(*(f"{each:.3f}" for each in _within(score))) if score else "-",
        str(of.scores.n),
        _span(*(usd(round(each)) for each in cost)) if cost else "-",
        _span(*(f"{each:.3f}" for each in seconds)) if seconds else "-",
    )


def _within(score: Interval) -> Interval:
    """A score is from 0 to 1."""
    return Interval(score.mean, max(0.0, score.low), min(1.0, score.high))


def _span(mean: str, low: str, high: str) -> str:
    return f"{mean} [{low}, {high}]"


def _verdicts(said: ExperimentSettings | None, found: Sequence[Arm]) -> Iterator[str]:
    if said is None:
        yield "the configuration has no experiment of this name any more"
        return
    by_arm = {arm: next((of for of in found if of.name.partition("/")[2] == arm), None) for arm in _live(said)}
    counts = {arm: of.units for arm, of in by_arm.items() if of is not None}
    if (chance := share_mismatch(counts, said.arms)) < SUSPECT:
        yield f"the arms' shares of callers are not those of their weights (p = {chance:.1e}): rely on no figure"
    if any(of is None for of in by_arm.values()):
        yield f"too early to say: each arm needs {LEAST} calls"
        return
    yield _said({arm: of for arm, of in by_arm.items() if of is not None}, said.error)


def _live(said: ExperimentSettings) -> list[str]:
    return [arm for arm, weight in said.arms.items() if weight > 0]


def _said(by_arm: Mapping[str, Arm], error: float) -> str:
    """By scores where all arms have enough of them, else by which calls were answered."""
    scored = all(of.scores.n >= LEAST for of in by_arm.values())
    samples = {arm: of.scores if scored else _answered(of) for arm, of in by_arm.items()}
    found = verdict(samples, error)
    if found is None:
        return f"too early to say: each arm needs {LEAST} calls"
    by = "score" if scored else "calls that were answered; there are too few scores"
    if found.is_final:
        return f"{found.leader} is the best by {by} (wrong with at most {percent(error)})"
    return f"no arm has won yet; ahead by {by}: {found.leader} (evidence {found.evidence:.1f} of {found.threshold:.1f})"


def _answered(of: Arm) -> Sample:
    good = of.calls - of.failures
    return Sample(of.calls, good, good)
