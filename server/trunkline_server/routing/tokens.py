"""How many tokens a request is, about: without a tokenizer, and without a network. Pure; why so: decisions/0028.

Every figure here is an estimate, and says so. Text is counted by its bytes, each class of them at what it is in tokens
on average; what else a request is made of, at a flat rate.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from string import ascii_letters, digits, punctuation
from typing import TYPE_CHECKING, NamedTuple
from zlib import adler32

from msgspec import Struct

from trunkline.v1.content_pb2 import Media

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.v1.content_pb2 import Message, Part, Tool
    from trunkline.v1.gateway_service_pb2 import GenerateRequest


def _leads(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


# Hundredths of a token a byte, by class: least squares of the relative error against o200k_base, over prose, code, JSON
# and the manuals and messages of programs in thirty languages. What is no ASCII counts by each character's first byte.
_WEIGHTS: tuple[tuple[bytes, int], ...] = (
    (ascii_letters.encode(), 22),
    (b" ", 13),
    (punctuation.encode(), 39),
    (digits.encode(), 70),
    (bytes({*range(32), 127}), 96),
    # The rest of each character beyond ASCII.
    (_leads(0x80, 0xBF), 0),
    # Chinese and Japanese; kana; Korean.
    (_leads(0xE4, 0xE9), 79),
    (b"\xe3", 73),
    (_leads(0xEA, 0xED), 77),
    # Letters with marks; Greek and Cyrillic; Hebrew and Arabic; the scripts of India and what follows them in Unicode.
    (_leads(0xC0, 0xCB), 120),
    (_leads(0xCC, 0xD4), 32),
    (_leads(0xD5, 0xDF), 41),
    (_leads(0xE0, 0xE1), 43),
    # Typographic signs and symbols; private use; pictures.
    (b"\xe2", 91),
    (_leads(0xEE, 0xEF), 91),
    (_leads(0xF0, 0xFF), 150),
)
# The same, byte by byte.
_WEIGHT_OF = bytes(next(each for members, each in _WEIGHTS if byte in members) for byte in range(256))
# So many bytes weigh less than what Adler-32 counts up to, whatever they are.
_PIECE = 65520 // max(_WEIGHT_OF)
# Bytes. Longer texts are counted by samples, so many and so long. Once so much was seen, the rest counts alike.
LONGEST = 8192
SAMPLES, SAMPLE = 32, 256
MOST = 65536
# Tokens that a message, a tool and a call of one come with beside their words.
A_MESSAGE, A_TOOL, A_TOOL_CALL = 4, 12, 8
# Media: an image, whatever its size; one that is looked at from afar; bytes to a token of what plays and of documents.
AN_IMAGE, A_SMALL_IMAGE = 1000, 85
BYTES_A_TOKEN: Mapping[str, int] = {"audio": 1000, "video": 1000, "text": 4}
DOCUMENT_BYTES = 25
LEAST_MEDIA = 32
# What is fetched by its address, or was uploaded before: nobody here knows its size.
UNSEEN: Mapping[str, int] = {"image": AN_IMAGE, "audio": 1000, "video": 10_000}
UNSEEN_DOCUMENT = 3000


# Of all messages and parts in one go: there may be many.
_PARTS, _TEXT = attrgetter("parts"), attrgetter("text")


class Shape(NamedTuple):
    """How a family of models counts."""

    # Its tokens to one that is estimated here.
    ratio: float = 1.0
    # What each call comes with, and what each with tools comes with beside that.
    call: int = 8
    tools: int = 60


# By Model.family, from the recordings that tests/routing/test_token_accuracy.py is held to.
SHAPES: Mapping[str, Shape] = {
    "claude": Shape(1.15, call=4, tools=330),
    "command": Shape(1.1, call=495, tools=1000),
    "deepseek": Shape(1.0, call=0, tools=240),
    "gemini": Shape(0.85, call=0, tools=0),
    "gpt": Shape(0.9, call=3, tools=10),
    "gpt-oss": Shape(0.75, call=70, tools=20),
    "grok": Shape(1.0, call=150, tools=130),
    "llama": Shape(1.0, call=12, tools=80),
    "mistral": Shape(1.1, call=1, tools=10),
    "nova": Shape(0.9, call=0, tools=650),
    "qwen": Shape(0.8, call=7, tools=90),
}
DEFAULT_SHAPE = Shape()


class Count(Struct, frozen=True):
    """What a request is made of, in tokens of no model in particular."""

    # Words and what they are wrapped in; media, which no experience with words makes surer.
    text: int
    media: int = 0
    has_tools: bool = False
    # Whether a tokenizer counted. None does so far: it is an estimate.
    exact: bool = False

    @property
    def tokens(self) -> int:
        """About how many tokens it is, whoever is asked."""
        return self._at(DEFAULT_SHAPE, 1.0)

    def at(self, family: str, correction: float = 1.0) -> int:
        """About how many tokens it is for a family of models; `correction` is what calls since have taught."""
        return self._at(SHAPES.get(family, DEFAULT_SHAPE), correction)

    def _at(self, shape: Shape, correction: float) -> int:
        fixed = shape.call + (shape.tools if self.has_tools else 0)
        return int((self.text * shape.ratio + fixed) * correction) + self.media

    def by_shape(self, shapes: Iterable[Shape]) -> list[int]:
        """The same of several families that count so, before calls have taught anything."""
        text, media = self.text, self.media
        if self.has_tools:
            return [int(text * ratio + (call + tools)) + media for ratio, call, tools in shapes]
        return [int(text * ratio + call) + media for ratio, call, _ in shapes]


def count_tokens(request: GenerateRequest) -> Count:
    """Count a request. Takes microseconds, and of however much text only samples: the event loop need not wait."""
    size, messages = request.ByteSize(), request.messages
    if size <= LONGEST and (count := _of_texts(request, messages)) is not None:
        return count
    tally = _Tally(size)
    tally.fixed = A_MESSAGE * (len(messages) or 1)
    if tally.is_large and not messages:
        tally.add_bytes(request.SerializeToString())
    else:
        tally.add_request(request)
    return Count(tally.tokens(), tally.media, bool(request.tools))


def _of_texts(request: GenerateRequest, messages: Sequence[Message]) -> Count | None:
    """Count a request of nothing but texts, as most are. None: something else counts, too."""
    if request.tools or request.HasField("response_format"):
        return None
    texts = list(map(_TEXT, _parts(messages)))
    if not all(texts) and any(part.WhichOneof("data") != "text" for part in _parts(messages)):
        return None
    system = request.system_instruction
    texts += request.prompt, system
    wraps = len(messages) or 1
    if system:
        wraps += 1
    return Count(A_MESSAGE * wraps - (-_weight("".join(texts).encode()) // 100))


def _parts(messages: Iterable[Message]) -> Iterable[Part]:
    return chain.from_iterable(map(_PARTS, messages))


def count_text(text: str) -> int:
    """About how many tokens a text is."""
    tally = _Tally()
    tally.add(text)
    return tally.tokens()


class _Tally:
    """Adds up a request, text by text."""

    __slots__ = ("fixed", "is_large", "is_small", "media", "seen", "texts", "unseen", "weight")

    def __init__(self, size: int = MOST) -> None:
        """`size`: bytes that all of it has at most."""
        # Of what is small each text is weighed whole; what is large is not even read whole.
        self.is_small, self.is_large = size <= LONGEST, size > MOST
        # The texts of what is small, which are weighed in one go.
        self.texts: list[str] = []
        # Of what is not: hundredths of a token; bytes of these; bytes that are not looked at.
        self.weight = self.seen = self.unseen = 0
        self.fixed = self.media = 0

    def tokens(self) -> int:
        """All but media."""
        weight = self.weight + _weight("".join(self.texts).encode())
        rest = weight * self.unseen // self.seen if self.unseen else 0
        return self.fixed - (-(weight + rest) // 100)

    def add_request(self, request: GenerateRequest) -> None:
        if prompt := request.prompt:
            self.add(prompt)
        if request.HasField("response_format"):
            self.add(request.response_format.json_schema)
        if system := request.system_instruction:
            self.fixed += A_MESSAGE
            self.add(system)
        self.add_parts(_parts(request.messages))
        for tool in request.tools:
            self.add_tool(tool)

    def add(self, *texts: str) -> None:
        if self.is_small:
            self.texts += texts
            return
        for text in texts:
            self.add_bytes(text.encode())

    def add_bytes(self, data: bytes) -> None:
        size = len(data)
        if self.seen >= MOST:
            self.unseen += size
            return
        self.seen += size
        if size <= LONGEST:
            self.weight += _weight(data)
        else:
            self.weight += _weight(_sample(data)) * size // (SAMPLES * SAMPLE)

    def add_parts(self, parts: Iterable[Part]) -> None:
        add = self.texts.append if self.is_small else self.add
        for part in parts:
            kind = part.WhichOneof("data")
            if kind == "text":
                # The bytes of a large part are had at a twentieth of what its text costs.
                if self.is_large and part.ByteSize() > LONGEST:
                    self.add_bytes(part.SerializeToString())
                else:
                    add(part.text)
            elif kind == "media":
                self.media += media_tokens(part.media)
            elif kind is not None:
                self._add_other(part, kind)

    def _add_other(self, part: Part, kind: str) -> None:
        if kind == "tool_call":
            self.fixed += A_TOOL_CALL
            self.add(part.tool_call.name, part.tool_call.arguments_json)
        elif kind == "tool_result":
            self.add_parts(part.tool_result.parts)
        elif kind == "provider_part":
            self.add(part.provider_part.json)
        else:
            self.add(part.refusal, part.reasoning.text)

    def add_tool(self, tool: Tool) -> None:
        self.fixed += A_TOOL
        function = tool.function
        self.add(function.name, function.description, function.parameters_json_schema, tool.provider_tool.config_json)


def _sample(data: bytes) -> bytes:
    """Pieces at equal distances, the first and the last bytes among them."""
    last = len(data) - SAMPLE
    starts = (last * number // (SAMPLES - 1) for number in range(SAMPLES))
    return b"".join(data[start : start + SAMPLE] for start in starts)


def _weight(data: bytes) -> int:
    """Hundredths of a token: the sum of the bytes' weights, which the lower half of Adler-32 is of so few at a time."""
    weights = data.translate(_WEIGHT_OF)
    if len(weights) <= _PIECE:
        return adler32(weights, 0) & 0xFFFF
    return sum([adler32(weights[at : at + _PIECE], 0) & 0xFFFF for at in range(0, len(weights), _PIECE)])


def media_tokens(media: Media) -> int:
    """About how many tokens an image, a sound or a document is."""
    kind = media.mime_type.partition("/")[0] or "image"
    if kind == "image":
        return A_SMALL_IMAGE if media.detail == Media.DETAIL_LOW else AN_IMAGE
    if media.WhichOneof("source") != "data":
        return UNSEEN.get(kind, UNSEEN_DOCUMENT)
    return max(LEAST_MEDIA, len(media.data) // BYTES_A_TOKEN.get(kind, DOCUMENT_BYTES))
