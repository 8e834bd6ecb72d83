"""The judges are not bribed: a sound record passes, and each thing that may go wrong is seen by the right one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from chaos import cancels
from chaos.answers import flaw, say
from chaos.invariants import GROWTH, STEADY, problems, starved
from chaos.records import Held, Made, Run, Seen, Trouble

from trunkline.v1 import call_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    Doctor = Callable[[Run], object]

HELD = Held({"serve": 1}, registered=1, files=20, sockets=5, queued=0, memory=80 << 20)


def answered(number: str, provider: str, began: float, took: float = 0.02) -> Made:
    return Made(
        number, provider, streaming=True, timeout=2.0, began=began, ended=began + took, outcomes=["answer"],
        text="".join(say(number, provider, 5)), served_by=provider,
    )  # fmt: skip


def sound() -> Run:
    """A run in which everything went as it should; the first call is an answer, the second broke off."""
    run = Run(1, strict=False, default_deadline=2.0, chaos_since=10.0, before=HELD, after=HELD, exit_code=0)
    run.calls = [
        answered("c0", "alpha", 1.0),
        Made(
            "c1",
            "beta",
            True,
            2.0,
            None,
            1.0,
            1.5,
            ["error"],
            "c1:beta:0 c1:b",
            "beta",
            "ABORTED",
            "STREAM_INTERRUPTED",
        ),
        Made("c2", "beta", False, 0.3, None, 1.0, 1.3, ["deadline"]),
        *(answered(f"c{3 + n}", STEADY, n / 10) for n in range(60)),
        *(answered(f"c{63 + n}", STEADY, 10 + n / 10) for n in range(60)),
    ]
    run.troubles = [Trouble(10.0, 17.0, "alpha", "stopped")]
    run.seen = [Seen(call.provider, "asked", call.number, call.began) for call in run.calls]
    outcomes = {
        "answer": call_pb2.OUTCOME_SUCCESS,
        "deadline": call_pb2.OUTCOME_TIMEOUT,
        "error": call_pb2.OUTCOME_INTERRUPTED,
    }
    for call in run.calls:
        row = {"n": call.number, "call_id": call.number, "provider": call.provider, "duration": 20_000}
        run.attempts.append({**row, "attempt": 1, "outcome": outcomes[call.outcomes[0]]})
        run.ended.append({**row, "attempts": 1, "result": {"answer": "success"}.get(call.outcomes[0], "error")})
    run.memory = [(float(second), 80 << 20) for second in range(30)]
    return run


def twice(rows: list[dict[str, object]]) -> None:
    rows.append(rows[0])


DOCTORED: dict[str, tuple[Doctor, str]] = {
    "no outcome": (lambda run: run.calls[0].outcomes.clear(), "one_outcome: c0"),
    "two outcomes": (lambda run: run.calls[0].outcomes.append("error"), "one_outcome: c0"),
    "cancelled by nobody": (lambda run: run.calls[0].outcomes.__setitem__(0, "cancelled"), "one_outcome: c0"),
    "ended without completed": (lambda run: run.calls[0].outcomes.__setitem__(0, "as if whole"), "one_outcome: c0"),
    "late for its caller": (lambda run: setattr(run.calls[0], "ended", 3.3), "none_late: c0 ended"),
    "late with the gateway's deadline": (
        lambda run: run.calls.__setitem__(0, replace(run.calls[0], timeout=None, ended=3.3)),
        "none_late: c0 ended",
    ),
    "late in the gateway": (lambda run: run.ended[0].update(duration=2_300_000), "none_late: c0 ran"),
    "truncated": (lambda run: setattr(run.calls[0], "text", "c0:alpha:0 "), "none_mangled: c0"),
    "another call's": (lambda run: setattr(run.calls[0], "text", run.calls[9].text), "none_mangled: c0"),
    "a beginning with a hole": (lambda run: setattr(run.calls[1], "text", "c1:beta:0 c1:beta:2"), "none_mangled: c1"),
    "out of order": (lambda run: setattr(run.calls[0], "disorder", "started twice"), "none_mangled: c0"),
    "told as another's": (lambda run: setattr(run.calls[0], "served_by", "gamma"), "none_mangled: c0"),
    "a bug told as an error": (lambda run: setattr(run.calls[1], "reason", "INTERNAL"), "honest_errors: c1"),
    "an error without a reason": (lambda run: setattr(run.calls[1], "reason", ""), "honest_errors: c1"),
    "broken off, but told as if nothing had been sent": (
        lambda run: setattr(run.calls[1], "reason", "ALL_PROVIDERS_FAILED"),
        "honest_errors: c1",
    ),
    "asked and not written down": (lambda run: run.attempts.pop(0), "accounted: alpha"),
    "asked twice and written down once": (lambda run: run.seen.append(run.seen[0]), "accounted: alpha"),
    "written down and never asked": (lambda run: run.seen.pop(0), "accounted: alpha"),
    "asked and told as not sent": (
        lambda run: run.attempts[0].update(outcome=call_pb2.OUTCOME_NOT_CONNECTED),
        "accounted: alpha",
    ),
    "an attempt twice": (lambda run: twice(run.attempts), "true_ledger: attempt c0 1 stands 2"),
    "a call twice": (lambda run: twice(run.ended), "true_ledger: call c0 stands 2"),
    "still open": (lambda run: run.attempts[0].update(duration=None), "true_ledger: attempt c0 is still open"),
    "an attempt without its call": (lambda run: run.ended.pop(0), "true_ledger: attempt c0 has no call"),
    "attempts miscounted": (lambda run: run.ended[0].update(attempts=0), "true_ledger: c0 is said"),
    "sums that differ": (lambda run: run.ledger_problems.append("by day"), "true_ledger: by day"),
    "an answer that counts as an error": (lambda run: run.ended[0].update(result="error"), "true_ledger: c0 ended"),
    "a task left": (lambda run: setattr(run, "after", HELD._replace(tasks={"serve": 2})), "nothing_left: tasks"),
    "a task registered": (lambda run: setattr(run, "after", HELD._replace(registered=2)), "nothing_left: registered"),
    "a socket left": (lambda run: setattr(run, "after", HELD._replace(sockets=6)), "nothing_left: sockets"),
    "files left": (lambda run: setattr(run, "after", HELD._replace(files=60)), "nothing_left: files"),
    "rows in the queue": (lambda run: setattr(run, "after", HELD._replace(queued=1)), "nothing_left: queued"),
    "a place at an endpoint": (lambda run: setattr(run, "in_flight", 1), "nothing_left: 1 calls"),
    "a gateway that crashed": (lambda run: setattr(run, "exit_code", -6), "nothing_left: the gateway ended"),
    "a gateway that nobody saw": (lambda run: setattr(run, "after", None), "nothing_left: the gateway was not"),
    "growth": (lambda run: run.memory.append((31.0, (81 << 20) + GROWTH)), "no_growth"),
    "a loop that was busy": (
        lambda run: setattr(run, "after", HELD._replace(turns=[[0.32, 0.31, 0.0, 9.0, "x.py:1 f"]])),
        "never_blocked: the loop was busy for 0.310 s",
    ),
    "a bug in the log": (lambda run: run.said.append("bug"), "nothing_said"),
    "a healthy provider without an answer": (
        lambda run: run.calls[3].outcomes.__setitem__(0, "deadline"),
        "healthy_answers: c3",
    ),
    "a healthy provider that is slowed down": (
        lambda run: run.calls.extend([replace(call, ended=call.began + 0.3) for call in run.calls[63:]]),
        "no_shared_fate",
    ),
}


def test_a_sound_run_has_no_problems() -> None:
    assert problems(sound()) == []


@pytest.mark.parametrize("name", DOCTORED)
def test_each_invariant_can_fail(name: str) -> None:
    doctor, problem = DOCTORED[name]
    run = sound()
    doctor(run)
    assert any(found.startswith(problem) for found in problems(run)), problems(run)


def test_a_loop_that_waits_for_the_machine_or_starts_is_not_blocked() -> None:
    run, starting = sound(), [0.4, 0.4, 0.1, 1.0, "app.py:1 start"]
    run.before = HELD._replace(turns=[starting])
    run.after = HELD._replace(turns=[starting, [0.5, 0.01, 0.0, 9.0, ""], [0.01, 0.5, 0.0, 9.0, ""]])
    assert problems(run) == []


def test_what_the_machine_does_is_not_the_gateways_fault() -> None:
    run = sound()
    run.calls[0].ended = 3.4
    run.starved = [(0.0, 0.0), (2.9, 0.1), (3.5, 0.3)]
    assert problems(run) == []
    assert starved(run.starved, 3.0, 3.4) == pytest.approx(0.2)
    assert starved(run.starved, 0.1, 2.0) == pytest.approx(0.1)
    assert starved([], 0.0, 1.0) == 0.0


ANSWER = "".join(say("c1", "p", 4))


def test_an_answer_proves_itself() -> None:
    assert flaw("c1", ANSWER, whole=True) == ""
    assert all(flaw("c1", ANSWER[:end], whole=False) == "" for end in range(len(ANSWER) + 1))


@pytest.mark.parametrize("end", range(len(ANSWER)))
def test_no_beginning_of_an_answer_passes_for_the_whole(end: int) -> None:
    assert flaw("c1", ANSWER[:end], whole=True)


@pytest.mark.parametrize("place", range(len(ANSWER)))
def test_no_changed_or_lost_byte_goes_unseen(place: int) -> None:
    changed = ANSWER[:place] + chr(ord(ANSWER[place]) ^ 1) + ANSWER[place + 1 :]
    assert flaw("c1", changed, whole=True)
    assert flaw("c1", ANSWER[:place] + ANSWER[place + 1 :], whole=True)


def all_cancelled() -> cancels.Cancelled:
    return cancels.Cancelled(2, left={"s0": 1.0, "s1": 2.0}, gone={"s0": 1.01, "s1": 2.09}, before=HELD, after=HELD)


CANCELS: dict[str, tuple[Callable[[cancels.Cancelled], object], str]] = {
    "slow": (lambda record: record.gone.update(s1=2.11), "s1 ended at the provider after 0.110 s"),
    "never": (lambda record: record.gone.pop("s1"), "s1 was cancelled and the provider never saw it"),
    "over before": (lambda record: record.ended.append("s1"), "s1 ended before"),
    "too few": (lambda record: setattr(record, "streams", 3), "only 2 streams"),
    "sockets": (lambda record: setattr(record, "after", HELD._replace(sockets=7)), "sockets: 5 before, 7 after"),
}


def test_cancels_that_went_well_have_no_problems() -> None:
    assert cancels.problems(all_cancelled()) == []


@pytest.mark.parametrize("name", CANCELS)
def test_cancels_that_went_ill_are_seen(name: str) -> None:
    doctor, problem = CANCELS[name]
    record = all_cancelled()
    doctor(record)
    assert any(problem in found for found in cancels.problems(record)), cancels.problems(record)
