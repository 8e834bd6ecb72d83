"""The conversation as Cohere's chat API has it: messages, and the documents that answers may cite."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Media, Message, Role
from trunkline_server.dialects.function_tools import NO_CACHE
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.content_pb2 import Part, ProviderPart, ToolCall, ToolResult
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.notes import Notes

DIALECT = "cohere_chat"
# State of a reasoning part that is the model's plan for the tools it calls. The data is the plan.
TOOL_PLAN = "cohere.tool_plan"
# State of a citation that this provider gave: its source, as far as it says no more than what it is.
CITATION = "cohere.citation"
ROLES: Mapping[Role.ValueType, str] = {ROLE_SYSTEM: "system", ROLE_USER: "user", ROLE_ASSISTANT: "assistant"}
DETAILS: Mapping[Media.Detail.ValueType, str] = {Media.DETAIL_LOW: "low", Media.DETAIL_HIGH: "high"}
JSON_TYPE = "application/json"
# Types beside text/* whose bytes are text.
TEXT_TYPES = frozenset({JSON_TYPE, "application/xml", "application/yaml", "application/x-yaml"})
_OBJECT = Decoder(dict[str, Raw])

JsonObject = dict[str, Any]


def encode_conversation(request: GenerateRequest, notes: Notes) -> JsonObject:
    """`messages` and `documents`. Raises InvalidRequest where nothing is said at all.

    Documents of users become `documents`, numbered doc:0, doc:1, ... in their order; answers cite them by these ids.
    """
    talk = _Conversation(notes)
    if request.system_instruction:
        talk.messages.append({"role": "system", "content": request.system_instruction})
    for index, message in enumerate(request.messages):
        talk.add(message, f"messages[{index}]")
    if not talk.messages:
        raise InvalidRequest([Violation("messages", "have nothing that this provider takes: send a text")])
    documents = {"documents": talk.documents} if talk.documents else {}
    return {"messages": talk.messages} | documents


class _Conversation:
    def __init__(self, notes: Notes) -> None:
        self.messages: list[JsonObject] = []
        self.documents: list[JsonObject] = []
        self._notes = notes

    def add(self, message: Message, path: str) -> None:
        """Add a message; one that says nothing is left out."""
        if message.name:
            self._notes.dropped(f"{path}.name", "speakers have no names here: write it into the text")
        parts = [(part, f"{path}.parts[{place}]") for place, part in enumerate(message.parts)]
        for part, where in parts:
            self._note_extras(part, where)
        if message.role == ROLE_TOOL:
            self.messages += [self._tool_result(part.tool_result, f"{where}.tool_result") for part, where in parts]
        elif said := self._said(message.role, parts):
            self.messages.append({"role": ROLES[message.role]} | said)

    def _note_extras(self, part: Part, path: str) -> None:
        # Reasoning stands or falls with its state.
        if part.HasField("provider_state") and not part.HasField("reasoning"):
            state = part.provider_state.format
            self._notes.lost(f"{path}.provider_state", f"{state} is not of this provider, or not of this part")
        if part.HasField("cache_breakpoint"):
            self._notes.dropped(f"{path}.cache_breakpoint", NO_CACHE)

    def _said(self, role: Role.ValueType, parts: list[tuple[Part, str]]) -> JsonObject:
        said: JsonObject = {}
        plan = "\n".join(part.provider_state.data or part.reasoning.text for part, _ in parts if _is_plan(part))
        if plan:
            said["tool_plan"] = plan
        items: list[JsonObject | Raw] = []
        citations: list[JsonObject] = []
        for part, where in parts:
            citations += self._citations(part, where, len(items))
            items += self._content(role, part, where)
        if items:
            said["content"] = _shortest(items)
        if citations:
            said["citations"] = citations
        if calls := [_tool_call(part.tool_call) for part, _ in parts if part.HasField("tool_call")]:
            said["tool_calls"] = calls
        return said

    def _citations(self, part: Part, path: str, content_index: int) -> Iterator[JsonObject]:
        """Those that the provider itself gave. `content_index` is where the part will stand."""
        for place, citation in enumerate(part.citations):
            state = _members(citation.provider_state.data) if citation.provider_state.format == CITATION else None
            if state is None:
                self._notes.lost(
                    f"{path}.citations[{place}]", "only citations that this provider gave can be sent to it"
                )
                continue
            source = [{"id": citation.source_id} | state] if citation.source_id else []
            yield {
                "start": citation.start_index,
                "end": citation.end_index,
                "text": citation.cited_text,
                "sources": source,
                "type": "PLAN"
                if _is_plan(part)
                else "THINKING_CONTENT"
                if part.HasField("reasoning")
                else "TEXT_CONTENT",
                "content_index": content_index,
            }

    def _content(self, role: Role.ValueType, part: Part, path: str) -> Iterator[JsonObject | Raw]:
        match part.WhichOneof("data"):
            case "text" | "refusal" if text := part.text or part.refusal:
                yield {"type": "text", "text": text}
            case "reasoning" if not _is_plan(part):
                yield from self._thinking(part, path)
            case "provider_part":
                yield from self._provider_part(part.provider_part, f"{path}.provider_part")
            case "media" if role == ROLE_USER:
                yield from self._media(part.media, f"{path}.media")
            case "media":
                self._notes.lost(f"{path}.media", "the provider takes media from users only")

    def _thinking(self, part: Part, path: str) -> Iterator[JsonObject]:
        if part.HasField("provider_state") or part.reasoning.redacted:
            self._notes.lost(
                f"{path}.reasoning", f"it is another provider's: {part.provider_state.format or 'redacted'}"
            )
        elif part.reasoning.text:
            yield {"type": "thinking", "thinking": part.reasoning.text}

    def _provider_part(self, part: ProviderPart, path: str) -> Iterator[Raw]:
        if part.dialect != DIALECT:
            self._notes.lost(path, f"only {part.dialect or 'another dialect'} understands it")
        elif _members(part.json) is None:
            self._notes.lost(f"{path}.json", "it is not a JSON object: its answer may have been cut off")
        else:
            yield Raw(part.json.encode())

    def _media(self, media: Media, path: str) -> Iterator[JsonObject]:
        if _is_image(media):
            if media.name:
                self._notes.dropped(f"{path}.name", "an image has no name here: unset it")
            yield {"type": "image_url", "image_url": _image(media)}
        elif data := self._document(media, path):
            self.documents.append({"id": f"doc:{len(self.documents)}", "data": data})

    def _document(self, media: Media, path: str) -> JsonObject | None:
        text = _text(media)
        if text is None:
            self._notes.lost(path, "the provider takes images, and documents that are text: send its text instead")
            return None
        if media.detail:
            self._notes.dropped(f"{path}.detail", "a document has no such setting: unset it")
        title = {"title": media.name} if media.name else {}
        members = _members(text) if _mime(media) == JSON_TYPE else None
        # A JSON object's members are the document's fields.
        return title | (members if members is not None else {"text": text})

    def _tool_result(self, result: ToolResult, path: str) -> JsonObject:
        if result.is_error:
            self._notes.dropped(f"{path}.is_error", "results are not marked as errors here: say it in the text")
        items = [
            item for place, part in enumerate(result.parts) for item in self._piece(part, f"{path}.parts[{place}]")
        ]
        return {"role": "tool", "tool_call_id": result.tool_call_id, "content": _shortest(items) if items else ""}

    def _piece(self, part: Part, path: str) -> Iterator[JsonObject]:
        self._note_extras(part, path)
        if part.HasField("text"):
            yield {"type": "text", "text": part.text}
        elif data := self._document(part.media, f"{path}.media"):
            yield {"type": "document", "document": {"data": data}}


def _is_plan(part: Part) -> bool:
    return part.HasField("reasoning") and part.provider_state.format == TOOL_PLAN


def _shortest(items: list[Any]) -> str | list[Any]:
    """One text as a string, anything else as a list."""
    if len(items) == 1 and isinstance(items[0], dict) and items[0]["type"] == "text":
        text: str = items[0]["text"]
        return text
    return items


def _tool_call(call: ToolCall) -> JsonObject:
    function = {"name": call.name, "arguments": call.arguments_json or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _mime(media: Media) -> str:
    return media.mime_type.lower().partition(";")[0].strip()


def _is_image(media: Media) -> bool:
    """Whether it is one that can be sent; an address of no type is taken for one."""
    if media.HasField("provider_file_id"):
        return False
    return _mime(media).startswith("image/") or (media.HasField("uri") and not media.mime_type)


def _image(media: Media) -> JsonObject:
    url = media.uri or f"data:{_mime(media)};base64,{b64encode(media.data).decode()}"
    detail = {"detail": DETAILS[media.detail]} if media.detail in DETAILS else {}
    return {"url": url} | detail


def _text(media: Media) -> str | None:
    """The text of a document; None = it is none."""
    if not media.HasField("data") or not (_mime(media).startswith("text/") or _mime(media) in TEXT_TYPES):
        return None
    try:
        return media.data.decode()
    except UnicodeDecodeError:
        return None


def _members(text: str) -> dict[str, Raw] | None:
    """The members of a JSON object; None = it is not one."""
    try:
        return _OBJECT.decode(text)
    except (DecodeError, RecursionError):
        return None
