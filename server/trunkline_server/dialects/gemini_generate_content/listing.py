"""GET /models of Google AI Studio, page by page. This module is a ModelList."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from trunkline.v1.model_pb2 import CAPABILITY_REASONING
from trunkline_server.dialects.dialect import Page
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.listing import decode_entries, make_listed, strings, told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.listed import Listed

HEADERS: Mapping[str, str] = {}


class Model(Struct, rename="camel"):
    """An entry."""

    name: str
    input_token_limit: Any = None
    output_token_limit: Any = None
    supported_generation_methods: Any = None
    thinking: Any = None


class _List(Struct, rename="camel"):
    models: list[Raw] = field(default_factory=list)
    next_page_token: Any = None


_LIST, _MODEL = Decoder(_List), Decoder(Model)


def list_path(token: str) -> str:
    """As many as a page can have."""
    return "/models?pageSize=1000" + (f"&pageToken={quote(token, safe='')}" if token else "")


def decode_list(body: bytes) -> Page:
    """A page. The models' resource names lose what stands before their ids."""
    page = decode_json(_LIST, body)
    models = [listed for model in decode_entries(_MODEL, page.models) if (listed := _listed(model)) is not None]
    return Page(models, page.next_page_token if isinstance(page.next_page_token, str) else "")


def _listed(model: Model) -> Listed | None:
    methods = strings(model.supported_generation_methods)
    # A method says that a model generates, not what: images and speech come from the same one.
    generates = False if methods and "generateContent" not in methods else None
    return make_listed(
        model.name.removeprefix("models/"),
        window=_window(model),
        generates=generates,
        **told({CAPABILITY_REASONING: model.thinking}),
    )


def _window(model: Model) -> object:
    """What goes in and what comes out have limits of their own; together they are the window."""
    limits = (model.input_token_limit, model.output_token_limit)
    return sum(limit for limit in limits if isinstance(limit, int) and not isinstance(limit, bool))
