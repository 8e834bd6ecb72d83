"""The models that a choice is made among, in columns: what does not hang on the call is worked out once. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.tokens import DEFAULT_SHAPE, SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.prices.rates import Step
    from trunkline_server.routing.candidates import Candidate, Tariff
    from trunkline_server.routing.tokens import Shape

# Of what nobody knows: how good and how fast a model is taken to be, from 0 to 1. The quality is below most of
# the catalogue's scores.
UNKNOWN_QUALITY = 0.3
UNKNOWN_SPEED = 0.5
# Lengths of answers that are remembered: callers may say any.
MAX_ANSWERS = 64
# More tokens than there ever are.
NEVER = 1 << 62
# The model that comes with the gateway is there so that there is an answer: it comes last.
EMBEDDED = "embedded"


# Indices by preference: those that are meant, of whom the best is taken; then those that stand in for them.
Groups = tuple[tuple[int, ...], ...]


class Sides(NamedTuple):
    """Whom of a table a strategy means."""

    # By each name of its order or shares.
    named: Mapping[str, Groups] = {}
    # By the call's arm.
    arm: Groups = ()


NO_SIDES = Sides()


@dataclass(slots=True)
class Table:
    """Rows in the order of their ids, so that no decision hangs on the order in which they were found."""

    rows: tuple[Candidate, ...]
    targets: tuple[Target, ...] = field(init=False)
    providers: list[str] = field(init=False)
    # Families whose tokens are counted in their own way, each once, and how; and of every row, which of them it is.
    families: list[str] = field(init=False)
    shapes: list[Shape] = field(init=False)
    family_of: list[int] = field(init=False)
    # Pico-USD a token and a call; of unpriced rows 0.
    inputs: list[int] = field(init=False)
    outputs: list[int] = field(init=False)
    requests: list[int] = field(init=False)
    # Which rows have no price, and which one that is not the same in calls of all sizes and times. Until more tokens
    # go in than `first_step`, only those of the latter that are `intricate` have another one than their first.
    unpriced: list[int] = field(init=False)
    special: list[int] = field(init=False)
    intricate: list[int] = field(init=False)
    first_step: int = field(init=False)
    smallest_window: int = field(init=False)
    # Whether any of them reads from its provider's prompt cache for less.
    caches: bool = field(init=False)
    # The indices of all; of the model that comes with the gateway; of the others.
    everybody: tuple[int, ...] = field(init=False)
    embedded: tuple[int, ...] = field(init=False)
    hosted: tuple[int, ...] = field(init=False)
    qualities: list[float] = field(init=False)
    speeds: list[float] = field(init=False)
    # By how many tokens come out: what comes out of each, and what `fixed` says of it.
    _answers: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict, repr=False)
    # By whether the request is about code and whether it is hard.
    _fitting: dict[tuple[bool, bool], list[float]] = field(default_factory=dict, repr=False)
    # Whom of it strategies name: what routing/naming.py has worked out.
    sides: dict[tuple[object, ...], Sides] = field(default_factory=dict, repr=False)
    # What routing/scoring.py has worked out for it.
    merits: dict[object, list[float]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Fill the columns."""
        rows = self.rows
        self.targets = tuple(row.target for row in rows)
        self.providers = [row.provider for row in rows]
        families = [row.family if row.family in SHAPES else "" for row in rows]
        self.families = sorted({*families})
        self.shapes = [SHAPES.get(family, DEFAULT_SHAPE) for family in self.families]
        self.family_of = [self.families.index(family) for family in families]
        self._fill_prices()
        self.smallest_window = min((row.window for row in rows if row.window is not None), default=NEVER)
        self.caches = any(map(self.caches_at, range(len(rows))))
        self.embedded = tuple(index for index, row in enumerate(rows) if row.kind == EMBEDDED)
        self.hosted = tuple(index for index, row in enumerate(rows) if row.kind != EMBEDDED)
        self.everybody = tuple(range(len(rows)))
        self.qualities = [known(row.quality, UNKNOWN_QUALITY) for row in rows]
        self.speeds = [known(row.speed, UNKNOWN_SPEED) for row in rows]

    def _fill_prices(self) -> None:
        tariffs = [row.tariff for row in self.rows]
        self.inputs = [tariff.input if tariff else 0 for tariff in tariffs]
        self.outputs = [tariff.output if tariff else 0 for tariff in tariffs]
        self.requests = [tariff.request if tariff else 0 for tariff in tariffs]
        self.unpriced = [index for index, tariff in enumerate(tariffs) if tariff is None]
        self.special = [i for i, tariff in enumerate(tariffs) if tariff and (tariff.stepped or tariff.second)]
        steps = {i: [*_steps(self.rows[i].tariff)] for i in self.special}
        self.intricate = [i for i, own in steps.items() if not own or any(step.excess_only for step in own)]
        self.first_step = min((step.above for own in steps.values() for step in own), default=NEVER)

    def caches_at(self, index: int) -> bool:
        """Whether this one does."""
        tariff = self.rows[index].tariff
        return tariff is not None and (tariff.stepped is not None or tariff.cache_read < tariff.input)

    def answers(self, tokens: int) -> tuple[Sequence[int], Sequence[int]]:
        """Of each: how many tokens come out where so many should, and what `fixed` says of that. Never changed."""
        if (found := self._answers.get(tokens)) is None:
            outputs = [self.capped(index, tokens) for index in range(len(self.rows))]
            found = outputs, [self.fixed(index, out) for index, out in enumerate(outputs)]
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[tokens] = found
        return found

    def capped(self, index: int, tokens: int) -> int:
        """No model gives more than its most."""
        most = self.rows[index].max_output
        return tokens if most is None else min(tokens, most)

    def fixed(self, index: int, output: int) -> int:
        """Pico-USD of a call but for what goes in, and 999 more: so that to cut off below a nano-USD rounds up."""
        return output * self.outputs[index] + self.requests[index] + 999

    def fitting(self, *, coding: bool, hard: bool) -> list[float]:
        """How good each is at what the request is about: code, reasoning, both. At plain requests all are the same."""
        if (found := self._fitting.get((coding, hard))) is None:
            found = self._fitting[coding, hard] = [_fit(row, coding=coding, hard=hard) for row in self.rows]
        return found


def table_of(rows: Iterable[Candidate]) -> Table:
    """A table of these rows, each once."""
    return Table(tuple(sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)))


def _steps(tariff: Tariff | None) -> Iterator[Step]:
    for rate in (tariff.stepped or ()) if tariff is not None and not tariff.second else ():
        yield from rate.steps


def known(value: float | None, otherwise: float) -> float:
    """The value, if there is one."""
    return otherwise if value is None else value


def _fit(row: Candidate, *, coding: bool, hard: bool) -> float:
    wanted = [*[row.coding] * coding, *[row.reasoning] * hard]
    return _mean([known(value, UNKNOWN_QUALITY) for value in wanted]) if wanted else UNKNOWN_QUALITY


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
