"""What answers used, in the contract's meaning, however hosts count: each case is the arithmetic of one of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects import openai_chat
from trunkline_server.fold import fold

COUNTS = st.none() | st.integers(0, 30) | st.just((1 << 63) - 1)


def used(usage: Any) -> dict[str, Any]:
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": usage}
    answer = fold(openai_chat.decode_response(json.dumps(body).encode()))
    plain = MessageToDict(answer.usage, preserving_proto_field_name=True)
    return {name: value if isinstance(value, dict) else int(value) for name, value in plain.items()}


def said(prompt: int, completion: int, total: int | None, **more: Any) -> Any:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total} | more


def details(prompt: Any = None, **completion: int) -> Any:
    return {"prompt_tokens_details": prompt, "completion_tokens_details": completion}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"prompt_tokens": 3}, {"input_tokens": 3}, id="input_only"),
        pytest.param(
            said(9, 5, 14, **details({"cached_tokens": 4}, reasoning_tokens=2)),
            {"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 4, "reasoning_output_tokens": 2},
            id="openai",
        ),
        pytest.param(
            said(9, 5, 16, **details({"cached_tokens": 4}, reasoning_tokens=2)),
            {"input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": 4, "reasoning_output_tokens": 2},
            id="xai_reasoning_beside_the_output",
        ),
        pytest.param(
            said(9, 5, None, **details(reasoning_tokens=8)),
            {"input_tokens": 9, "output_tokens": 13, "reasoning_output_tokens": 8},
            id="more_reasoning_than_output_and_no_total",
        ),
        pytest.param(
            said(9, 5, 14, **details(reasoning_tokens=8)),
            {"input_tokens": 9, "output_tokens": 5, "reasoning_output_tokens": 5},
            id="openrouter_reasoning_in_tokens_of_its_own",
        ),
        pytest.param(
            said(9, 5, 14, **details({"cached_tokens": 12})),
            {"input_tokens": 21, "output_tokens": 5, "cache_read_input_tokens": 12},
            id="grok_on_azure_cached_beside_the_input",
        ),
        pytest.param(
            said(9, 5, 44, **details({"audio_tokens": 30})),
            {"input_tokens": 39, "output_tokens": 5, "other_units": {"input_audio_tokens": "30"}},
            id="mistral_sound_beside_the_input",
        ),
        pytest.param(
            said(39, 5, 44, **details({"audio_tokens": 30}, audio_tokens=2)),
            {
                "input_tokens": 39,
                "output_tokens": 5,
                "other_units": {"input_audio_tokens": "30", "output_audio_tokens": "2"},
            },
            id="openai_sound_in_the_input",
        ),
        pytest.param(
            {"completion_tokens": 5, "prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 4},
            {"input_tokens": 7, "output_tokens": 5, "cache_read_input_tokens": 3},
            id="deepseek_hits_and_misses",
        ),
        pytest.param(
            said(9, 5, 14, cached_tokens=2),
            {"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 2},
            id="together",
        ),
        pytest.param(
            said(9, 5, 14, **details({"cached_tokens": 2, "cache_write_tokens": 6})),
            {"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 2, "cache_write_input_tokens": 6},
            id="openrouter_writes",
        ),
        pytest.param(
            said(9, 5, 14, cache_read_input_tokens=0, cache_creation_input_tokens=6),
            {"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 0, "cache_write_input_tokens": 6},
            id="litellm",
        ),
        pytest.param(
            said(9, 5, 14, num_search_queries=2, citation_tokens=7, reasoning_tokens=3),
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "reasoning_output_tokens": 3,
                "other_units": {"search_queries": "2", "citation_tokens": "7"},
            },
            id="perplexity",
        ),
    ],
)
def test_usage_in_the_contracts_meaning(usage: Any, expected: Any) -> None:
    assert used(usage) == expected


@given(prompt=COUNTS, completion=COUNTS, total=COUNTS, cached=COUNTS, written=COUNTS, reasoning=COUNTS, audio=COUNTS)
def test_parts_are_never_more_than_the_whole(
    prompt: Any, completion: Any, total: Any, cached: Any, written: Any, reasoning: Any, audio: Any
) -> None:
    inner = {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio}
    usage = used(said(prompt, completion, total, **details(inner, reasoning_tokens=reasoning)))
    assert ("input_tokens" in usage) == (prompt is not None)
    assert ("output_tokens" in usage) == (completion is not None)
    if completion is not None:
        assert usage["output_tokens"] >= max(completion, usage.get("reasoning_output_tokens", 0))
    if prompt is not None:
        most = (1 << 63) - 1
        assert usage["input_tokens"] >= min(most, max(prompt, (cached or 0) + (written or 0)))
