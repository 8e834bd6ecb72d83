"""GET /api/tags of Ollama: the models that are pulled. This module is a ModelList."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from trunkline.v1.model_pb2 import CAPABILITY_REASONING, CAPABILITY_TOOLS, CAPABILITY_VISION
from trunkline_server.dialects.dialect import Page
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.listing import decode_entries, make_listed, strings, told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.listed import Listed

HEADERS: Mapping[str, str] = {}

# What a name without a tag means.
_DEFAULT_TAG = ":latest"
# Families of models that only embed.
_EMBEDDING = ("bert", "nomic-bert")
_CAPABILITIES = {"tools": CAPABILITY_TOOLS, "vision": CAPABILITY_VISION, "thinking": CAPABILITY_REASONING}


class Details(Struct):
    """What a model is made of."""

    family: Any = None


class Model(Struct):
    """An entry."""

    name: str
    details: Details | None = None
    # Newer servers only.
    capabilities: Any = None


class _List(Struct):
    models: list[Raw] | None = field(default_factory=list)


_LIST, _MODEL = Decoder(_List), Decoder(Model)


def list_path(token: str) -> str:  # noqa: ARG001 - this list has no pages
    """The whole list."""
    return "/api/tags"


def decode_list(body: bytes) -> Page:
    """The list; null where nothing is pulled."""
    models = decode_entries(_MODEL, decode_json(_LIST, body).models)
    return Page([listed for model in models if (listed := _listed(model)) is not None])


def _listed(model: Model) -> Listed | None:
    abilities = strings(model.capabilities)
    says = {what: name in abilities for name, what in _CAPABILITIES.items()} if abilities else {}
    return make_listed(model.name, generates=_generates(model, abilities), aliases=_aliases(model.name), **told(says))


def _generates(model: Model, abilities: tuple[str, ...]) -> bool | None:
    if abilities:
        return "completion" in abilities
    return False if model.details is not None and model.details.family in _EMBEDDING else None


def _aliases(name: str) -> tuple[str, ...]:
    return (name.removesuffix(_DEFAULT_TAG),) if name.endswith(_DEFAULT_TAG) else ()
