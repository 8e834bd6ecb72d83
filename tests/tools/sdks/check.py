"""Holds requests to the types of the providers' own Python libraries. Runs in .venv-others.

Reads lines of JSON from standard input, {"id": ..., "sdk": ..., "body": ...}, and writes for each that is not as the
library has it {"id": ..., "faults": ["messages[0].content: ..."]}. A key that a type does not have is a fault, too.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import datetime
import enum
import functools
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import typing_extensions
from pydantic import BaseModel

LISTS = (list, tuple, set, frozenset, collections.abc.Iterable, collections.abc.Sequence)
MAPPINGS = (dict, collections.abc.Mapping)
QUALIFIERS = (typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.ReadOnly)
PLAIN = {str: str, int: int, float: (int, float), bool: bool}
Faults = list[str]


def faults(value: Any, hint: Any, path: str = "") -> Faults:
    """Where `value` is not of the type `hint`, each with its path."""
    bare = unwrapped(hint)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    for is_one, check in KINDS:
        if is_one(bare, origin):
            return check(value, arguments or bare, path)
    return of_plain(value, bare, path)


def unwrapped(hint: Any) -> Any:
    """The type behind a name for it, and behind what is said beside it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, typing_extensions.TypeAliasType):
        return unwrapped(hint.__value__)
    if isinstance(origin, typing_extensions.TypeAliasType):
        return unwrapped(origin.__value__[arguments])
    return unwrapped(arguments[0]) if origin is typing.Annotated or origin in QUALIFIERS else hint


def is_sequence(hint: Any) -> bool:
    """Some libraries have a protocol of their own for a sequence that is not a text."""
    return getattr(typing.get_origin(hint) or hint, "__name__", "").startswith("Sequence")


def of_any(value: Any, hints: tuple[Any, ...], path: str) -> Faults:
    """Those of the alternative that is meant: the one that gets furthest, and whose words are said."""
    found = [faults(value, hint, path) for hint in hints]
    return [] if [] in found else max(found, key=likelihood)


def likelihood(found: Faults) -> tuple[int, bool, int]:
    depth = min(fault.partition(":")[0].count(".") for fault in found)
    return depth, not any("is none of" in fault for fault in found), -len(found)


def of_words(value: Any, words: tuple[Any, ...], path: str) -> Faults:
    return [] if value in words else [f"{path}: {value!r} is none of {words}"]


def of_mapping(value: Any, arguments: Any, path: str) -> Faults:
    if not isinstance(value, dict):
        return [f"{path}: no object"]
    inner = arguments[1] if isinstance(arguments, tuple) else Any
    return [fault for key, each in value.items() for fault in faults(each, inner, f"{path}.{key}")]


def of_list(value: Any, arguments: Any, path: str) -> Faults:
    if not isinstance(value, list):
        return [f"{path}: no list"]
    inner = arguments[0] if isinstance(arguments, tuple) else Any
    return [fault for place, each in enumerate(value) for fault in faults(each, inner, f"{path}[{place}]")]


def of_fields(value: Any, fields: tuple[dict[str, Any], set[str]], path: str) -> Faults:
    if not isinstance(value, dict):
        return [f"{path}: no object"]
    hints, required = fields
    found = [f"{path}.{key}: unknown" for key in value if key not in hints]
    found += [f"{path}.{key}: missing" for key in sorted(required - value.keys())]
    return found + [fault for key in value.keys() & hints for fault in faults(value[key], hints[key], f"{path}.{key}")]


@functools.cache
def fields_of_dict(hint: Any) -> tuple[dict[str, Any], set[str]]:
    """Annotations that are texts hide what is required from the type itself: they say so once they are evaluated."""
    hints = typing_extensions.get_type_hints(hint, include_extras=True)
    said = {key: typing.get_origin(each) for key, each in hints.items()}
    required = {key for key, origin in said.items() if origin is typing_extensions.Required}
    return hints, required | {key for key in hint.__required_keys__ if said[key] is not typing_extensions.NotRequired}


@functools.cache
def fields_of_model(model: type[BaseModel]) -> tuple[dict[str, Any], set[str]]:
    model.model_rebuild()
    names = {name: field.alias or alias_of(field) or name for name, field in model.model_fields.items()}
    hints = {names[name]: field.annotation for name, field in model.model_fields.items()}
    # A constant that has a default, such as type: "function", is said all the same.
    return hints, {names[name] for name, field in model.model_fields.items() if field.is_required()}


def alias_of(field: Any) -> str:
    """The name on the wire, where it stands in the annotation."""
    return next((str(each.alias) for each in field.metadata if getattr(each, "alias", None)), "")


