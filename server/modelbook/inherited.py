"""Scores of models that nobody measured, from those whose place they took. Pure over what the sources say.

A model is taken to be no worse than any that it succeeds: of several it has the best score. It succeeds
the same model under an earlier date or as a preview; the nearest earlier generation of its family and tier
(lines.toml); and what it replaces, as its seller says, within a family. What was measured of a model itself
always stands.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline_server.models.data import Score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# By table and id, models in the making: the fields of Entry.
Drafts = dict[str, dict[str, dict[str, Any]]]

_DATE = re.compile(r"-(20\d\d-?\d\d-?\d\d|\d\d-?\d\d)$")
_PREVIEW = re.compile(r"-(preview|beta|exp|experimental)$")


class Name(NamedTuple):
    """What model an id means, whoever sells it."""

    base: str
    # Digits, which can be compared within a base. Empty = the id says none.
    date: str = ""


class Found(NamedTuple):
    """A score, and the "table/id" that it was measured of."""

    score: Score
    of: str


@dataclass
class Names:
    """Reads ids: lines.toml."""

    told: dict[str, Any]
    lines: list[re.Pattern[str]] = field(init=False)

    def __post_init__(self) -> None:
        """Compile what is told."""
        self._same = [(re.compile(each["match"]), each["put"]) for each in self.told["same"]]
        self.lines = [re.compile(each) for each in self.told["lines"]]

    def of(self, id_: str) -> Name:
        """The model that an id means."""
        bare = id_.lower()
        for pattern, put in self._same:
            bare = pattern.sub(put, bare)
        dated = _DATE.search(bare)
        return Name(bare[: dated.start()], dated.group(1).replace("-", "")) if dated else Name(bare)

    def place(self, name: Name) -> tuple[int, tuple[int, ...]] | None:
        """The line that a model is of, and its generation. None: it is of none."""
        for line, pattern in enumerate(self.lines):
            if found := pattern.search(name.base):
                return line, tuple(map(int, found.group(1).split("-")))
        return None


class Heirs:
    """What is known of models of one kind of score, by measurements and by inheritance."""

    def __init__(
        self, names: Names, measured: Iterable[tuple[str, Score]], replaced: Iterable[tuple[str, str]]
    ) -> None:
        """`measured`: by "table/id"; `replaced`: ids and those that replace them."""
        self._names = names
        self._measured: dict[Name, Found] = {}
        for of, score in measured:
            self._measured.setdefault(names.of(of.partition("/")[2]), Found(score, of))
        self._replaced: dict[str, set[Name]] = defaultdict(set)
        for id_, other in replaced:
            self._replaced[names.of(other).base].add(names.of(id_))
        self._known: dict[Name, Found | None] = {}
        self._generations = self._by_line()

    def find(self, id_: str) -> Found | None:
        """The score of the model that an id means, or of the best that it succeeds. None: nobody measured those."""
        return self._find(self._names.of(id_))

    def measured(self, id_: str) -> Found | None:
        """What was measured of the very model, whoever sells it."""
        return self._measured.get(self._names.of(id_))

    def _find(self, name: Name) -> Found | None:
        if name not in self._known:
            self._known[name] = None  # who succeeds himself has nothing from it
            found = [each for before in self._before(name) if (each := self._find(before)) is not None]
            best = max(found, key=lambda each: (each.score.value, each.of), default=None)
            self._known[name] = self._measured.get(name) or self._same(name) or best
        return self._known[name]

    def _same(self, name: Name) -> Found | None:
        """The same model: of an earlier date, of any if the id says none, and of none if no date was measured."""
        dated = {each.date: found for each, found in self._measured.items() if each.base == name.base and each.date}
        dates = [date for date in dated if not name.date or date <= name.date]
        if dates:
            return dated[max(dates)]
        return None if dated else self._measured.get(Name(name.base))

    def _before(self, name: Name) -> Iterator[Name]:
        yield from (Name(each.base) for each in self._measured if _PREVIEW.sub("", each.base) == name.base != each.base)
        place = self._names.place(name)
        if place is not None:
            yield from map(Name, sorted(self._nearest(*place)))
        yield from sorted(self._replaced.get(name.base, ()))

    def _nearest(self, line: int, generation: tuple[int, ...]) -> set[str]:
        """The models of the last generation before this that something is known of."""
        for earlier in sorted((each for each in self._generations[line] if each < generation), reverse=True):
            bases = self._generations[line][earlier]
            if any(self._find(Name(base)) is not None for base in bases):
                return bases
        return set()

    def _by_line(self) -> dict[int, dict[tuple[int, ...], set[str]]]:
        found: dict[int, dict[tuple[int, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
        heard = {*self._measured, *(name for names in self._replaced.values() for name in names)}
        for name in heard | {Name(base) for base in self._replaced} | {Name(_PREVIEW.sub("", n.base)) for n in heard}:
            if place := self._names.place(name):
                found[place[0]][place[1]].add(name.base)
        return found


def inherit(drafts: Drafts, unlisted: dict[str, dict[str, Score]], told: dict[str, Any]) -> None:
    """Give models the scores of those that they succeed. `unlisted`: by kind, of models that no source sells."""
    names = Names(told)
    replaced = [
        (id_, draft["replacement"])
        for _, models, id_, draft in _each(drafts)
        if draft.get("replacement") and _family(models, draft["replacement"]) == draft.get("family")
    ]
    for kind in sorted({*unlisted, *(kind for *_, draft in _each(drafts) for kind in draft.get("scores", ()))}):
        scored = ((f"{table}/{id_}", draft.get("scores", {})) for table, _, id_, draft in _each(drafts))
        measured = [(of, scores[kind]) for of, scores in scored if kind in scores]
        heirs = Heirs(names, [*measured, *unlisted.get(kind, {}).items()], replaced)
        for *_, id_, draft in _each(drafts):
            if kind not in draft.get("scores", ()) and (found := heirs.find(id_)):
                how = "the same model as" if heirs.measured(id_) else "inherited from"
                score = Score(found.score.value, f"{how} {found.of}: {found.score.source}")
                draft.setdefault("scores", {})[kind] = score


def _each(drafts: Drafts) -> Iterator[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    return ((table, models, id_, draft) for table, models in drafts.items() for id_, draft in models.items())


def _family(models: dict[str, dict[str, Any]], said: str) -> str | None:
    """The family of what is named as a replacement, by whatever of its names."""
    name = next((each for each in (said, said.partition("/")[2], said.rpartition("/")[2]) if each in models), "")
    return models[name].get("family") if name else None
