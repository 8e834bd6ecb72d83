"""Scrubbing providers' words: nothing key-shaped gets through, what is not key-shaped does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects.scrub import scrub

# Made up, in the shapes of real ones.
KEYS = [
    "sk-proj-Ab1_Cd2-Ef3Gh4Ij5Kl6Mn7Op8",
    "sk-ant-api03-AbCdEf-GhIjKl",
    "sk-or-v1-0123456789abcdef",
    "sk-abcd********wxyz",
    "gsk_AbCdEfGhIjKlMnOp",
    "xai-AbCdEfGhIjKlMnOp",
    "pplx-0123456789abcdef",
    "hf_AbCdEfGhIjKl",
    "csk-abcdefghijkl",
    "ghp_AbCdEfGhIjKl",
    "github_pat_11AAAAAA0abcdef",
    "AIzaSyA-0123456789abcdefghijklmnopqrstu",
    "AQ.Ab8RN6K_0123456789abcdefghij",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w",
    "0123456789abcdef0123456789abcdef",
    "AbCd1234EfGh5678IjKl9012MnOp3456QrSt7890",
    "5bfd0532-8fa8-4e41-8eda-16a9a73a8d6d",
    "aB3_dE5-gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5dE",
]
WORDS = [
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
    "accounts/fireworks/models/llama-v3p1-8b-instruct",
    "claude-3-5-sonnet-20241022",
    "functions.get_current_weather_in_celsius_v2_and_more",
    "ResponsibleAIPolicyViolation",
    "max_completion_tokens",
    "desk-lamp, task-force, risk-free",
    "Limit 30000, Requested 40321.",
    "messages[0]: unknown variant `image_url`, expected `text` at line 1 column 391",
    "https://platform.openai.com/docs/guides/error-codes/api-errors",
    "déjà 🚂",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_does_not_get_through(key: str) -> None:
    for said in (f"bad key {key} here", f'{{"key":"{key}"}}', f"({key}).", f"Authorization: Bearer {key}", key):
        scrubbed = scrub(said)
        assert key not in scrubbed
        assert "***" in scrubbed
        assert not any(piece in scrubbed for piece in key.split("*") if len(piece) >= 8)


@pytest.mark.parametrize(
    "label", ["api_key=", "API key: ", '"api-key": "', "api key provided: ", "password=", "secret: "]
)
def test_what_is_labelled_as_a_secret_does_not_get_through(label: str) -> None:
    assert "hunter2" not in scrub(f"wrong {label}hunter2, try again")
    assert "try again" in scrub(f"wrong {label}hunter2, try again")


@pytest.mark.parametrize("words", WORDS)
def test_other_words_get_through(words: str) -> None:
    assert scrub(f"It is {words}") == f"It is {words}"


def test_it_is_one_line() -> None:
    assert scrub("\n a\r\n\tb\x00\x1b[31mc\x85 ") == "a b [31mc"


def test_it_is_cut_between_characters() -> None:
    assert scrub("é" * 2000) == "é" * 512
    assert scrub("x" + "🚂" * 2000) == "x" + "🚂" * 255


@pytest.mark.parametrize("at", range(8100, 8230, 3))
def test_a_key_that_is_cut_off_does_not_get_through(at: int) -> None:
    said = (("sk-" + "ab12" * 100 + " ") * 100)[:at] + " 0123456789abcdef0123456789abcdef"
    assert "0123456789" not in scrub(said)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert scrub("a\ud83db") == "a?b"


@pytest.mark.parametrize("evil", ["a", "eyJ", "bearer ", "1a-", "A1", "api key ", "api_key:", "eyJaaaaaaaa.", "\n"])
def test_it_takes_little_time_for_anything(evil: str) -> None:
    start = time.process_time()
    scrub(evil * 1_000_000)
    assert time.process_time() - start < 0.25


@given(st.text(st.characters(codec=None)))
def test_it_is_utf8_of_at_most_a_kilobyte(text: str) -> None:
    scrubbed = scrub(text).encode()
    assert len(scrubbed) <= 1024
    assert not {*range(32), 127} & {*scrubbed}
