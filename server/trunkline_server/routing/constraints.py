"""Hard constraints: who is not asked, and why; and if nobody is left, what would have qualified. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1.model_pb2 import Capability
from trunkline_server.errors import ConstraintsUnmet, Violation
from trunkline_server.routing.numbers import bounds_of, total_by_speed
from trunkline_server.routing.window import Fit, fits, too_long
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trunkline.v1.call_pb2 import Routing
    from trunkline_server.errors import CallError
    from trunkline_server.routing.ask import Ask, OwnTool
    from trunkline_server.routing.candidates import Candidate
    from trunkline_server.routing.numbers import Numbers
    from trunkline_server.routing.table import Table

# Names in one sentence.
_NAMED = 5
_WINDOW = "context_window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a target must be. What stands at its default is not asked for. Times are seconds."""

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    capabilities: tuple[Capability.ValueType, ...] = ()
    min_window: int | None = None
    min_quality: float | None = None
    # Nano-USD.
    max_cost: int | None = None
    max_first: float | None = None
    max_total: float | None = None
    # Whether max_total is the configuration's.
    configured_total: bool = False
    local_only: bool = False


NONE = Constraints()


class Removed(NamedTuple):
    """Who is not asked, what removed it, and why for a person."""

    row: int
    constraint: str
    detail: str


class Sheet(NamedTuple):
    """What is known of each candidate for this call, by its index."""

    table: Table
    ask: Ask
    numbers: Numbers

    @property
    def rows(self) -> Sequence[Candidate]:
        """The candidates."""
        return self.table.rows


class Rule(NamedTuple):
    """One constraint."""

    # As RemovedTarget.constraint says it, and the request's field.
    name: str
    field: str
    keeps: Callable[[int], bool]
    # Why a candidate is removed.
    why: Callable[[int], str]
    # What would have qualified, of those that were left before it.
    remedy: Callable[[Sequence[int]], str]


def constraints_of(routing: Routing, longest: float | None = None) -> Constraints:
    """What a request asks for. `longest`: the configuration's max_latency, in seconds, if the request says none."""
    own = seconds(routing.max_expected_total_time) if routing.HasField("max_expected_total_time") else None
    return Constraints(
        allowed=tuple(routing.allowed_providers),
        denied=tuple(routing.denied_providers),
        capabilities=tuple(routing.required_capabilities),
        min_window=routing.min_context_window if routing.HasField("min_context_window") else None,
        min_quality=routing.min_quality if routing.HasField("min_quality") else None,
        max_cost=routing.max_cost_nano_usd if routing.HasField("max_cost_nano_usd") else None,
        max_first=seconds(routing.max_time_to_first_token) if routing.HasField("max_time_to_first_token") else None,
        max_total=longest if own is None else own,
        configured_total=own is None and longest is not None,
        local_only=routing.local_only,
    )


def promises(wanted: Constraints) -> Constraints:
    """Those that hold for a last resort, too: where a prompt may go, and what its answer may cost."""
    return Constraints(
        allowed=wanted.allowed, denied=wanted.denied, max_cost=wanted.max_cost, local_only=wanted.local_only
    )


def apply(constraints: Constraints, sheet: Sheet, kept: Sequence[int]) -> tuple[Sequence[int], list[Removed]]:
    """Who is left of `kept`, and who is removed by what. If nobody is: raises ConstraintsUnmet or ContextTooLong."""
    removed: list[Removed] = []
    if constraints is NONE and not _is_long(sheet):  # as most often
        return kept, removed
    for rule in rules_of(constraints, sheet):
        kept = _left(rule, sheet, kept, removed)
    return kept, removed


def _left(rule: Rule, sheet: Sheet, kept: Sequence[int], removed: list[Removed]) -> Sequence[int]:
    left = [index for index in kept if rule.keeps(index)]
    if len(left) == len(kept):
        return kept
    if not left:
        raise _unmet(rule, kept, sheet)
    stay = set(left)
    removed += [Removed(index, rule.name, rule.why(index)) for index in kept if index not in stay]
    return left


def running(sheet: Sheet, kept: Sequence[int], removed: list[Removed], *, is_open: bool) -> Sequence[int]:
    """Who of `kept` runs the tools that a provider has to run; who does not goes into `removed`.

    If nobody does: raises ConstraintsUnmet. Of models that were named (not `is_open`) all stay then: whoever is asked
    refuses the tool or warns, as where a single one is named.
    """
    for tool in sheet.ask.tools:
        if is_open or any(runs(sheet.rows[index], tool) for index in kept):
            kept = _left(_tool(sheet.rows, tool), sheet, kept, removed)
    return kept


