"""Estimates of tokens: of what, how large, and how fast."""

from __future__ import annotations

import asyncio
import time
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1 import content_pb2
from trunkline.v1.content_pb2 import Media, Message, Part, ToolCall, ToolResult
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.routing import tokens
from trunkline_server.routing.tokens import LONGEST, MOST, Count, count_text, count_tokens, media_tokens

# Counted with o200k_base.
SENTENCES = [
    ("The quick brown fox jumps over the lazy dog.", 10),
    ("In the beginning was the Word, and the Word was with God, and the Word was God.", 20),
    ("def add(a: int, b: int) -> int:\n    return a + b\n", 18),
    ("SELECT name, price FROM products WHERE price < 100 ORDER BY name;", 15),
    ("Der schnelle braune Fuchs springt über den faulen Hund.", 13),
    ("Le vif renard brun saute par-dessus le chien paresseux.", 16),
    ("快速的棕色狐狸跳过了懒狗。", 11),
    ("素早い茶色の狐がのろまな犬を飛び越える。", 17),
    ("Быстрая коричневая лиса прыгает через ленивую собаку.", 13),
]


@pytest.mark.parametrize(("text", "tokens"), SENTENCES)
def test_a_sentence_is_near_what_a_tokenizer_says(text: str, tokens: int) -> None:
    assert count_text(text) == pytest.approx(tokens, rel=0.35)


