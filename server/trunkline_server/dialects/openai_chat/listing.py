"""GET /models of OpenAI, and what other hosts add to it. This module is a ModelList."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_REASONING,
    CAPABILITY_TOOLS,
    CAPABILITY_VISION,
)
from trunkline_server.dialects.dialect import Page
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.listing import decode_entries, is_sayable, make_listed, strings, told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.model_pb2 import Capability
    from trunkline_server.listed import Listed

HEADERS: Mapping[str, str] = {}

# Together's and Mistral's `type`. Mistral's "base" and "fine-tuned" say nothing of what comes out.
_TEXT_TYPES = ("chat", "language", "code")
_OTHER_TYPES = ("embedding", "embeddings", "image", "video", "audio", "moderation", "rerank", "transcribe", "speech")
# OpenRouter's supported_parameters: all that a model takes.
_PARAMETERS = {
    "tools": CAPABILITY_TOOLS,
    "structured_outputs": CAPABILITY_JSON_SCHEMA,
    "response_format": CAPABILITY_JSON_MODE,
    "reasoning": CAPABILITY_REASONING,
    "logprobs": CAPABILITY_LOGPROBS,
}


class Model(Struct):
    """An entry. Only the id is everybody's; what else is read, some host says."""

    id: str
    type: Any = None
    aliases: Any = None
    # Groq says that a model is switched off, Mistral that it is put away.
    active: Any = None
    archived: Any = None
    # The window: OpenRouter, Together, Fireworks, Moonshot, SambaNova; Groq; Mistral; vLLM.
    context_length: Any = None
    context_window: Any = None
    max_context_length: Any = None
    max_model_len: Any = None
    # Mistral and Azure: names with true or false.
    capabilities: Any = None
    # OpenRouter.
    supported_parameters: Any = None
    architecture: Any = None
    # Fireworks; Moonshot has a word of its own for images.
    supports_chat: Any = None
    supports_tools: Any = None
    supports_image_input: Any = None
    supports_image_in: Any = None
    supports_reasoning: Any = None


class _List(Struct):
    data: list[Raw] = field(default_factory=list)


_LIST = Decoder(_List | list[Raw])
_MODEL = Decoder(Model)


def list_path(token: str) -> str:  # noqa: ARG001 - this list has no pages
    """The whole list."""
    return "/models"


def decode_list(body: bytes) -> Page:
    """The list; Together sends it bare."""
    page = decode_json(_LIST, body)
    models = decode_entries(_MODEL, page if isinstance(page, list) else page.data)
    return Page([listed for model in models if (listed := _listed(model)) is not None])


def _listed(model: Model) -> Listed | None:
    if model.active is False or model.archived is True:
        return None
    window = model.context_length or model.context_window or model.max_context_length or model.max_model_len
    aliases = tuple(alias for alias in strings(model.aliases) if is_sayable(alias))
    return make_listed(model.id, window=window, generates=_generates(model), aliases=aliases, **told(_says(model)))


def _generates(model: Model) -> bool | None:
    """Whether text comes out, as far as the entry says so."""
    abilities = model.capabilities if isinstance(model.capabilities, dict) else {}
    for said in (model.supports_chat, abilities.get("completion_chat"), abilities.get("chat_completion")):
        if isinstance(said, bool):
            return said
    if outputs := strings(_architecture(model).get("output_modalities")):
        return "text" in outputs
    return True if model.type in _TEXT_TYPES else False if model.type in _OTHER_TYPES else None


def _says(model: Model) -> Mapping[Capability.ValueType, object]:
    abilities = model.capabilities if isinstance(model.capabilities, dict) else {}
    inputs, parameters = strings(_architecture(model).get("input_modalities")), strings(model.supported_parameters)
    vision = (model.supports_image_input, model.supports_image_in, abilities.get("vision"))
    says: dict[Capability.ValueType, object] = {
        CAPABILITY_TOOLS: _first(model.supports_tools, abilities.get("function_calling")),
        CAPABILITY_VISION: _first(*vision, "image" in inputs if inputs else None),
        CAPABILITY_REASONING: _first(model.supports_reasoning, abilities.get("reasoning")),
    }
    return says | {what: name in parameters for name, what in _PARAMETERS.items() if parameters}


def _first(*said: object) -> object:
    return next((each for each in said if isinstance(each, bool)), None)


def _architecture(model: Model) -> dict[str, Any]:
    return model.architecture if isinstance(model.architecture, dict) else {}
