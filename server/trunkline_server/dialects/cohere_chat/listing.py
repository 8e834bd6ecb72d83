"""GET /v1/models of Cohere, page by page. This module is a ModelList."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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
from trunkline_server.dialects.listing import decode_entries, make_listed, strings, told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.listed import Listed

HEADERS: Mapping[str, str] = {}

_FEATURES = {
    "tools": CAPABILITY_TOOLS,
    "json_mode": CAPABILITY_JSON_MODE,
    "json_schema": CAPABILITY_JSON_SCHEMA,
    "logprobs": CAPABILITY_LOGPROBS,
    "vision": CAPABILITY_VISION,
    "reasoning": CAPABILITY_REASONING,
}


class Model(Struct):
    """An entry."""

    name: str
    endpoints: Any = None
    features: Any = None
    context_length: Any = None


class _List(Struct):
    models: list[Raw] = field(default_factory=list)
    next_page_token: Any = None


_LIST, _MODEL = Decoder(_List), Decoder(Model)


def list_path(token: str) -> str:
    """As many as a page can have."""
    return "/v1/models?page_size=1000" + (f"&page_token={quote(token, safe='')}" if token else "")


def decode_list(body: bytes) -> Page:
    """A page."""
    page = decode_json(_LIST, body)
    models = [listed for model in decode_entries(_MODEL, page.models) if (listed := _listed(model)) is not None]
    return Page(models, page.next_page_token if isinstance(page.next_page_token, str) else "")


def _listed(model: Model) -> Listed | None:
    endpoints, features = strings(model.endpoints), strings(model.features)
    # Features are named where there are any; a model that has none of ours may be older than their list.
    says = {what: True for name, what in _FEATURES.items() if name in features}
    generates = "chat" in endpoints if endpoints else None
    return make_listed(model.name, window=model.context_length, generates=generates, **told(says))