def of_plain(value: Any, hint: Any, path: str) -> Faults:
    if hint is None or hint is type(None):
        return [] if value is None else [f"{path}: not null"]
    if hint in PLAIN:
        fits = isinstance(value, PLAIN[hint]) and (hint is bool or not isinstance(value, bool))
    elif hint is bytes:
        fits = is_base64(value)
    elif inspect.isclass(hint) and issubclass(hint, enum.Enum):
        fits = value in [each.value for each in hint]
    elif hint in (datetime.datetime, datetime.date):
        fits = isinstance(value, str)
    else:
        return [f"{path}: no JSON is {hint}"]
    return [] if fits else [f"{path}: {type(value).__name__} where {getattr(hint, '__name__', hint)} is expected"]


def is_base64(value: Any) -> bool:
    """In either alphabet, as the JSON of protocol buffers has it."""
    try:
        return (
            isinstance(value, str)
            and base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True) is not None
        )
    except binascii.Error:
        return False


# In this order: what a type is known by, and what checks its values.
KINDS: tuple[tuple[Callable[[Any, Any], bool], Callable[[Any, Any, str], Faults]], ...] = (
    (lambda hint, _: hint in (Any, object) or isinstance(hint, typing.TypeVar), lambda *_: []),
    (lambda _, origin: origin in (typing.Union, types.UnionType), of_any),
    (lambda _, origin: origin is typing.Literal, of_words),
    (lambda hint, origin: origin in MAPPINGS or hint in MAPPINGS, of_mapping),
    (lambda hint, origin: origin in LISTS or is_sequence(hint), of_list),
    (
        lambda hint, _: typing_extensions.is_typeddict(hint),
        lambda *given: of_fields(given[0], fields_of_dict(given[1]), given[2]),
    ),
    (
        lambda hint, _: inspect.isclass(hint) and issubclass(hint, BaseModel),
        lambda *given: of_fields(given[0], fields_of_model(given[1]), given[2]),
    ),
)

# --- what each library says that a request is ---------------------------------------------------------------------


def openai_chat(body: Any) -> Faults:
    from openai.types.chat import completion_create_params as params

    return faults(body, params.CompletionCreateParams)


def openai_responses(body: Any) -> Faults:
    from openai.types.responses import response_create_params as params

    return faults(body, params.ResponseCreateParams)


def anthropic_messages(body: Any) -> Faults:
    from anthropic.types import message_create_params as params

    return faults(body, params.MessageCreateParams)


def mistral_chat(body: Any) -> Faults:
    from mistralai.client import models

    is_stream = isinstance(body, dict) and body.get("stream")
    return faults(body, models.ChatCompletionStreamRequest if is_stream else models.ChatCompletionRequest)


def gemini_generate_content(body: Any) -> Faults:
    """The library has no type for the whole: its parts are put together as its own transformation does."""
    from google.genai import types as gemini

    known = {
        "contents": list[gemini.Content],
        "systemInstruction": gemini.Content,
        "tools": list[gemini.Tool],
        "toolConfig": gemini.ToolConfig,
        "safetySettings": list[gemini.SafetySetting],
        "generationConfig": gemini.GenerationConfig,
        "cachedContent": str,
        "labels": dict[str, str],
    }
    return of_fields(body, (known, {"contents"}), "")


def cohere_chat(body: Any) -> Faults:
    """The library has no type for the whole: it is what its method takes."""
    from cohere.v2.client import V2Client

    hints = typing_extensions.get_type_hints(V2Client.chat, include_extras=True)
    hints |= {"stream": bool}
    return of_fields(body, (hints, {"model", "messages"}), "")


def ollama_chat(body: Any) -> Faults:
    from ollama._types import ChatRequest

    return faults(body, ChatRequest)


def bedrock_converse(body: Any) -> Faults:
    """The service's own model, which every AWS library is made of."""
    import botocore.session
    from botocore.validate import ParamValidator

    shape = converse_shape(botocore.session)
    return [
        line
        for line in ParamValidator().validate(body | {"modelId": "m"}, shape).generate_report().splitlines()
        if line
    ]


@functools.cache
def converse_shape(session: Any) -> Any:
    return session.get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


SDKS = {
    check.__name__: check
    for check in (
        openai_chat,
        openai_responses,
        anthropic_messages,
        mistral_chat,
        gemini_generate_content,
        cohere_chat,
        ollama_chat,
        bedrock_converse,
    )
}


def main() -> None:
    for line in sys.stdin:
        said = json.loads(line)
        found = SDKS[said["sdk"]](said["body"])
        if found:
            print(json.dumps({"id": said["id"], "faults": [fault.lstrip(".") for fault in found]}))


if __name__ == "__main__":
    main()