@given(text=st.one_of(st.text(max_size=LONGEST // 4), st.sampled_from("a9\né中🙂").map(lambda each: each * 2000)))
def test_a_text_weighs_what_its_bytes_weigh(text: str) -> None:
    data = text.encode()
    each = [sum(data.count(byte) for byte in members) * weight for members, weight in tokens._WEIGHTS]
    assert count_text(text) == -(-sum(each) // 100)
    request = GenerateRequest(messages=[Message(parts=[said(text)]), Message(parts=[said(text)])])
    assert count_tokens(request).text == 2 * tokens.A_MESSAGE - (-2 * sum(each) // 100)


TEXTS = st.sampled_from(["", "a", "two words", "é", "中文", "{}"])
PARTS = st.lists(
    st.one_of(TEXTS.map(lambda text: Part(text=text)), st.just(Part()), TEXTS.map(lambda text: Part(refusal=text)))
)


@given(prompt=TEXTS, system=TEXTS, messages=st.lists(PARTS, max_size=3), tool=st.booleans(), schema=st.booleans())
def test_a_request_of_nothing_but_text_is_counted_as_every_other(
    prompt: str, system: str, messages: list[list[Part]], tool: bool, schema: bool
) -> None:
    request = GenerateRequest(prompt=prompt, system_instruction=system, messages=[Message(parts=p) for p in messages])
    if tool:
        request.tools.add()
    if schema:
        request.response_format.json_schema = '{"type": "object"}'
    counted = count_tokens(request)
    with patch.object(tokens, "_of_texts", return_value=None):
        assert count_tokens(request) == counted


def test_an_estimate_says_that_it_is_one() -> None:
    assert not count_tokens(GenerateRequest(prompt="Hello")).exact


def said(text: str) -> Part:
    return Part(text=text)


WORDS = "Some words that go into the prompt. "


@pytest.mark.parametrize(
    "more",
    [
        GenerateRequest(system_instruction=WORDS),
        GenerateRequest(messages=[Message(role=content_pb2.ROLE_USER, parts=[said(WORDS)])]),
        GenerateRequest(messages=[Message(parts=[Part(refusal=WORDS)])]),
        GenerateRequest(messages=[Message(parts=[Part(reasoning=content_pb2.Reasoning(text=WORDS))])]),
        GenerateRequest(messages=[Message(parts=[Part(tool_call=ToolCall(name="f", arguments_json=WORDS))])]),
        GenerateRequest(messages=[Message(parts=[Part(tool_result=ToolResult(parts=[said(WORDS)]))])]),
        GenerateRequest(messages=[Message(parts=[Part(provider_part=content_pb2.ProviderPart(json=WORDS))])]),
        GenerateRequest(tools=[content_pb2.Tool(function=content_pb2.FunctionTool(description=WORDS))]),
        GenerateRequest(tools=[content_pb2.Tool(function=content_pb2.FunctionTool(parameters_json_schema=WORDS))]),
        GenerateRequest(tools=[content_pb2.Tool(provider_tool=content_pb2.ProviderTool(config_json=WORDS))]),
        GenerateRequest(response_format=content_pb2.ResponseFormat(json_schema=WORDS)),
    ],
    ids=str,
)
def test_all_that_goes_in_counts(more: GenerateRequest) -> None:
    request = GenerateRequest(messages=[Message(parts=[said("Hello.")])])
    before = count_tokens(request).text
    request.MergeFrom(more)
    assert count_tokens(request).text >= before + count_text(WORDS) - 1


def test_a_prompt_counts_as_the_message_that_it_is_short_for() -> None:
    message = Message(role=content_pb2.ROLE_USER, parts=[said(WORDS)])
    assert count_tokens(GenerateRequest(prompt=WORDS)) == count_tokens(GenerateRequest(messages=[message]))


@pytest.mark.parametrize(
    ("media", "tokens"),
    [
        (Media(mime_type="image/png", data=b"x" * 9_000_000), 1000),
        (Media(mime_type="image/png", data=b"x", detail=Media.DETAIL_LOW), 85),
        (Media(uri="https://host/cat"), 1000),
        (Media(mime_type="audio/wav", data=b"x" * 320_000), 320),
        (Media(mime_type="audio/wav", data=b"x"), 32),
        (Media(mime_type="text/plain", data=b"x" * 4000), 1000),
        (Media(mime_type="application/pdf", data=b"x" * 50_000), 2000),
        (Media(mime_type="application/pdf", uri="https://host/a.pdf"), 3000),
        (Media(mime_type="video/mp4", provider_file_id="file-1"), 10_000),
    ],
    ids=lambda value: str(value)[:40],
)
def test_media_count_by_rules(media: Media, tokens: int) -> None:
    assert media_tokens(media) == tokens
    request = GenerateRequest(messages=[Message(parts=[Part(media=media)])])
    assert count_tokens(request).media == tokens


def test_families_count_differently_and_media_are_nobodys_experience() -> None:
    count = Count(1000, media=500, has_tools=True)
    assert count.at("claude") == 1150 + 334 + 500
    assert count.at("claude", 1.5) == int((1150 + 334) * 1.5) + 500
    assert count.at("nobody's") == count.tokens == 1000 + 68 + 500


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@given(text, text)
def test_more_text_is_more_tokens(first: str, second: str) -> None:
    whole = count_text(first + second)
    assert max(count_text(first), count_text(second)) <= whole
    assert abs(count_text(first) + count_text(second) - whole) <= 1


@given(st.lists(st.sampled_from(["word ", "字", '{"a": 1}', "\n    ", "д"]), min_size=1, max_size=50))
def test_no_text_is_more_tokens_than_bytes(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert 0 < count_text(whole) <= len(whole.encode())


# --- large ones -------------------------------------------------------------------------------------------------------

PAGE = "\n".join(f"{number}. {text}" for number, (text, _) in enumerate(SENTENCES * 20))


@pytest.mark.parametrize("size", [LONGEST + 1, MOST, MOST * 4])
def test_samples_are_near_the_whole(size: int) -> None:
    whole = (PAGE * (size // len(PAGE) + 1))[:size]
    pieces = sum(count_text(whole[start : start + 1000]) for start in range(0, size, 1000))
    assert count_text(whole) == pytest.approx(pieces, rel=0.1)


@pytest.mark.parametrize("in_messages", [False, True])
def test_a_large_prompt_counts_the_same_however_it_is_said(in_messages: bool) -> None:
    whole = PAGE * 40
    request = GenerateRequest(prompt=whole)
    if in_messages:
        request = GenerateRequest(messages=[Message(parts=[said(whole[:9000]), said(whole[9000:])])])
    assert count_tokens(request).text == pytest.approx(count_text(whole), rel=0.1)


def test_what_is_not_looked_at_counts_like_what_was() -> None:
    many = GenerateRequest(messages=[Message(parts=[said(PAGE[:5000])]) for _ in range(60)])
    few = GenerateRequest(messages=[Message(parts=[said(PAGE[:5000])]) for _ in range(6)])
    assert count_tokens(many).text == pytest.approx(10 * count_tokens(few).text, rel=0.02)


@pytest.mark.parametrize("letter", ["a ", "字"])
async def test_counting_a_large_prompt_leaves_the_loop_to_others(letter: str) -> None:
    """Twenty prompts of some MiB each, one after the other; another task wants its turn all the while."""
    request = GenerateRequest(prompt=letter * (1 << 20))
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    for _ in range(20):
        count_tokens(request)
        await asyncio.sleep(0)
    ticking.cancel()
    assert len(gaps) >= 19
    # A pass over 3 MiB byte by byte takes longer than this; the median, for the machine may be busy.
    assert sorted(gaps)[len(gaps) // 2] < 0.005


def test_a_small_request_is_counted_in_microseconds() -> None:
    """About 5 us for 1 KiB on a quiet machine."""
    request = GenerateRequest(prompt=PAGE.encode("ascii", "ignore").decode()[:1024])
    took = min(_timed(request) for _ in range(5))
    assert took < 100e-6


def _timed(request: GenerateRequest) -> float:
    start = time.perf_counter()
    for _ in range(100):
        count_tokens(request)
    return (time.perf_counter() - start) / 100
