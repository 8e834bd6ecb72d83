"""Rate-limit headers of every vendor as one snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects.limits import Limit, read_limits

DATE = {"date": "Mon, 08 Jun 2026 18:45:00 GMT"}

CASES = [
    (
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "29000",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [Limit("requests", 500, 499, 0.12), Limit("tokens", 30000, 29000, 360.0)],
    ),
    (
        {
            "anthropic-ratelimit-input-tokens-limit": "400000",
            "anthropic-ratelimit-input-tokens-remaining": "399000",
            "anthropic-ratelimit-input-tokens-reset": "2026-06-08T18:45:39Z",
            **DATE,
        },
        [Limit("input_tokens", 400000, 399000, 39.0)],
    ),
    (
        {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-reset": "soon"},
        [Limit("requests", 50)],
    ),
    (
        {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1780944360000", **DATE},
        [Limit("requests", 20, 0, 60.0)],
    ),
    (
        {"x-ratelimit-limit-tokens-prompt": "9", "x-ratelimit-remaining-tokens-generated": "8"},
        [Limit("input_tokens", 9), Limit("output_tokens", None, 8)],
    ),
    ({"x-ratelimit-limit-req-minute": "30", "x-ratelimit-remaining-req-minute": "29"}, [Limit("requests", 30, 29)]),
    ({"x-ratelimit-limit-requests": "8", "x-ratelimit-reset-requests": "1h2m3s"}, [Limit("requests", 8, None, 3723.0)]),
    ({"x-ratelimit-limit-requests": "8", "x-ratelimit-reset-requests": "7"}, [Limit("requests", 8, None, 7.0)]),
    ({"content-type": "application/json", "x-ratelimit-over-limit": "no"}, []),
]


@pytest.mark.parametrize(("headers", "limits"), CASES)
def test_headers_of_every_vendor(headers: dict[str, str], limits: list[Limit]) -> None:
    assert read_limits(headers) == limits


NAMES = st.sampled_from(sorted({name for headers, _ in CASES for name in headers}))


@given(st.dictionaries(NAMES, st.text(max_size=24)))
def test_nothing_that_a_vendor_says_is_an_error(headers: dict[str, str]) -> None:
    for limit in read_limits(headers):
        assert limit.reset_after is None or limit.reset_after >= 0
