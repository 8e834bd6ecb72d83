"""What Gemini's models take in ways of their own, by their generation, and how they are told to think."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trunkline.v1.gateway_service_pb2 import Thinking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.dialects.notes import Notes

_GENERATION = re.compile(r"gemini-([0-9]+)")

# Gemini 3 and later: https://ai.google.dev/gemini-api/docs/thinking
LEVELS: Mapping[Thinking.Effort.ValueType, str] = {
    Thinking.EFFORT_NONE: "MINIMAL",
    Thinking.EFFORT_MINIMAL: "MINIMAL",
    Thinking.EFFORT_LOW: "LOW",
    Thinking.EFFORT_MEDIUM: "MEDIUM",
    Thinking.EFFORT_HIGH: "HIGH",
    Thinking.EFFORT_MAX: "HIGH",
}
# Gemini 2.5, in tokens: https://ai.google.dev/gemini-api/docs/openai#thinking, with the least and the most that the
# models take.
BUDGETS: Mapping[Thinking.Effort.ValueType, int] = {
    Thinking.EFFORT_NONE: 0,
    Thinking.EFFORT_MINIMAL: 512,
    Thinking.EFFORT_LOW: 1024,
    Thinking.EFFORT_MEDIUM: 8192,
    Thinking.EFFORT_HIGH: 24576,
    Thinking.EFFORT_MAX: 24576,
}
_LEAST_OF_PRO, _MOST_OF_PRO = 128, 32768
_VISIBLE = {Thinking.VISIBILITY_OMITTED: False, Thinking.VISIBILITY_SUMMARY: True, Thinking.VISIBILITY_FULL: True}


def is_gemini_3(model: str) -> bool:
    """Whether `model` is of the third generation or later, as far as its name says: "-latest" is."""
    generation = _GENERATION.search(model)
    return int(generation[1]) >= 3 if generation else model.endswith("-latest")


def thinking_config(thinking: Thinking, model: str, notes: Notes) -> dict[str, Any]:
    """generationConfig.thinkingConfig. Empty = nothing is asked for.

    Gemini 3 thinks by levels and 2.5 by tokens; where both are given, the model's own way is taken. A budget alone is
    sent to all: Gemini 3 takes it, too. A model whose name does not tell is taken for an old one.
    """
    config: dict[str, Any] = {}
    by_level = is_gemini_3(model)
    if thinking.effort and (by_level or not thinking.HasField("budget_tokens")):
        config |= _level(thinking.effort, model, notes) if by_level else _budget(thinking.effort, model, notes)
    elif thinking.HasField("budget_tokens"):
        config["thinkingBudget"] = thinking.budget_tokens
    if thinking.visibility in _VISIBLE:
        config["includeThoughts"] = _VISIBLE[thinking.visibility]
    return config


def _level(effort: Thinking.Effort.ValueType, model: str, notes: Notes) -> dict[str, Any]:
    level = LEVELS[effort]
    if level == "MINIMAL" and "-pro" in model:
        level = "LOW"
    if effort == Thinking.EFFORT_NONE or (effort == Thinking.EFFORT_MINIMAL and level != "MINIMAL"):
        notes.changed("config.thinking.effort", f"this model always thinks: {level}, its lowest level, is sent")
    return {"thinkingLevel": level}


def _budget(effort: Thinking.Effort.ValueType, model: str, notes: Notes) -> dict[str, Any]:
    budget = BUDGETS[effort]
    if "-pro" in model:
        if effort == Thinking.EFFORT_NONE:
            budget = _LEAST_OF_PRO
            notes.changed("config.thinking.effort", f"this model always thinks: {budget} tokens, its least, is sent")
        if effort == Thinking.EFFORT_MAX:
            budget = _MOST_OF_PRO
    return {"thinkingBudget": budget}
