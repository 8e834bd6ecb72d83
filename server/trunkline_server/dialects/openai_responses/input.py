"""The conversation as the Responses API's `input`: items, in the order in which they were said."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Role
from trunkline_server.dialects.openai_responses.citations import encode_annotations
from trunkline_server.dialects.openai_responses.content import (
    encode_content,
    encode_provider_part,
    encode_tool_output,
    leave_out_breakpoint,
    leave_out_state,
    read_object,
    said_plainly,
)
from trunkline_server.dialects.openai_responses.wire import ITEM, REASONING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msgspec import Raw

    from trunkline.v1.content_pb2 import Message, Part
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.notes import Notes
    from trunkline_server.dialects.openai_responses.models import Facts

ROLES: Mapping[Role.ValueType, str] = {ROLE_SYSTEM: "system", ROLE_USER: "user", ROLE_ASSISTANT: "assistant"}
# What is said of an item in any case.
_SAID = frozenset({"type", "role", "content", "call_id", "name", "arguments"})
# The names of content begin so, those of items do not.
_CONTENT = ("input_", "output_")

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one part is in the API's words: an item, or content of a message."""

    json: JsonObject
    path: str
    is_content: bool = False
    # Of content: what the message says beside it.
    more: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Said:
    """An item of the input."""

    item: JsonObject
    path: str
    by_model: bool

    @property
    def is_reasoning(self) -> bool:
        return self.item.get("type") == "reasoning"


def encode_input(request: GenerateRequest, facts: Facts, *, stored: bool, notes: Notes) -> list[JsonObject]:
    """All messages of `request`. `stored`: the provider keeps its answers, so that an id is enough to name them."""
    encoder = _Encoder(facts, stored, notes)
    said: list[_Said] = []
    for index, message in enumerate(request.messages):
        said += encoder.message(message, f"messages[{index}]")
    return [*_without_loose_reasoning(said, notes)][::-1]


def _without_loose_reasoning(said: list[_Said], notes: Notes) -> Iterator[JsonObject]:
    """The items, last first, without reasoning that nothing of the model's follows: the API refuses that."""
    followed = False
    for each in reversed(said):
        if each.is_reasoning and not followed:
            notes.lost(each.path, "the provider takes back no reasoning that led to nothing")
            continue
        followed = each.by_model
        yield each.item


