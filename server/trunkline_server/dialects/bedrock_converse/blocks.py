"""The contract's parts as content blocks of Bedrock's Converse API."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline_server.dialects.bedrock_converse.media import MediaEncoder
from trunkline_server.dialects.lenient import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.content_pb2 import Citation, Part, ProviderPart, ToolCall, ToolResult
    from trunkline_server.dialects.bedrock_converse.models import Model
    from trunkline_server.dialects.bedrock_converse.notes import Notes

DIALECT = "bedrock_converse"
SIGNATURE = "bedrock.reasoning_signature"
REDACTED = "bedrock.redacted"
CITATION = "bedrock.citation"
# What a tool that failed says where it says nothing: the API refuses that.
NO_REASON = "The tool failed."

_OBJECT = Decoder(dict[str, Raw])
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

JsonObject = dict[str, Any]


class BlockEncoder:
    """Encodes the parts of one request, in their order."""

    def __init__(self, model: Model, notes: Notes) -> None:
        self._model = model
        self._notes = notes
        self._media = MediaEncoder(notes)

    def encode(self, part: Part, path: str) -> list[JsonObject]:
        """The block that says `part`, and its cachePoint. Nothing where nothing is said; what is lost is noted.

        `path` is the part's own.
        """
        block = self._block(part, path)
        if part.citations and not (part.HasField("text") or part.HasField("refusal")):
            self._notes.lost(f"{path}.citations", "only texts have citations here")
        blocks = [] if block is None else [block]
        if part.HasField("cache_breakpoint"):
            blocks += self._cache(block, part, f"{path}.cache_breakpoint")
        return blocks

    def _cache(self, block: JsonObject | None, part: Part, path: str) -> list[JsonObject]:
        if block is None or part.HasField("reasoning"):
            self._notes.dropped(path, "nothing can be cached here: set it on another part")
            return []
        return self._notes.cache_point(part.cache_breakpoint, path, self._model)

    def _block(self, part: Part, path: str) -> JsonObject | None:
        kind = part.WhichOneof("data")
        if kind == "reasoning":
            return self._reasoning(part, path)
        if part.HasField("provider_state"):
            why = f"{part.provider_state.format} is not of this provider, or not of this part"
            self._notes.lost(f"{path}.provider_state", why)
        match kind:
            case "tool_call":
                return self._tool_use(part.tool_call, f"{path}.tool_call")
            case "tool_result":
                return self._tool_result(part.tool_result, f"{path}.tool_result")
            case "media":
                return self._media.encode(part.media, f"{path}.media")
            case "provider_part":
                return self._provider_block(part.provider_part, f"{path}.provider_part")
        return self._text(part, path)

    def _text(self, part: Part, path: str) -> JsonObject | None:
        """A text, or a refusal's words. The API refuses texts of nothing but white space; they say nothing."""
        text = part.text or part.refusal
        if not text.strip():
            return None
        if citations := [*self._citations(part.citations, f"{path}.citations")]:
            return {"citationsContent": {"content": [{"text": text}], "citations": citations}}
        return {"text": text}

    def _citations(self, citations: Sequence[Citation], path: str) -> Iterator[Raw]:
        for index, citation in enumerate(citations):
            state = citation.provider_state
            if state.format == CITATION and json_object(state.data) is not None:
                yield Raw(state.data.encode())
            else:
                self._notes.lost(f"{path}[{index}]", "only citations that this provider gave can be sent to it")

    def _reasoning(self, part: Part, path: str) -> JsonObject | None:
        state, text = part.provider_state, part.reasoning.text
        if state.format == SIGNATURE:
            return {"reasoningContent": {"reasoningText": {"text": text, "signature": state.data}}}
        if state.format == REDACTED:
            return {"reasoningContent": {"redactedContent": state.data}}
        if not part.HasField("provider_state") and text and self._model.unsigned_reasoning:
            return {"reasoningContent": {"reasoningText": {"text": text}}}
        self._notes.lost(f"{path}.reasoning", "the model takes back only its own reasoning, signed in provider_state")
        return None

    def _tool_use(self, call: ToolCall, path: str) -> JsonObject:
        given = self._input(call.arguments_json, f"{path}.arguments_json")
        return {"toolUse": {"toolUseId": tool_use_id(call.id), "name": call.name, "input": given}}

    def _input(self, arguments: str, path: str) -> Any:
        if not arguments.strip():
            return {}
        if json_object(arguments) is not None:
            return Raw(arguments.encode())
        self._notes.changed(path, "is not a JSON object, which the provider demands: sent as the text of one")
        return {"invalid_json": arguments}

    def _tool_result(self, result: ToolResult, path: str) -> JsonObject:
        inner = (self._inner(part, f"{path}.parts[{index}]") for index, part in enumerate(result.parts))
        content = [block for block in inner if block is not None]
        block: JsonObject = {"toolUseId": tool_use_id(result.tool_call_id), "content": content}
        if result.is_error:
            block |= {"content": content or [{"text": NO_REASON}], "status": "error"}
        return {"toolResult": block}

    def _inner(self, part: Part, path: str) -> JsonObject | None:
        if part.HasField("cache_breakpoint"):
            self._notes.dropped(
                f"{path}.cache_breakpoint", "inside a result nothing ends a prompt: set it on the result"
            )
        if part.HasField("media"):
            return self._media.encode(part.media, f"{path}.media", inside_result=True)
        return {"text": part.text} if part.text.strip() else None

    def _provider_block(self, part: ProviderPart, path: str) -> JsonObject | None:
        if part.dialect != DIALECT:
            self._notes.lost(path, f"only {part.dialect or 'another dialect'} understands it")
            return None
        block = json_object(part.json)
        if block is None:
            self._notes.lost(
                f"{path}.json", "it is not a JSON object: the answer that it comes from may have been cut off"
            )
        return block


def tool_use_id(name: str) -> str:
    """A tool call's id in the API's letters and length; another in its place where it does not fit, always the same."""
    return name if _TOOL_USE_ID.fullmatch(name) else f"id_{sha256(name.encode()).hexdigest()[:32]}"


def json_object(text: str) -> dict[str, Raw] | None:
    """The members of a JSON object; None = it is not one."""
    try:
        return decode_json(_OBJECT, text.encode())
    except DecodeError:
        return None
