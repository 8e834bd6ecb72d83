"""The conversation as the Messages API has it: system text at the head, then turns of users and of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, Message, Role
from trunkline_server.dialects.anthropic_messages.blocks import encode_part
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.content_pb2 import Part
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.anthropic_messages.models import Facts
    from trunkline_server.dialects.anthropic_messages.notes import Notes

JsonObject = dict[str, Any]


class _Said(NamedTuple):
    """A message in the API's words."""

    # Its index in the request.
    place: int
    role: Role.ValueType
    blocks: list[JsonObject]


@dataclass(slots=True)
class Conversation:
    """The request's `system` and `messages`."""

    system: list[JsonObject] = field(default_factory=list)
    turns: list[JsonObject] = field(default_factory=list)

    def expects_thinking(self) -> bool:
        """Whether a tool's result comes last, after a turn of the model that does not begin with its thoughts.

        The API refuses a thinking budget then: such a turn was made without, or by another provider.
        """
        turns = [turn for turn in self.turns if turn["role"] != "system"]
        if len(turns) < 2 or not _begins_with(turns[-1], "tool_result"):
            return False
        return not _begins_with(turns[-2], "thinking", "redacted_thinking")


def _begins_with(turn: JsonObject, *kinds: str) -> bool:
    """Whether its first block is of one of the kinds. A provider's own block has its type as raw JSON: it is none."""
    return any(turn["content"][0]["type"] == kind for kind in kinds)


def encode_conversation(request: GenerateRequest, facts: Facts, notes: Notes) -> Conversation:
    """The conversation of `request`. Raises InvalidRequest where nothing is said in it at all.

    Messages of users and of tools that follow each other are one turn, and so are those of the model.
    """
    talk = Conversation()
    if request.system_instruction.strip():
        talk.system.append({"type": "text", "text": request.system_instruction})
    said = [_said(index, message, notes) for index, message in enumerate(request.messages)]
    for from_model, run in groupby((each for each in said if each.blocks), lambda each: each.role == ROLE_ASSISTANT):
        if from_model:
            _add_turn(talk, "assistant", run)
        else:
            _add_run(talk, list(run), facts, notes)
    _finish(talk, notes)
    return talk


def _said(index: int, message: Message, notes: Notes) -> _Said:
    if message.name:
        notes.dropped(f"messages[{index}].name", "speakers have no names here: write it into the text")
    blocks = (
        _block(part, message, f"messages[{index}].parts[{place}]", notes) for place, part in enumerate(message.parts)
    )
    return _Said(index, message.role, [block for block in blocks if block is not None])


def _block(part: Part, message: Message, path: str, notes: Notes) -> JsonObject | None:
    if message.role == ROLE_SYSTEM and not part.HasField("text"):
        notes.lost(path, "a system message is made of text here")
        return None
    if message.role == ROLE_ASSISTANT and part.HasField("media"):
        notes.lost(f"{path}.media", "the provider takes media from users only")
        return None
    return encode_part(part, path, notes)


def _add_run(talk: Conversation, run: list[_Said], facts: Facts, notes: Notes) -> None:
    """Add messages of users, tools and the system that follow each other.

    The API takes system messages at the head, or right after a user's turn.
    """
    if not talk.turns:
        head = list(takewhile(lambda each: each.role == ROLE_SYSTEM, run))
        talk.system += _blocks(head)
        run = run[len(head) :]
    from_system = [each for each in run if each.role == ROLE_SYSTEM]
    from_users = [each for each in run if each.role != ROLE_SYSTEM]
    # Results of tools come first, for they answer the turn before.
    _add_turn(talk, "user", sorted(from_users, key=lambda each: each.role != ROLE_TOOL))
    if from_users and facts.system_inside:
        _add_turn(talk, "system", from_system)
        return
    talk.system += _blocks(from_system)
    for each in from_system:
        notes.changed(f"messages[{each.place}]", "the provider takes no system message here: it is sent at the head")


def _add_turn(talk: Conversation, role: str, run: Iterable[_Said]) -> None:
    content = _blocks(run)
    if content and talk.turns and talk.turns[-1]["role"] == role:
        talk.turns[-1]["content"] += content
    elif content:
        talk.turns.append({"role": role, "content": content})


def _blocks(run: Iterable[_Said]) -> list[JsonObject]:
    return [block for each in run for block in each.blocks]


def _finish(talk: Conversation, notes: Notes) -> None:
    if not talk.turns and talk.system:
        notes.changed("messages", "there is none of a user, which the provider demands: the system's are sent as one")
        talk.system, talk.turns = [], [{"role": "user", "content": talk.system}]
    if not talk.turns:
        raise InvalidRequest([Violation("messages", "have nothing that this provider takes: send a text")])
    _trim_end(talk.turns[-1], notes)


def _trim_end(last: JsonObject, notes: Notes) -> None:
    """Where the model is to go on with its own words, the API refuses white space at their end."""
    block = last["content"][-1]
    if last["role"] != "assistant" or block["type"] != "text" or block["text"] == block["text"].rstrip():
        return
    block["text"] = block["text"].rstrip()
    notes.changed("messages", "the last ends in white space, which the provider refuses: sent without")
