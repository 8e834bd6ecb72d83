"""What Gemini says beside its answer: what was used, tokens' odds, and what the contract has no word for."""

from __future__ import annotations

import re
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.struct_pb2 import Struct
from msgspec import DecodeError, Raw, structs
from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline.v1.content_pb2 import LogprobToken, TopLogprob
from trunkline_server.dialects.gemini_generate_content.wire import NOTHING, Answer, Candidate, Usage
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.metadata import fits
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline_server.dialects.gemini_generate_content.wire import Logprobs, ModalityCount, Token, TopTokens

T = TypeVar("T")

# How much is kept as metadata, and how deep it may be: protobuf reads nothing that is nested deeper than 100.
MAX_METADATA_BYTES = 64 << 10
MAX_METADATA_DEPTH = 32
_MOST = (1 << 63) - 1
_ANYTHING = Decoder(Any)
_MODALITY = re.compile(r"[A-Z]{1,32}")
# What is kept as it stands: every field that is raw. (Its name here, its name in the API.)
_KEPT = {
    kind: [(field.name, field.encode_name) for field in structs.fields(kind) if field.type is Raw]
    for kind in (Answer, Candidate, Usage)
}
# What streams tell piece by piece; of all else the last word counts.
_GROWING = frozenset({"citationMetadata", "groundingMetadata", "urlContextMetadata"})


def decode(decoder: Decoder[T], json: bytes | Raw) -> T:
    """What `json` says. Raises UpstreamError where it is not in the wire format."""
    try:
        return decode_json(decoder, bytes(json))
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def is_said(json: Raw) -> bool:
    """Whether there is any JSON but null."""
    return json is not NOTHING and bytes(json) != b"null"


class Metadata:
    """Gathers what the contract has no word for, under the provider's own names."""

    def __init__(self) -> None:
        self._said: dict[str, list[Raw]] = {}

    def note(self, said: Answer | Candidate | Usage) -> None:
        """Keep what is to be kept of `said`."""
        for name, key in _KEPT[type(said)]:
            raw = getattr(said, name)
            if is_said(raw):
                if key in _GROWING:
                    self._said.setdefault(key, []).append(raw.copy())
                else:
                    self._said[key] = [raw]

    def all(self, key: str, decoder: Decoder[T]) -> list[T]:
        """What was said under a name, each time. Raises UpstreamError."""
        return [decode(decoder, raw) for raw in self._said.get(key, ())]

    def collect(self) -> tuple[Struct | None, list[str]]:
        """All of it, and the names of what is too large to be kept. Raises UpstreamError."""
        kept: dict[str, Any] = {}
        too_large, size = [], 0
        for key, raws in sorted(self._said.items()):
            value = _joined([decode(_ANYTHING, raw) for raw in raws])
            if value in (None, "", [], {}):
                continue
            size += sum(len(bytes(raw)) for raw in raws)
            if size > MAX_METADATA_BYTES or not fits(value, MAX_METADATA_DEPTH):
                too_large.append(key)
            else:
                kept[key] = value
        if not kept:
            return None, too_large
        struct = Struct()
        struct.update(kept)
        return struct, too_large


def _joined(values: list[Any]) -> Any:
    """One value of all that a stream told: lists grow by what is new, of all else the last word counts."""
    if len(values) < 2 or not all(isinstance(value, dict) for value in values):
        return values[-1]
    whole: dict[str, Any] = {}
    for key, new in (item for value in values for item in value.items()):
        old = whole.get(key)
        if isinstance(old, list) and isinstance(new, list):
            old.extend(item for item in new if item not in old)
        else:
            whole[key] = new
    return whole


def merge_usage(earlier: Usage | None, later: Usage) -> Usage:
    """Running totals: what is told later replaces what was told before, and what is left out still stands."""
    if earlier is None:
        return later
    for name in Usage.__struct_fields__:
        if getattr(later, name) is None:
            setattr(later, name, getattr(earlier, name))
    return later


def usage_of(told: Usage | None) -> call_pb2.Usage | None:
    """In the contract's meaning: tokens of server-side tools' results are input, thoughts are output."""
    if told is None:
        return None
    usage = call_pb2.Usage(
        input_tokens=_sum(told.prompt_token_count, told.tool_use_prompt_token_count),
        output_tokens=_sum(told.candidates_token_count, told.thoughts_token_count),
        cache_read_input_tokens=told.cached_content_token_count,
        reasoning_output_tokens=told.thoughts_token_count,
    )
    if told.tool_use_prompt_token_count is not None:
        usage.other_units["tool_use_prompt_tokens"] = told.tool_use_prompt_token_count
    _count(usage, "input", told.prompt_tokens_details)
    _count(usage, "output", told.candidates_tokens_details)
    _count(usage, "cache_read_input", told.cache_tokens_details)
    return usage if usage.ByteSize() else None


def _sum(*counts: int | None) -> int | None:
    told = [count for count in counts if count is not None]
    return min(sum(told), _MOST) if told else None


def _count(usage: call_pb2.Usage, what: str, details: Iterable[ModalityCount] | None) -> None:
    """Tokens of images, sound and the like, which have prices of their own. All others are text."""
    for detail in details or ():
        modality, count = detail.modality or "", detail.token_count or 0
        if modality != "TEXT" and _MODALITY.fullmatch(modality):
            unit = f"{what}_{modality.lower()}_tokens"
            usage.other_units[unit] = min(usage.other_units[unit] + count, _MOST)


def tokens_of(logprobs: Logprobs | None) -> list[LogprobToken]:
    """The tokens of an answer, or of one piece of it."""
    if logprobs is None or not logprobs.chosen_candidates:
        return []
    likeliest = chain(logprobs.top_candidates or (), repeat(None))
    return [_token(chosen, top) for chosen, top in zip(logprobs.chosen_candidates, likeliest, strict=False)]


def _token(chosen: Token, top: TopTokens | None) -> LogprobToken:
    # A logarithm of 0 is left out, as every zero is.
    return LogprobToken(
        token=chosen.token or "",
        logprob=chosen.log_probability or 0,
        top=[
            TopLogprob(token=each.token or "", logprob=each.log_probability or 0)
            for each in (top and top.candidates) or ()
        ],
    )
