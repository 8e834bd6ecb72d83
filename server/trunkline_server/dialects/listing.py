"""What the lists of models of all dialects have in common: entries of any shape, and words for what models can do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import DecodeError, Raw

from trunkline_server.dialects.lenient import decode_json
from trunkline_server.listed import Listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from msgspec.json import Decoder

    from trunkline.v1.model_pb2 import Capability

T = TypeVar("T")

_LONGEST_ID = 200
_MOST = (1 << 63) - 1
# Models that answer with something else than text, where the list does not say so. Their vendors' names for them.
_NO_TEXT = re.compile(
    r"(?:^|[-_/.:])(?:embed\w*|\w*embedding\w*|bge|minilm|whisper|tts|dall-e|gpt-image|imagen|image|veo|sora|"
    r"moderation|rerank\w*|transcribe|transcription|realtime|speech|babbage|davinci|ocr)(?:$|[-_/.:\d])",
    re.IGNORECASE,
)


def decode_entries(decoder: Decoder[T], entries: Iterable[Raw] | None) -> Iterator[T]:
    """The entries that are of the shape that they should be."""
    for entry in entries or ():
        try:
            yield decode_json(decoder, bytes(entry))
        except DecodeError:
            continue


def make_listed(id_: str, *, window: object = None, generates: object = None, **more: Any) -> Listed | None:
    """An entry, with what it says. `generates` is what the list says of that; None: the id is asked.

    None if callers could not say the id.
    """
    if not is_sayable(id_):
        return None
    answers = not _NO_TEXT.search(id_) if generates is None else bool(generates)
    return Listed(id_, context_window=_count(window), generates=answers, **more)


def is_sayable(id_: str) -> bool:
    """Whether callers can say this id, and whether it can be shown to them."""
    return 0 < len(id_) <= _LONGEST_ID and id_.isprintable() and id_ == id_.strip()


def told(says: Mapping[Capability.ValueType, object]) -> dict[str, frozenset[Capability.ValueType]]:
    """What a list says of capabilities: True and False count, everything else says nothing."""
    return {
        "can": frozenset(what for what, said in says.items() if said is True),
        "cannot": frozenset(what for what, said in says.items() if said is False),
    }


def strings(value: object) -> tuple[str, ...]:
    """The texts of a list; nothing of anything else."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _count(value: object) -> int | None:
    """A number of tokens. Some vendors write it as a float; 0 means that they do not know."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
        return None
    return int(value)
