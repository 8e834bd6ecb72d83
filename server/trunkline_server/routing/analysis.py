"""What a request is, as far as rules see it: how long, about code or not, how hard. Pure, and told in decisions/0028.

What is asked is the last text that a user says. It is about code if it has a code fence, if one byte of twenty is a
sign that programs are made of, if it has one word that only programmers use or two that they use often, or if the
instructions at the head have one of the first sort. How hard it is adds up in points:

    1 for each word of those that ask for thought, 2 at most
    1 if what is asked has more than 300 tokens, 1 more above 1,500
    1 if the whole request has more than 8,000
    1 if there are tools
    2 if the caller asks for much thinking

No point, and no more than 80 tokens asked: simple. 3 and more: complex. All else is moderate. The words are English;
what is asked in other languages goes by its size and signs. The caller may say it himself: Routing.complexity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline.v1.call_pb2 import (
    COMPLEXITY_COMPLEX,
    COMPLEXITY_MODERATE,
    COMPLEXITY_SIMPLE,
    COMPLEXITY_UNSPECIFIED,
    Complexity,
)
from trunkline.v1.content_pb2 import ROLE_SYSTEM, ROLE_USER
from trunkline.v1.gateway_service_pb2 import Thinking
from trunkline_server.routing.tokens import count_text, count_tokens

if TYPE_CHECKING:
    from trunkline.v1.content_pb2 import Message
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.routing.tokens import Count

# Bytes of what is asked that are read for words and signs: at its head, and at its end; and of instructions.
HEAD, TAIL, INSTRUCTIONS = 768, 256, 256
# A sign of a program in so many bytes.
SIGNS, ONE_IN = b"(){};=", 20
ASKED, MUCH_ASKED, MUCH = 300, 1500, 8000
SIMPLE_ASKED, COMPLEX = 80, 3
MUCH_THINKING = frozenset({Thinking.EFFORT_HIGH, Thinking.EFFORT_MAX})
_FENCE = b"```"


def _words(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


CODE = _words(
    "async bash codebase coding compile compiler css debug debugger debugging django docker dockerfile fastapi "
    "golang html java javascript kotlin kubernetes leetcode linter nodejs numpy pandas postgresql programmer "
    "programming pytest python react refactor refactored refactoring regex rust sql stacktrace stderr stdout "
    "subclass traceback typescript"
)
OFTEN_CODE = _words(
    "algorithm api array backend bug bugs class code commit database dependency endpoint exception frontend "
    "function functions git implement loop method module null parameter parse query repo repository schema "
    "script server string syntax variable"
)
THOUGHT = _words(
    "analyse analysis analyze architecture argue assess audit compare complex comprehensive concurrency "
    "contrast critique debug deduce derive design detailed diagnose distributed evaluate evaluation explain "
    "hypothesis implications improve integral investigate justify migrate migration optimise optimization "
    "optimize plan prioritise proof prove rationale reason reasoning refactor review root scalable security "
    "solve step strategy tradeoff tradeoffs vulnerabilities why"
)
_TELLING = CODE | OFTEN_CODE | THOUGHT
# Letters become small, and everything that is no letter or digit of ASCII a blank.
_PLAIN = bytes(ord(chr(byte).lower()) if byte < 128 and chr(byte).isalnum() else 32 for byte in range(256))


class Analysis(Struct, frozen=True):
    """What a request is."""

    # About how many go in, of whoever's.
    input_tokens: int
    coding: bool
    # Simple, moderate or complex.
    complexity: Complexity.ValueType
    # What the estimate is made of; None where the analysis was made by hand.
    count: Count | None = None


def analyse(request: GenerateRequest) -> Analysis:
    """What the request is; of its difficulty, what the caller says goes first."""
    count = count_tokens(request)
    tokens = count.tokens
    asked = asked_of(request)
    data = _excerpt(asked)
    words = _TELLING.intersection(data.translate(_PLAIN).split())
    complexity = request.routing.complexity
    if complexity == COMPLEXITY_UNSPECIFIED:
        complexity = _complexity(request, count, tokens, asked, words)
    return Analysis(tokens, _is_coding(request, data, words), complexity, count)


def asked_of(request: GenerateRequest) -> str:
    """The last text that a user says. Empty = none does."""
    if request.prompt:
        return request.prompt
    for message in reversed(request.messages):
        if message.role == ROLE_USER and (text := _text(message)):
            return text
    return ""


def _text(message: Message) -> str:
    parts = message.parts
    return parts[0].text if len(parts) == 1 else "\n".join([part.text for part in parts if part.text])


def _excerpt(text: str) -> bytes:
    return (text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}").encode()


def _is_coding(request: GenerateRequest, asked: bytes, words: frozenset[bytes]) -> bool:
    if _FENCE in asked or not words.isdisjoint(CODE) or len(words & OFTEN_CODE) > 1:
        return True
    if (len(asked) - len(asked.translate(None, SIGNS))) * ONE_IN >= max(len(asked), 2 * ONE_IN):
        return True
    instructions = _instructions(request)[:INSTRUCTIONS]
    return instructions != "" and not CODE.isdisjoint(instructions.encode().translate(_PLAIN).split())


def _instructions(request: GenerateRequest) -> str:
    if request.system_instruction or not request.messages:
        return request.system_instruction
    first = request.messages[0]
    return _text(first) if first.role == ROLE_SYSTEM else ""


def _complexity(
    request: GenerateRequest, count: Count, tokens: int, asked: str, words: frozenset[bytes]
) -> Complexity.ValueType:
    # What is asked is no more than the whole; and of what is alone, nearly all there is.
    size = count.text if request.prompt or count.text <= SIMPLE_ASKED else count_text(asked)
    points = min(2, len(words & THOUGHT)) + (size > ASKED) + (size > MUCH_ASKED) + (tokens > MUCH)
    points += count.has_tools + 2 * (request.config.thinking.effort in MUCH_THINKING)
    if points >= COMPLEX:
        return COMPLEXITY_COMPLEX
    return COMPLEXITY_MODERATE if points or size > SIMPLE_ASKED else COMPLEXITY_SIMPLE