class _Encoder:
    """Turns messages into items."""

    def __init__(self, facts: Facts, stored: bool, notes: Notes) -> None:
        self._facts = facts
        self._stored = stored
        self._notes = notes

    def message(self, message: Message, path: str) -> Iterator[_Said]:
        """The items of one message. Contents that follow each other are one item, if the API said the same of them."""
        if message.name:
            self._notes.dropped(f"{path}.name", "speakers have no names here: write it into the text")
        by_model = message.role == ROLE_ASSISTANT
        pieces = (
            piece
            for index, part in enumerate(message.parts)
            if (piece := self._piece(part, message.role, f"{path}.parts[{index}]")) is not None
        )
        for is_content, run in groupby(pieces, lambda piece: piece.is_content and (piece.more,)):
            if is_content:
                contents = [*run]
                yield from (_Said(item, contents[0].path, by_model) for item in _messages(message.role, contents))
            else:
                yield from (_Said(piece.json, piece.path, by_model) for piece in run)

    def _piece(self, part: Part, role: Role.ValueType, path: str) -> _Piece | None:
        if part.HasField("provider_part"):
            return self._provider_part(part, path)
        if role == ROLE_TOOL:
            return _Piece(self._tool_result(part, path), path)
        if role == ROLE_ASSISTANT:
            return self._of_model(part, path)
        content = encode_content(part, path, self._facts, self._notes)
        return None if content is None else _Piece(content, path, is_content=True)

    def _provider_part(self, part: Part, path: str) -> _Piece | None:
        leave_out_state(part, path, self._notes)
        leave_out_breakpoint(part, path, self._notes)
        encoded = encode_provider_part(part.provider_part, f"{path}.provider_part", self._notes)
        if encoded is None:
            return None
        return _Piece(encoded, path, is_content=part.provider_part.type.startswith(_CONTENT))

    def _tool_result(self, part: Part, path: str) -> JsonObject:
        leave_out_state(part, path, self._notes)
        leave_out_breakpoint(part, path, self._notes)
        result, where = part.tool_result, f"{path}.tool_result"
        if result.is_error:
            self._notes.dropped(
                f"{where}.is_error", "the provider has no word for it: say in the result that it failed"
            )
        output = encode_tool_output(result.parts, f"{where}.parts", self._facts, self._notes)
        return {"type": "function_call_output", "call_id": result.tool_call_id, "output": output}

    def _of_model(self, part: Part, path: str) -> _Piece | None:
        leave_out_breakpoint(part, path, self._notes)
        if part.citations and not part.HasField("text"):
            self._notes.lost(f"{path}.citations", "only texts have citations here")
        match part.WhichOneof("data"):
            case "reasoning":
                reasoning = self._reasoning(part, path)
                return None if reasoning is None else _Piece(reasoning, path)
            case "tool_call":
                return _Piece(_function_call(part) | self._more(part, path), path)
            case "media":
                leave_out_state(part, path, self._notes)
                self._notes.lost(f"{path}.media", "the provider takes media from users and tools only")
                return None
        more = self._more(part, path)
        content = self._words(part, path)
        return _Piece(content, path, is_content=True, more=more) if part.text or part.refusal else None

    def _words(self, part: Part, path: str) -> JsonObject:
        if part.HasField("refusal"):
            return {"type": "refusal", "refusal": part.refusal}
        annotations = encode_annotations(part.citations, f"{path}.citations", self._notes)
        return {"type": "output_text", "text": part.text, "annotations": annotations}

    def _more(self, part: Part, path: str) -> JsonObject:
        """What else the API said of the item that the part comes from."""
        members = read_object(part.provider_state.data) if part.provider_state.format == ITEM else None
        if members is None:
            leave_out_state(part, path, self._notes)
            return {}
        return {key: value for key, value in members.items() if key not in _SAID}

    def _reasoning(self, part: Part, path: str) -> JsonObject | None:
        """A reasoning item as the API gave it.

        An id that stands for what the provider has not stored is refused, and so is left out where nothing else does:
        where the reasoning itself is there neither encrypted nor in plain text.
        """
        item = read_object(part.provider_state.data) if part.provider_state.format == REASONING else None
        if item is None:
            self._notes.lost(f"{path}.reasoning", "the provider takes back only its own, by its provider_state")
            return None
        if not self._facts.thinks:
            self._notes.lost(f"{path}.reasoning", "the model does not think, and takes no reasoning of another one")
            return None
        whole: JsonObject = {"summary": []} | dict(item) | {"type": "reasoning"}
        if self._stored or not _is_empty(item.get("encrypted_content")) or not _is_empty(item.get("content")):
            return whole
        if _is_empty(item.get("summary")):
            self._notes.lost(f"{path}.reasoning", "the provider gave nothing of it that could be sent back")
            return None
        whole.pop("id", None)
        return whole


def _is_empty(json: Raw | None) -> bool:
    """Whether it is absent, an empty list or an empty string."""
    return json is None or not bytes(json).strip(b'[]" \t\r\n')


def _function_call(part: Part) -> JsonObject:
    call = part.tool_call
    return {
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments_json or "{}",
    }


def _messages(role: Role.ValueType, pieces: list[_Piece]) -> Iterator[JsonObject]:
    content, more = [piece.json for piece in pieces], pieces[0].more
    if role != ROLE_ASSISTANT:
        yield {"role": ROLES[role], "content": said_plainly(content)}
    elif more.keys() <= {"phase"} and all(each.get("annotations") == [] for each in content):
        # The one form of the model's words that every host takes: vLLM wants ids of lists, llama.cpp wants the type.
        yield from ({"type": "message", "role": "assistant", "content": each["text"]} | more for each in content)
    else:
        yield {"type": "message", "role": "assistant", "status": "completed"} | more | {"content": content}
