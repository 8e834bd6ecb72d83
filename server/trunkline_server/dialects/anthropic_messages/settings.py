"""How to generate, in the Messages API's words: length, sampling, stop sequences, thinking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trunkline.v1.gateway_service_pb2 import Thinking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerationConfig
    from trunkline_server.dialects.anthropic_messages.models import Facts
    from trunkline_server.dialects.anthropic_messages.notes import Notes
    from trunkline_server.dialects.dialect import Quirks

# The API's least thinking budget.
MIN_BUDGET = 1024
# What each effort means to a model that counts its thoughts.
BUDGETS = {
    Thinking.EFFORT_MINIMAL: MIN_BUDGET,
    Thinking.EFFORT_LOW: 2048,
    Thinking.EFFORT_MEDIUM: 8192,
    Thinking.EFFORT_HIGH: 16384,
    Thinking.EFFORT_MAX: 32000,
}
EFFORTS = {
    Thinking.EFFORT_MINIMAL: "low",
    Thinking.EFFORT_LOW: "low",
    Thinking.EFFORT_MEDIUM: "medium",
    Thinking.EFFORT_HIGH: "high",
    Thinking.EFFORT_MAX: "max",
}
# Beside its thoughts a model needs room for its answer.
_ROOM = 8192
SAMPLERS: tuple[Literal["temperature", "top_p", "top_k"], ...] = ("temperature", "top_p", "top_k")
_DEFAULTS = {"temperature": 1, "top_p": 1}
# With thinking, the least top_p that the API takes.
_LEAST_TOP_P = 0.95
UNKNOWN: tuple[Literal["presence_penalty", "frequency_penalty", "seed", "top_logprobs"], ...] = (
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "top_logprobs",
)

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Situation:
    """What else of the request decides on thinking."""

    # A tool must be called.
    forced_tool: bool
    # A turn of tool use is going on that began without thoughts.
    midway: bool


def encode_settings(
    config: GenerationConfig, situation: Situation, facts: Facts, quirks: Quirks, notes: Notes
) -> JsonObject:
    """max_tokens, sampling, stop_sequences, `thinking` and `effort`; the last is a member of output_config."""
    thinking = _Thinking(config, situation, facts, notes).encode()
    settings: JsonObject = {"max_tokens": _max_tokens(config, thinking, facts)} | thinking
    settings |= _sampling(config, _thinks(thinking), facts, notes)
    if stops := [*_stop_sequences(config, notes)]:
        settings["stop_sequences"] = stops
    for name in UNKNOWN:
        if config.HasField(name):
            _unknown(name, notes)
    for unsupported in sorted(quirks.unsupported & settings.keys()):
        del settings[unsupported]
        _unknown(unsupported, notes)
    return settings


def _unknown(name: str, notes: Notes) -> None:
    notes.dropped(f"config.{name}", f"the provider does not know {name}: unset it, or choose another one")


def _max_tokens(config: GenerationConfig, thinking: JsonObject, facts: Facts) -> int:
    if config.HasField("max_output_tokens"):
        return config.max_output_tokens
    budget: int = thinking.get("thinking", {}).get("budget_tokens", 0)
    return max(facts.max_tokens, budget + _ROOM) if budget else facts.max_tokens


def _thinks(thinking: JsonObject) -> bool:
    return thinking.get("thinking", {}).get("type") in {"enabled", "adaptive"}


def _sampling(config: GenerationConfig, thinks: bool, facts: Facts, notes: Notes) -> JsonObject:
    """temperature, top_p and top_k, as far as the model takes them.

    Where it takes none it has their defaults: asking for those leaves nothing to warn of.
    """
    wanted = {name: getattr(config, name) for name in SAMPLERS if config.HasField(name)}
    if facts.sampling and wanted.get("temperature", 0) > 1:
        wanted["temperature"] = 1.0
        notes.changed("config.temperature", "the provider takes at most 1: 1 is sent")
    if facts.sampling and facts.one_sampler and len(wanted.keys() & _DEFAULTS.keys()) == 2:
        _keep_one(wanted, notes)
    sent: JsonObject = {}
    for name, value in wanted.items():
        if why := _why_not(name, value, thinks, facts):
            notes.dropped(f"config.{name}", why)
        elif facts.sampling:
            sent[name] = value
    return sent


def _keep_one(wanted: dict[Any, float], notes: Notes) -> None:
    """Of temperature and top_p, leave out the one that says nothing; else top_p."""
    default = next((name for name, value in _DEFAULTS.items() if wanted[name] == value), None)
    del wanted[default or "top_p"]
    if default is None:
        notes.dropped("config.top_p", "the model takes temperature or top_p, not both: unset one of them")


def _why_not(name: str, value: float, thinks: bool, facts: Facts) -> str:
    if _DEFAULTS.get(name) == value:
        return ""
    if not facts.sampling:
        return f"the model has no {name}: unset it, or choose another one"
    if thinks and (name != "top_p" or value < _LEAST_TOP_P):
        return f"the provider takes no {name} from a model that thinks: unset it, or config.thinking"
    return ""


def _stop_sequences(config: GenerationConfig, notes: Notes) -> Iterator[str]:
    for index, stop in enumerate(config.stop_sequences):
        if stop.strip():
            yield stop
        else:
            notes.dropped(f"config.stop_sequences[{index}]", "the provider takes none of nothing but white space")


class _Thinking:
    """Decides on `thinking` and `effort`."""

    def __init__(self, config: GenerationConfig, situation: Situation, facts: Facts, notes: Notes) -> None:
        self._config = config
        self._wanted = config.thinking
        self._situation = situation
        self._facts = facts
        self._notes = notes

    def encode(self) -> JsonObject:
        """`thinking` and `effort`, as far as they are sent."""
        effort, budget = self._wanted.effort, self._wanted.budget_tokens
        if effort == Thinking.EFFORT_NONE or (not effort and self._wanted.HasField("budget_tokens") and not budget):
            return self._off()
        if not effort and not budget:
            shown = self._display()
            return {"thinking": {"type": "adaptive"} | shown} if shown and self._facts.thinks_unasked else {}
        if self._facts.adaptive and (effort or not self._facts.budgets):
            return self._adaptive()
        if self._facts.budgets:
            return self._enabled()
        self._notes.dropped("config.thinking", "the model does not think: unset it, or choose another one")
        return {}

    def _off(self) -> JsonObject:
        if not self._facts.budgets and not self._facts.adaptive:
            return {}
        if self._facts.off:
            return {"thinking": {"type": self._facts.off}}
        self._notes.changed("config.thinking.effort", "the model always thinks: the least effort is sent")
        return {"effort": self._facts.efforts[0]}

    def _adaptive(self) -> JsonObject:
        return {"thinking": {"type": "adaptive"} | self._display(), "effort": self._effort()}

    def _effort(self) -> str:
        if self._wanted.effort:
            return EFFORTS[self._wanted.effort]
        budget = self._wanted.budget_tokens
        effort = next(
            EFFORTS[level] for level, most in BUDGETS.items() if budget <= most or level == Thinking.EFFORT_MAX
        )
        self._notes.changed("config.thinking.budget_tokens", f"the model has efforts instead: {effort} is sent")
        return effort

    def _enabled(self) -> JsonObject:
        if why := self._why_no_budget():
            self._notes.dropped("config.thinking", why)
            return {}
        return {"thinking": {"type": "enabled", "budget_tokens": self._budget()} | self._display()}

    def _why_no_budget(self) -> str:
        config = self._config
        if self._situation.forced_tool:
            return "a model that must call a tool cannot think: let tool_choice.mode be AUTO"
        if self._situation.midway:
            return "this turn of tool use began without signed reasoning"
        if config.HasField("max_output_tokens") and config.max_output_tokens <= MIN_BUDGET:
            return f"thinking takes {MIN_BUDGET} tokens at least: raise config.max_output_tokens"
        return ""

    def _budget(self) -> int:
        """At least what the API asks for, and less than max_tokens."""
        asked = self._wanted.HasField("budget_tokens")
        wanted = self._wanted.budget_tokens if asked else BUDGETS[self._wanted.effort]
        sent = max(wanted, MIN_BUDGET)
        most = self._config.max_output_tokens if self._config.HasField("max_output_tokens") else None
        if most is not None and sent >= most:
            sent = max(most // 2, MIN_BUDGET)
        if asked and sent != wanted:
            what = f"must be at least {MIN_BUDGET} and below max_output_tokens: {sent} is sent"
            self._notes.changed("config.thinking.budget_tokens", what)
        return sent

    def _display(self) -> JsonObject:
        match self._wanted.visibility:
            case Thinking.VISIBILITY_OMITTED:
                return {"display": "omitted"}
            case Thinking.VISIBILITY_SUMMARY | Thinking.VISIBILITY_FULL if self._facts.hides_thoughts:
                return {"display": "summarized"}
        return {}
