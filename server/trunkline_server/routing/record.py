"""What a decision was made of, written down as JSON, and made again from it: the same, bit for bit. Pure."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.v1.call_pb2 import Target
from trunkline_server.prices.rates import Rate, Step
from trunkline_server.routing.analysis import Analysis
from trunkline_server.routing.ask import Ask, OwnTool
from trunkline_server.routing.candidates import Candidate, Tariff
from trunkline_server.routing.constraints import Constraints
from trunkline_server.routing.decision import Fallback, Question, choose, rank
from trunkline_server.routing.experiments import Experiment
from trunkline_server.routing.learned.cells import Quality
from trunkline_server.routing.learned.utility import Exchange
from trunkline_server.routing.numbers import Warm
from trunkline_server.routing.policy import Weights
from trunkline_server.routing.signal import Signal
from trunkline_server.routing.steering import Figure
from trunkline_server.routing.strategies import Kind, Strategy
from trunkline_server.routing.table import Sides, Table
from trunkline_server.routing.taught import Taught
from trunkline_server.routing.tokens import Count

if TYPE_CHECKING:
    from trunkline_server.routing.decision import Decision

_KNOWN: dict[str, type] = {
    each.__name__: each
    for each in (
        Analysis, Ask, Candidate, Constraints, Count, Figure, Question, Rate, Signal, Step, Strategy, Table, Tariff,
        Weights, Target, Kind, Taught, Quality, Exchange, Experiment, Warm, OwnTool, Fallback, Sides,
    )
}  # fmt: skip
# Of these fields the value hangs on another one's, or no decision on it: they are not written down.
_LEFT_OUT: dict[type, set[str]] = {
    Table: {each.name for each in fields(Table) if each.name != "rows"},
    Taught: {"shape"},
}
_TYPE, _MAP, _SET = "!", "!map", "!set"


def record(decision: Decision) -> str:
    """The question and the figures of a decision. Holds no text of the request."""
    return json.dumps([_plain(decision.ranking.question), _plain(dict(decision.figures))], separators=(",", ":"))


def replay(recorded: str) -> Decision:
    """The decision that was made of what is recorded."""
    question, figures = (_revived(each) for each in json.loads(recorded))
    return choose(rank(question), figures)


def _plain(value: Any) -> Any:
    if (names := _fields(value)) is not None:
        return {_TYPE: type(value).__name__, **{name: _plain(getattr(value, name)) for name in names}}
    match value:
        case dict():
            return {_MAP: [[_plain(key), _plain(each)] for key, each in value.items()]}
        case frozenset():
            return {_SET: sorted(value)}
        case tuple() | list():
            return [_plain(each) for each in value]
    return value


def _fields(value: Any) -> tuple[str, ...] | None:
    """The names of its fields. None: it is no value of ours."""
    if isinstance(value, Target):
        return ("provider", "model")
    if isinstance(value, Kind):
        return ("value",)
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    names = tuple(each.name for each in fields(value)) if is_dataclass(value) else getattr(value, "_fields", None)
    left_out = _LEFT_OUT.get(type(value))
    return tuple(name for name in names if name not in left_out) if names and left_out else names


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_revived, value))
    if not isinstance(value, dict):
        return value
    if _MAP in value:
        return {_revived(key): _revived(each) for key, each in value[_MAP]}
    if _SET in value:
        return frozenset(value[_SET])
    kind = value.pop(_TYPE)
    made = {name: _revived(each) for name, each in value.items()}
    return _KNOWN[kind](**made)
