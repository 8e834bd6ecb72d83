"""Estimates of tokens against what providers counted of recorded requests. The recordings are not in the repository.

The shapes of families were read off the same recordings, so this holds them to it and proves no more.
"""

from __future__ import annotations

from statistics import median

import pytest
from recorded_usage import CORPUS, Recorded, recorded

from trunkline_server.routing.tokens import count_tokens
from trunkline_server.routing.window import MARGIN

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]


def of_words() -> list[Recorded]:
    """Those whose count hangs on nothing but words: no media, nothing that the provider looked up and read."""
    return [
        each
        for each in recorded()
        if not count_tokens(each.request).media
        and "server_tools_offered" not in each.features
        and not each.usage.other_units.get("tool_use_prompt_tokens")
    ]


def errors(least: int) -> list[float]:
    """By how much estimates are off, of requests with so many tokens and more."""
    return [
        abs(count_tokens(each.request).at(each.family) / each.usage.input_tokens - 1)
        for each in of_words()
        if each.usage.input_tokens >= least and not is_hidden(each)
    ]


def is_hidden(each: Recorded) -> bool:
    """What goes in is many times what was sent: the provider put more into it (an address that it read, say)."""
    return each.usage.input_tokens > 8 * each.request.ByteSize()


def test_there_is_something_to_compare() -> None:
    assert len(of_words()) > 100


def test_estimates_are_near_what_was_counted() -> None:
    assert median(errors(0)) < 0.2
    assert median(errors(1000)) < 0.1


def test_no_large_prompt_is_thought_larger_than_the_margin_allows() -> None:
    for each in of_words():
        if each.usage.input_tokens > 1000:
            assert count_tokens(each.request).at(each.family) < each.usage.input_tokens * MARGIN, each.id
