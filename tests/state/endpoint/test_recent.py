from __future__ import annotations

import pytest

from trunkline_server.state.endpoint.fading import FORGETTING
from trunkline_server.state.endpoint.recent import MOST_KINDS, Pace, Recent

STREAM, WHOLE = ("m", True), ("m", False)


def of(recent: Recent, kind: tuple[str, bool] = STREAM) -> Pace:
    model, streaming = kind
    return recent.pace(model, streaming=streaming)


def answered(recent: Recent, now: float, seconds: float = 0.5, kind: tuple[str, bool] = STREAM) -> None:
    of(recent, kind).begin("call", now - seconds)
    recent.first_token("call", of(recent, kind), now)
    recent.succeeded(now)


def failed(recent: Recent, now: float) -> None:
    of(recent).begin("call", now)
    recent.failed("call", of(recent), now)


def test_ten_failures_are_most_of_it_and_are_forgotten() -> None:
    recent = Recent()
    assert (recent.success(0.0), recent.error_rate(0.0)) == (1.0, None)
    for _ in range(10):
        failed(recent, 100.0)
    assert recent.success(100.0) == pytest.approx(0.9**10)
    assert recent.success(100.0 + 5 * FORGETTING) > 0.99
    for _ in range(20):
        answered(recent, 101.0)
    assert recent.success(101.0) > 0.9


def test_the_error_rate_is_of_the_last_minute() -> None:
    recent = Recent()
    failed(recent, 100.0)
    answered(recent, 101.0)
    assert recent.error_rate(102.0) == 0.5
    assert (recent.failed_at, recent.succeeded_at) == (100.0, 101.0)
    assert recent.error_rate(165.0) is None


def test_calls_that_should_have_begun_by_now_count_as_failed() -> None:
    recent = Recent()
    for number in range(20):
        answered(recent, 100.0 + number)
    for number in range(10):
        of(recent).begin(number, 130.0)
    assert recent.success(131.9) == pytest.approx(1.0, abs=0.01)
    assert recent.success(132.1) == pytest.approx(0.9**10, abs=0.01)
    of(recent).withdrawn(0)
    assert recent.success(132.1) == pytest.approx(0.9**9, abs=0.01)
    recent.first_token(1, of(recent), 133.0)
    assert recent.success(133.0) < 0.9**8


def test_whole_answers_and_other_models_are_no_measure_for_a_stream() -> None:
    recent = Recent()
    for number in range(20):
        answered(recent, 100.0 + number)
        answered(recent, 100.0 + number, 40.0, WHOLE)
        answered(recent, 100.0 + number, 30.0, ("slow", True))
    assert of(recent).median(130.0) == pytest.approx(0.5, rel=0.02)
    assert of(recent, WHOLE).median(130.0) == pytest.approx(40.0, rel=0.02)
    assert of(recent).is_overdue(100.0, 103.0)
    assert not of(recent, WHOLE).is_overdue(100.0, 103.0)
    p50, p95 = recent.first_tokens(130.0) or (0.0, 0.0)
    assert p50 == pytest.approx(0.5, rel=0.02)
    assert p95 == pytest.approx(30.0, rel=0.02)


def test_callers_cannot_make_it_grow_for_ever() -> None:
    recent = Recent()
    for number in range(MOST_KINDS + 50):
        answered(recent, 100.0, kind=(f"model-{number}", True))
    assert len(recent._paces) == MOST_KINDS + 1
