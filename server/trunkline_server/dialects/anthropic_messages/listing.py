"""GET /v1/models of Anthropic, page by page. This module is a ModelList."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from trunkline.v1.model_pb2 import CAPABILITY_JSON_SCHEMA, CAPABILITY_REASONING, CAPABILITY_VISION
from trunkline_server.dialects.dialect import Page
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.listing import decode_entries, make_listed, told

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADERS: Mapping[str, str] = {"anthropic-version": "2023-06-01"}

_CAPABILITIES = {
    "image_input": CAPABILITY_VISION,
    "thinking": CAPABILITY_REASONING,
    "structured_outputs": CAPABILITY_JSON_SCHEMA,
}


class Model(Struct):
    """An entry."""

    id: str
    max_input_tokens: Any = None
    capabilities: Any = None


class _List(Struct):
    data: list[Raw] = field(default_factory=list)
    has_more: Any = None
    last_id: Any = None


_LIST, _MODEL = Decoder(_List), Decoder(Model)


def list_path(token: str) -> str:
    """As many as a page can have, after the model that the page before ended with."""
    return "/v1/models?limit=1000" + (f"&after_id={quote(token, safe='')}" if token else "")


def decode_list(body: bytes) -> Page:
    """A page."""
    page = decode_json(_LIST, body)
    models = [
        listed
        for model in decode_entries(_MODEL, page.data)
        if (listed := make_listed(model.id, window=model.max_input_tokens, generates=True, **told(_says(model))))
    ]
    return Page(models, page.last_id if page.has_more is True and isinstance(page.last_id, str) else "")


def _says(model: Model) -> dict[Any, object]:
    abilities = model.capabilities if isinstance(model.capabilities, dict) else {}
    return {
        what: ability.get("supported")
        for name, what in _CAPABILITIES.items()
        if isinstance(ability := abilities.get(name), dict)
    }
