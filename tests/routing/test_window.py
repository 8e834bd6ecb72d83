"""What fits into a window, and what an estimate may not refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import row

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline_server.routing.tokens import Count, count_tokens
from trunkline_server.routing.window import Fit, fits, may_outgrow, too_long

SMALL = row("a/small", window=8192, max_output=4096)
ORDER = [Fit.FITS, Fit.DOUBTFUL, Fit.TOO_LONG]


@pytest.mark.parametrize(
    ("tokens", "max_output", "exact", "expected"),
    [
        (8192, None, False, Fit.FITS),
        (8193, None, False, Fit.DOUBTFUL),
        (8193, None, True, Fit.TOO_LONG),
        (12288, None, False, Fit.DOUBTFUL),
        (12289, None, False, Fit.TOO_LONG),
        (8000, 192, False, Fit.FITS),
        (8000, 193, False, Fit.DOUBTFUL),
        # It gives 4,096 at most, whatever is asked for.
        (4096, 100_000, False, Fit.FITS),
        (6145, 100_000, False, Fit.TOO_LONG),
    ],
)
def test_what_fits(tokens: int, max_output: int | None, exact: bool, expected: Fit) -> None:
    assert fits(tokens, SMALL, max_output, exact=exact) is expected


def test_a_window_that_nobody_knows_refuses_nothing() -> None:
    assert fits(10**9, row("a/b"), 10**9) is Fit.FITS


def test_where_nobody_knows_what_comes_out_at_most_what_is_asked_for_counts() -> None:
    assert fits(1000, row("a/b", window=8192), 7192) is Fit.FITS
    assert fits(1000, row("a/b", window=8192), 8192) is Fit.TOO_LONG


@given(st.integers(0, 20000), st.integers(0, 20000), st.integers(1, 9000), st.integers(0, 9000))
def test_longer_never_fits_better_and_larger_never_worse(tokens: int, more: int, window: int, wider: int) -> None:
    here = replace(SMALL, window=window)
    before = ORDER.index(fits(tokens, here, 100))
    assert ORDER.index(fits(tokens + more, here, 100)) >= before
    assert ORDER.index(fits(tokens, replace(here, window=window + wider), 100)) <= before
    assert ORDER.index(fits(tokens, here, 50)) <= before


@given(st.text(max_size=300), st.integers(64, 2000))
def test_what_may_not_outgrow_a_window_fits_into_it(text: str, window: int) -> None:
    request, model = GenerateRequest(prompt=text), row("a/b", window=window)
    if not may_outgrow(request, model):
        assert fits(count_tokens(request).text, model) is not Fit.TOO_LONG


def test_what_may_outgrow_a_window_has_to_be_counted() -> None:
    assert not may_outgrow(GenerateRequest(prompt="a" * 8000), SMALL)
    assert may_outgrow(GenerateRequest(prompt="a" * 8200), SMALL)
    assert may_outgrow(GenerateRequest(prompt="a" * 8000, config=GenerationConfig(max_output_tokens=500)), SMALL)
    assert not may_outgrow(GenerateRequest(prompt="a" * 8200), row("a/b"))


def test_whom_nobody_can_take_is_told_by_name_and_how_long_it_is() -> None:
    error = too_long(Count(50_000), [SMALL, row("a/large", window=16_384), row("a/b")], 1000)
    assert error.reason == call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED
    assert error.message.startswith("the request has about 50008 tokens, and 1000 more may come out")
    assert "16384 tokens (a/large)" in error.message
    assert "config.max_output_tokens" in error.message
    assert error.resource == "a/large"
