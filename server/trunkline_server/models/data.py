"""The packaged data on models: what each can do and take, and until when it is there. Read once; pure after that."""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 - msgspec reads the annotations
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from trunkline.v1.model_pb2 import (
    CAPABILITY_AUDIO,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_REASONING,
    CAPABILITY_TOOLS,
    CAPABILITY_VISION,
)
from trunkline_server.spelling import by_spelling, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DATA = "models.json"
# What the sources tell of a model's abilities. The others hang on how it is asked: the providers' rows have them.
TOLD = {
    "tools": CAPABILITY_TOOLS,
    "json_schema": CAPABILITY_JSON_SCHEMA,
    "reasoning": CAPABILITY_REASONING,
    "vision": CAPABILITY_VISION,
    "audio": CAPABILITY_AUDIO,
}
# Ids come from callers: only so many are remembered.
_REMEMBERED = 4096


class Score(Struct, frozen=True, array_like=True):
    """How good a model is at something: from 0 to 1 on its source's own scale."""

    value: float
    # Who says so, of what.
    source: str


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model at one seller. What stands at its default is not known."""

    name: str = ""
    family: str = ""
    # Tokens: in and out together; out at most.
    window: int | None = None
    output: int | None = None
    # text, image, audio, video, file.
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    # Those of TOLD that it has; of the rest of TOLD it has none.
    can: tuple[str, ...] | None = None
    open_weights: bool | None = None
    # The first days on which it is advised against, and on which it is not served any more, in UTC.
    deprecated: date | None = None
    retired: date | None = None
    # Another id of the same seller.
    replacement: str = ""
    aliases: tuple[str, ...] = ()
    # By what is scored: quality, coding, reasoning, speed, long_context.
    scores: dict[str, Score] = {}
    # Who told of it: g (genai-prices), l (litellm), o (our overrides).
    told_by: str = ""


class Data(Struct, frozen=True):
    """All of it."""

    # A digest of all that follows.
    version: str
    # What it is built from, by letter of `told_by`.
    sources: dict[str, str]
    # By kind of provider: the tables that tell of its models, in order.
    kinds: dict[str, tuple[str, ...]]
    # By seller: its models by id, in its own spelling.
    tables: dict[str, dict[str, Entry]]


@cache
def read_data() -> Data:
    """The packaged data."""
    return msgspec.json.decode(files(__package__).joinpath(DATA).read_bytes(), type=Data)


@lru_cache(_REMEMBERED)
def entry_of(kind: str, model: str) -> Entry | None:
    """What is known of a model of a kind of provider. None: nothing.

    By its id, an alias, or another spelling of either.
    """
    return next((read_data().tables[table][id_] for table, id_ in _found(kind, model)), None)


@lru_cache(_REMEMBERED)
def id_of(kind: str, model: str) -> str:
    """The id that a model stands under. Empty = it is not known."""
    return next((id_ for _, id_ in _found(kind, model)), "")


@cache
def names_of(kind: str, pattern: str) -> Mapping[str, str]:
    """By each id, alias and plain spelling that is known of a kind of provider: the id.

    Only ids that match the pattern, in lower case: hosts serve models of others, too.
    """
    found: dict[str, str] = {}
    for table in read_data().kinds.get(kind, ()):
        ids = {name: id_ for name, id_ in _names(table).items() if re.fullmatch(pattern, id_.lower())}
        spelt = {spelling: ids[name] for spelling, name in by_spelling(ids).items()}
        found = spelt | ids | {id_: id_ for id_ in ids.values()} | found
    return found


def _found(kind: str, model: str) -> Iterator[tuple[str, str]]:
    for table in read_data().kinds.get(kind, ()):
        if model in read_data().tables[table]:
            yield table, model
        elif id_ := _names(table).get(model.lower()) or _spellings(table).get(plain(model)):
            yield table, id_


@cache
def _names(table: str) -> Mapping[str, str]:
    """By id or alias in lower case: the id."""
    entries = read_data().tables[table]
    aliases = {alias.lower(): id_ for id_, entry in entries.items() for alias in entry.aliases}
    return aliases | {id_.lower(): id_ for id_ in entries}


@cache
def _spellings(table: str) -> Mapping[str, str]:
    """By plain spelling of an id or alias: the id."""
    names = _names(table)
    return {spelling: names[name] for spelling, name in by_spelling(names).items()}
