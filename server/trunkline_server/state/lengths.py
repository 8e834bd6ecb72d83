"""How long answers are and how far estimates of prompts are off, as finished calls tell. Kept in this process only.

Every model has the median of its latest answers, as a whole and by task, and a correction: what providers counted of
prompts, to what was estimated of them. Both sums fade, so that the correction follows a model whose tokenizer changes;
it begins at 1, and large prompts teach it more than small ones.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, TypeVar

from trunkline_server.state.backlog import Backlog

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trunkline_server.state.statistics import Finished

# Answers that a median is of, and the least that make one. Models and tasks that are known: names come from callers.
LATEST, LEAST = 33, 5
MAX_KNOWN = 2000
# What remains of all that was counted before at each prompt; tokens for which a correction of 1 counts at the start.
FADING, PRIOR = 0.99, 5000.0
# No tokenizer is further off than this: what is, was put into the prompt by the provider.
LEAST_RATIO, MOST_RATIO = 0.4, 2.5
_T = TypeVar("_T")


class Lengths:
    """For one event loop; nothing in it waits. What was not heard of for longest is forgotten first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, _Answers] = OrderedDict()
        self._prompts: OrderedDict[Hashable, _Prompts] = OrderedDict()
        self._backlog = Backlog(self._learn)

    def record(self, call: Finished) -> None:
        """A call has ended. Only what was answered whole, and counted by the provider, teaches anything."""
        usage = call.usage
        if usage is not None and call.result == "success":
            # 0 may have been counted, or nobody counted.
            output = usage.output_tokens or (0 if usage.HasField("output_tokens") else None)
            estimated = call.estimated
            self._backlog.add(call.model, call.task, output, usage.input_tokens if estimated else 0, estimated)

    def _learn(self, model: str, task: str, output: int | None, counted: int, estimated: int | None) -> None:
        """Tokens that came out, those that went in, and how many these were thought to be."""
        if output is not None:
            _kept(self._answers, (model, ""), _Answers).add(output)
            if task:
                _kept(self._answers, (model, task), _Answers).add(output)
        if estimated and counted > 0:
            _kept(self._prompts, model, _Prompts).add(counted, estimated)

    def output(self, model: str, task: str = "") -> int | None:
        """The median length in tokens of the model's latest answers in a task, else in all. None: too few were seen."""
        self._backlog.learn()
        for key in ((model, task), (model, "")):
            if (answers := self._answers.get(key)) is not None and (median := answers.median()) is not None:
                return median
        return None

    def correction(self, model: str) -> float:
        """What to multiply estimates of the model's prompts with: Count.at."""
        self._backlog.learn()
        prompts = self._prompts.get(model)
        return 1.0 if prompts is None else prompts.ratio


class _Answers:
    __slots__ = ("_latest", "_median")

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=LATEST)
        # As it was last worked out: it hangs on nothing but what was added since.
        self._median: int | None = None

    def add(self, tokens: int) -> None:
        self._latest.append(tokens)
        self._median = None

    def median(self) -> int | None:
        """None: there were too few."""
        if self._median is None and len(self._latest) >= LEAST:
            self._median = sorted(self._latest)[len(self._latest) // 2]
        return self._median


class _Prompts:
    __slots__ = ("_counted", "_estimated", "ratio")

    def __init__(self) -> None:
        self._counted = self._estimated = PRIOR
        self.ratio = 1.0

    def add(self, counted: int, estimated: int) -> None:
        if not LEAST_RATIO * estimated <= counted <= MOST_RATIO * estimated:
            return
        self._counted = self._counted * FADING + counted
        self._estimated = self._estimated * FADING + estimated
        self.ratio = self._counted / self._estimated


def _kept(known: OrderedDict[Hashable, _T], key: Hashable, make: type[_T]) -> _T:
    found = known.get(key)
    if found is None:
        found = known[key] = make()
        if len(known) > MAX_KNOWN:
            known.popitem(last=False)
    else:
        known.move_to_end(key)
    return found
