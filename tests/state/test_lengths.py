"""Lengths of answers and corrections of estimates, as finished calls teach them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import Usage
from trunkline_server.state.lengths import LATEST, LEAST, MAX_KNOWN, Lengths
from trunkline_server.state.statistics import Finished

MODEL = "openai/gpt-4o"


def finished(usage: Usage | None, model: str = MODEL, **more: Any) -> Finished:
    values = {"result": "success", "interrupted": False, "attempts": 1, "total_time": 1.0, "time_to_first_token": None}
    return Finished(provider="openai", model=model, usage=usage, **{**values, **more})


def told(lengths: Lengths, *outputs: int, task: str = "", model: str = MODEL) -> Lengths:
    for output in outputs:
        lengths.record(finished(Usage(output_tokens=output), model, task=task))
    return lengths


def test_the_median_of_the_latest_answers() -> None:
    lengths = told(Lengths(), 10, 20, 30, 40)
    assert lengths.output(MODEL) is None
    assert told(lengths, 1000).output(MODEL) == 30
    assert told(lengths, *[7] * LATEST).output(MODEL) == 7


def test_a_task_has_its_own_and_until_then_that_of_the_model() -> None:
    lengths = told(Lengths(), *[100] * 20)
    told(lengths, *[5] * (LEAST - 1), task="simple")
    assert lengths.output(MODEL, "simple") == 100
    told(lengths, 5, task="simple")
    assert lengths.output(MODEL, "simple") == 5
    assert lengths.output(MODEL, "another") == 100
    assert lengths.output("openai/another") is None


def test_what_the_provider_did_not_tell_teaches_nothing() -> None:
    lengths = Lengths()
    for _ in range(LEAST):
        lengths.record(finished(Usage(input_tokens=900)))
        lengths.record(finished(None, estimated=900))
        lengths.record(finished(Usage(input_tokens=2000, output_tokens=7), result="error", estimated=1000))
    assert lengths.output(MODEL) is None
    assert lengths.correction(MODEL) == 1.0


@pytest.mark.parametrize("ratio", [0.6, 0.9, 1.0, 1.3, 2.0])
def test_the_correction_comes_to_what_the_models_tokenizer_does(ratio: float) -> None:
    lengths, dice = Lengths(), Random(7)
    for _ in range(500):
        estimated = dice.randint(50, 5000)
        lengths.record(
            finished(Usage(input_tokens=round(estimated * ratio * dice.uniform(0.9, 1.1))), estimated=estimated)
        )
    assert lengths.correction(MODEL) == pytest.approx(ratio, rel=0.03)
    assert lengths.correction("openai/another") == 1.0


def test_it_follows_a_model_that_changes_its_tokenizer() -> None:
    lengths = Lengths()
    for ratio in (1.0, 1.4):
        for _ in range(500):
            lengths.record(finished(Usage(input_tokens=round(2000 * ratio)), estimated=2000))
    assert lengths.correction(MODEL) == pytest.approx(1.4, rel=0.02)


def test_what_a_provider_put_into_the_prompt_is_no_matter_of_its_tokenizer() -> None:
    lengths = Lengths()
    for _ in range(100):
        lengths.record(finished(Usage(input_tokens=21_819), estimated=110))
    assert lengths.correction(MODEL) == 1.0


def test_names_come_from_callers_and_only_so_many_are_known() -> None:
    lengths = told(Lengths(), *[1] * LEAST, model="first")
    for number in range(3 * MAX_KNOWN):
        told(lengths, *[9] * 2, model=f"m{number}", task="t")
        told(lengths, 1, model="first")
    assert lengths.output("first") == 1
    assert len(lengths._answers) == MAX_KNOWN


@given(st.lists(st.integers(0, 10**9), min_size=LEAST, max_size=100))
def test_the_median_is_one_of_the_latest(outputs: list[int]) -> None:
    latest = outputs[-LATEST:]
    median = told(Lengths(), *outputs).output(MODEL)
    assert median == sorted(latest)[len(latest) // 2]
