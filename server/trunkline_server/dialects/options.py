"""provider_options: the caller's settings that the contract has no word for, merged into what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.struct_pb2 import Struct, Value

    from trunkline.v1.gateway_service_pb2 import GenerateRequest

_WHY = "is written by the gateway: say it in the request's own fields, or leave it out"


def merge_options(body: dict[str, Any], request: GenerateRequest, dialect: str, written: frozenset[str]) -> None:
    """Merge provider_options[dialect] into `body`, at its top level.

    `written` names what the dialect says itself. A dotted name ("generationConfig.seed") speaks of a key inside an
    object: such an object may be given, too, and is merged key by key. Numbers without a fraction become integers.
    Raises InvalidRequest, naming every key that is in `written`.
    """
    if dialect not in request.provider_options:
        return
    options = _plain_object(request.provider_options[dialect])
    objects = frozenset(name.partition(".")[0] for name in written if "." in name)
    violations = [Violation(f"provider_options.{dialect}.{key}", _WHY) for key in _taken(options, written, objects)]
    if violations:
        raise InvalidRequest(violations)
    for key, value in options.items():
        body[key] = {**body.get(key, {}), **value} if key in objects else value


def _taken(options: Mapping[str, Any], written: frozenset[str], objects: frozenset[str]) -> Iterator[str]:
    """The keys that the dialect writes itself; what stands for an object of its own must be one, too."""
    for key, value in options.items():
        if key in written or (key in objects and not isinstance(value, dict)):
            yield key
        elif key in objects:
            yield from (f"{key}.{inner}" for inner in value if f"{key}.{inner}" in written)


def _plain_object(struct: Struct) -> dict[str, Any]:
    # A map has no order of its own, and the same request is to give the same bytes.
    return {key: _plain(struct.fields[key]) for key in sorted(struct.fields)}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _plain_object(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None