def _is_long(sheet: Sheet) -> bool:
    """Whether it could be too long for the smallest window there is: most requests are not, and need no closer look."""
    return sheet.numbers.longest + (sheet.ask.max_output or 0) > sheet.table.smallest_window


def doubtful(sheet: Sheet, kept: Sequence[int]) -> set[int]:
    """Of `kept` those whose window may be too small: who certainly has room goes before them."""
    return {index for index in kept if _fit(sheet, index) is Fit.DOUBTFUL} if _is_long(sheet) else set()


def _fit(sheet: Sheet, index: int) -> Fit:
    ask = sheet.ask
    return fits(sheet.numbers.inputs[index], sheet.rows[index], ask.max_output, exact=ask.count.exact)


def runs(row: Candidate, tool: OwnTool) -> bool:
    """Whether the row's provider runs this tool, and may."""
    spoken = row.dialects if tool.is_asked else row.dialects[:1]
    return tool.dialect in spoken and tool.type in row.tools


def needed(sheet: Sheet, kept: Sequence[int], removed: list[Removed]) -> Sequence[int]:
    """Who of `kept` can do what the request needs; who cannot goes into `removed`. If nobody can: all of them.

    Then what they cannot do is warned about, or refused, by whoever is asked: as with a model that was named.
    """
    for field, capability in sheet.ask.needs:
        able = [index for index in kept if capability in sheet.rows[index].capabilities]
        if able and len(able) < len(kept):
            why, stay = f"it is not known to have {_capability(capability)}", set(able)
            removed += [Removed(index, field, why) for index in kept if index not in stay]
            kept = able
    return kept


def _unmet(rule: Rule, kept: Sequence[int], sheet: Sheet) -> CallError:
    if rule.name == _WINDOW:
        return too_long(sheet.ask.count, [sheet.rows[index] for index in kept], sheet.ask.max_output)
    names = ", ".join(sheet.rows[index].id for index in kept[:_NAMED])
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    said = f"removed the last that were left ({names}{more}); {rule.remedy(kept)}"
    return ConstraintsUnmet([Violation(rule.field, said)])


def rules_of(wanted: Constraints, sheet: Sheet) -> Iterator[Rule]:
    """Those that are asked for: what a model is first, then what the call takes there, so that the last says most."""
    yield from _of_models(wanted, sheet.rows)
    if _is_long(sheet):
        yield _fits(sheet)
    if wanted.max_first is not None:
        yield _first(sheet, wanted.max_first)
    if wanted.max_total is not None:
        yield _total(sheet, wanted.max_total, configured=wanted.configured_total)
    if wanted.max_cost is not None:
        yield _cost(sheet, wanted.max_cost)


def _of_models(wanted: Constraints, rows: Sequence[Candidate]) -> Iterator[Rule]:
    if wanted.allowed:
        yield _providers("allowed_providers", rows, lambda name: name in wanted.allowed)
    if wanted.denied:
        yield _providers("denied_providers", rows, lambda name: name not in wanted.denied)
    if wanted.local_only:
        yield _local(rows)
    if wanted.capabilities:
        yield _able(rows, frozenset(wanted.capabilities))
    if wanted.min_window is not None:
        yield _window(rows, wanted.min_window)
    if wanted.min_quality is not None:
        yield _quality(rows, wanted.min_quality)


def _providers(name: str, rows: Sequence[Candidate], fits: Callable[[str], bool]) -> Rule:
    def remedy(kept: Sequence[int]) -> str:
        return f"the providers that could be asked are {', '.join(sorted({rows[index].provider for index in kept}))}"

    return Rule(
        name, f"routing.{name}", lambda index: fits(rows[index].provider), lambda index: rows[index].provider, remedy
    )


def _local(rows: Sequence[Candidate]) -> Rule:
    return Rule(
        "local_only",
        "routing.local_only",
        lambda index: rows[index].local,
        lambda _: "it does not run on the gateway's own machine",
        lambda _: "a provider on this machine, such as ollama or embedded, would qualify",
    )


def _able(rows: Sequence[Candidate], wanted: frozenset[Capability.ValueType]) -> Rule:
    def lacks(index: int) -> list[str]:
        return sorted(map(_capability, wanted - rows[index].capabilities))

    def remedy(kept: Sequence[int]) -> str:
        best = min(kept, key=lambda index: (len(lacks(index)), rows[index].id))
        return f"{rows[best].id} comes nearest and is not known to have {', '.join(lacks(best))}"

    return Rule(
        "required_capabilities",
        "routing.required_capabilities",
        lambda index: wanted <= rows[index].capabilities,
        lambda index: f"it is not known to have {', '.join(lacks(index))}",
        remedy,
    )


