"""The conversation as Bedrock's Converse API has it: system text at the head, then turns of users and of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, Message
from trunkline_server.dialects.bedrock_converse.blocks import BlockEncoder
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.bedrock_converse.models import Model
    from trunkline_server.dialects.bedrock_converse.notes import Notes

# The API refuses a document without a text beside it.
BESIDE_DOCUMENT = "The document is attached."

JsonObject = dict[str, Any]
# A message and its place in the request.
_Placed = tuple[int, Message]


@dataclass(slots=True)
class Conversation:
    """The request's `system` and `messages`."""

    system: list[JsonObject] = field(default_factory=list)
    turns: list[JsonObject] = field(default_factory=list)

    def expects_thinking(self) -> bool:
        """Whether a tool's result comes last, after a turn of the model that does not begin with its thoughts.

        Claude refuses a thinking budget then: such a turn was made without, or by another provider.
        """
        if len(self.turns) < 2 or "toolResult" not in self.turns[-1]["content"][0]:
            return False
        return "reasoningContent" not in self.turns[-2]["content"][0]


def encode_conversation(request: GenerateRequest, model: Model, notes: Notes) -> Conversation:
    """The conversation of `request`. Raises InvalidRequest where nothing is said in it at all.

    Messages of users and of tools that follow each other are one turn, and so are those of the model.
    """
    return _Encoder(model, notes).encode(request)


class _Encoder:
    def __init__(self, model: Model, notes: Notes) -> None:
        self._model = model
        self._notes = notes
        self._blocks = BlockEncoder(model, notes)
        self._talk = Conversation()

    def encode(self, request: GenerateRequest) -> Conversation:
        if request.system_instruction.strip():
            self._talk.system.append({"text": request.system_instruction})
        for index, message in enumerate(request.messages):
            if message.name:
                self._notes.dropped(f"messages[{index}].name", "speakers have no names here: write it into the text")
        placed = enumerate(request.messages)
        for from_model, run in groupby(placed, lambda each: each[1].role == ROLE_ASSISTANT):
            if from_model:
                self._add_model_turn(list(run))
            else:
                self._add_user_turn(list(run))
        self._finish()
        return self._talk

    def _add_model_turn(self, run: list[_Placed]) -> None:
        content = [block for blocks in self._parts(run) for block in blocks]
        if content and all("reasoningContent" in block for block in content):
            self._notes.lost(f"messages[{run[0][0]}]", "the provider refuses a turn of nothing but reasoning")
        else:
            self._add_turn("assistant", content)

    def _add_user_turn(self, run: list[_Placed]) -> None:
        """Add messages of users, tools and the system that follow each other; the system's go to the head."""
        at_head = not self._talk.turns
        for index, message in run:
            at_head = at_head and message.role == ROLE_SYSTEM
            if message.role == ROLE_SYSTEM:
                self._add_system(index, message)
                if not at_head:
                    self._notes.changed(
                        f"messages[{index}]", "the provider takes no system message here: it is sent at the head"
                    )
        said = [*self._parts(placed for placed in run if placed[1].role != ROLE_SYSTEM)]
        # Results of tools come first, for they answer the turn before.
        said.sort(key=lambda blocks: not blocks or "toolResult" not in blocks[0])
        content = [block for blocks in said for block in blocks]
        if any("document" in block for block in content) and not any("text" in block for block in content):
            content.insert(0, {"text": BESIDE_DOCUMENT})
            where = f"messages[{run[0][0]}]"
            self._notes.changed(
                where, "the provider takes no document without a text: one is added that says it is there"
            )
        self._add_turn("user", content)

    def _add_turn(self, role: str, content: list[JsonObject]) -> None:
        if not content:
            return
        if self._talk.turns and self._talk.turns[-1]["role"] == role:
            self._talk.turns[-1]["content"] += content
        else:
            self._talk.turns.append({"role": role, "content": content})

    def _add_system(self, index: int, message: Message) -> None:
        for place, part in enumerate(message.parts):
            path = f"messages[{index}].parts[{place}]"
            if part.HasField("text"):
                self._talk.system += self._blocks.encode(part, path)
            else:
                self._notes.lost(path, "a system message is made of text here")

    def _parts(self, run: Iterable[_Placed]) -> Iterable[list[JsonObject]]:
        """The blocks of each part."""
        for index, message in run:
            for place, part in enumerate(message.parts):
                path = f"messages[{index}].parts[{place}]"
                if part.HasField("media") and message.role == ROLE_ASSISTANT:
                    self._notes.lost(f"{path}.media", "the provider takes media from users only")
                else:
                    yield self._blocks.encode(part, path)

    def _finish(self) -> None:
        talk = self._talk
        if not talk.turns and talk.system:
            self._notes.changed(
                "messages", "there is none of a user, which the provider demands: the system's are sent as one"
            )
            talk.system, talk.turns = [], [{"role": "user", "content": talk.system}]
        if not talk.turns:
            raise InvalidRequest([Violation("messages", "have nothing that this provider takes: send a text")])
        if self._model.claude:
            self._trim_end(talk.turns[-1])

    def _trim_end(self, last: JsonObject) -> None:
        """Where the model is to go on with its own words, Claude refuses white space at their end."""
        text = last["content"][-1].get("text", "")
        if last["role"] == "assistant" and text != text.rstrip():
            last["content"][-1] = {"text": text.rstrip()}
            self._notes.changed("messages", "the last ends in white space, which the provider refuses: sent without")