def _tool(rows: Sequence[Candidate], tool: OwnTool) -> Rule:
    named = f"{tool.type} of {tool.dialect}"

    def why(index: int) -> str:
        spoken = tool.dialect in rows[index].dialects
        return f"its provider may not run {named} (provider_tools)" if spoken else f"its provider has no {named}"

    def remedy(kept: Sequence[int]) -> str:
        able = sorted({rows[index].provider for index in kept if tool.dialect in rows[index].dialects})
        allow = " or ".join(f"providers.{name}.provider_tools" for name in able)
        return f"{named} has to be allowed by the operator: {allow}" if able else f"none of them speaks {tool.dialect}"

    return Rule("provider_tools", tool.field, lambda index: runs(rows[index], tool), why, remedy)


def _fits(sheet: Sheet) -> Rule:
    rows, inputs = sheet.rows, sheet.numbers.inputs
    return Rule(
        _WINDOW,
        "messages",
        lambda index: _fit(sheet, index) is not Fit.TOO_LONG,
        lambda index: f"its window is {rows[index].window} tokens, and the request has about {inputs[index]}",
        lambda _: "",
    )


def _window(rows: Sequence[Candidate], least: int) -> Rule:
    def remedy(kept: Sequence[int]) -> str:
        best = max(kept, key=lambda index: rows[index].window or 0)
        return f"the largest window is that of {rows[best].id}, {rows[best].window or 'unknown'}"

    return Rule(
        "min_context_window",
        "routing.min_context_window",
        lambda index: (rows[index].window or 0) >= least,
        lambda index: f"its window is {rows[index].window or 'not known'}",
        remedy,
    )


def _quality(rows: Sequence[Candidate], least: float) -> Rule:
    def remedy(kept: Sequence[int]) -> str:
        best = max(kept, key=lambda index: rows[index].quality or 0.0)
        said = f"{rows[best].quality:.3f}" if rows[best].quality is not None else "unknown"
        return f"the best is {rows[best].id}, {said}: model_data in the configuration can say more scores"

    return Rule(
        "min_quality",
        "routing.min_quality",
        lambda index: (own := rows[index].quality) is not None and own >= least,
        lambda index: "its quality is " + (f"{own:.3f}" if (own := rows[index].quality) is not None else "not known"),
        remedy,
    )


def _first(sheet: Sheet, most: float) -> Rule:
    def first(index: int) -> float:
        how = sheet.numbers.times(index)
        return how[0] if how is not None and how[0] is not None else 0.0

    return Rule(
        "max_time_to_first_token",
        "routing.max_time_to_first_token",
        lambda index: first(index) <= most,
        lambda index: f"its first token takes {first(index):.3f} s",
        lambda kept: _soonest(sheet, kept, first, "the first token comes soonest from"),
    )


def _total(sheet: Sheet, most: float, *, configured: bool) -> Rule:
    """Of what was not measured: as the catalogue's speed suggests, if it tells one."""

    def total(index: int) -> float:
        numbers = sheet.numbers
        how = numbers.times(index)
        if how is not None and how[1] is not None:
            return how[1]
        return total_by_speed(sheet.table, index, numbers.outputs[index]) or 0.0

    def remedy(kept: Sequence[int]) -> str:
        whose = f"; the gateway's routing.max_latency is {most:g} s, and this field says another" if configured else ""
        return _soonest(sheet, kept, total, "the fastest is") + whose

    return Rule(
        "routing.max_latency" if configured else "max_expected_total_time",
        "routing.max_expected_total_time",
        lambda index: total(index) <= most,
        lambda index: f"its answer is expected to take {total(index):.3f} s",
        remedy,
    )


def _soonest(sheet: Sheet, kept: Sequence[int], of: Callable[[int], float], what: str) -> str:
    best = min(kept, key=lambda index: (of(index), index))
    return f"{what} {sheet.rows[best].id}, with {of(best):.3f} s"


def _cost(sheet: Sheet, most: int) -> Rule:
    """Where the request caps what comes out, all of that counts: then what is promised holds."""
    costs = bounds_of(sheet.table, sheet.ask, sheet.numbers)

    def keeps(index: int) -> bool:
        return (cost := costs[index]) is not None and cost <= most

    def why(index: int) -> str:
        cost = costs[index]
        return "its price is not known" if cost is None else f"the call is expected to cost {cost} nano-USD"

    def remedy(kept: Sequence[int]) -> str:
        priced = [(cost, index) for index in kept if (cost := costs[index]) is not None]
        if not priced:
            return "none of them has a price: prices in the configuration can say it"
        cost, best = min(priced)
        return f"the cheapest is {sheet.rows[best].id}, with {cost} nano-USD"

    return Rule("max_cost_nano_usd", "routing.max_cost_nano_usd", keeps, why, remedy)


def _capability(value: Capability.ValueType) -> str:
    return Capability.Name(value).removeprefix("CAPABILITY_").lower()
