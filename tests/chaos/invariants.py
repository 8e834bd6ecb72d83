"""What must hold after any run, whatever was done to whom. Pure: each invariant tells what breaks it in a Run."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from chaos.answers import flaw, provider_of
from ledger_truth import stands_twice, still_open, without_a_call

from trunkline.v1 import call_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chaos.records import Held, Made, Run

# The provider that nothing is done to.
STEADY = "steady"
# Seconds after its deadline at which a call has ended at the latest.
GRACE = 0.25
# Seconds in which a call to a provider that is well is answered with certainty.
AMPLE = 1.4
# Seconds that a turn of the event loop may take on a machine that has other things to do: with a thousand streams a
# garbage collection takes 0.05 s (decisions/0004), and a full one, which is rare, all the longer.
BLOCK = 0.25
# How an attempt may have ended that the provider did not read, and how one has that was not sent.
UNREAD = {call_pb2.OUTCOME_INTERRUPTED, call_pb2.OUTCOME_CANCELLED, call_pb2.OUTCOME_TIMEOUT}
UNSENT = {call_pb2.OUTCOME_NOT_SENT, call_pb2.OUTCOME_NOT_CONNECTED}
# What a provider's trouble may be told as. Everything else would be a lie, or a bug.
HONEST = {
    "ALL_PROVIDERS_FAILED": False,
    "OVERLOADED": False,
    "CIRCUIT_OPEN": False,
    "DEADLINE_EXCEEDED": None,
    "STREAM_INTERRUPTED": True,
}
# Bytes that a gateway may have grown by since it was warm, and seconds until it is.
GROWTH = 24 << 20
WARM = 3.0
# Files that threads and the ledger's journals open once.
FILES = 8
# Seconds of a run in which growth means something.
LONG = 15.0
# The slowest hundredth of a healthy provider's calls while another is out: so many times its calm figure, and seconds.
SLOWER, MORE = 2.0, 0.1
# Calls below which the slowest hundredth means nothing.
ENOUGH = 50
OUT = {"killed", "stopped", "hung"}


def one_outcome(run: Run) -> Iterator[str]:
    """Every call ended in exactly one way."""
    for call in run.calls:
        if len(call.outcomes) != 1 or call.outcomes[0] not in ("answer", "error", "deadline", "cancelled"):
            yield f"{call.number} ended as {call.outcomes}"
        elif call.outcomes == ["cancelled"] and call.leaves is None:
            yield f"{call.number} was cancelled, and not by its caller"


def none_late(run: Run) -> Iterator[str]:
    """No call ends later than GRACE after its deadline, by its caller's clock and by the ledger."""
    calls = {call.number: call for call in run.calls}
    for call in run.calls:
        deadline = call.began + (call.timeout or run.default_deadline)
        late = call.ended - deadline - starved(run.starved, deadline, call.ended)
        if late > GRACE:
            yield f"{call.number} ended {late:.3f} s after its deadline"
    for row in run.ended:
        call = calls[row["n"]]
        allowed, took = call.timeout or run.default_deadline, row["duration"] / 1e6
        late = took - allowed - starved(run.starved, call.began, call.began + took)
        if late > GRACE:
            yield f"{call.number} ran for {took:.3f} s in the gateway and had {allowed:.3f} s"


def none_mangled(run: Run) -> Iterator[str]:
    """What looks whole is whole, what is not is the beginning of it, and who said it is told truly."""
    for call in run.calls:
        whole = "answer" in call.outcomes
        if (whole or call.text) and (found := flaw(call.number, call.text, whole=whole)):
            yield f"{call.number}: {found}"
        if call.disorder:
            yield f"{call.number}: {call.disorder}"
        if call.text and call.served_by != provider_of(call.text):
            yield f"{call.number} was said by {provider_of(call.text)} and is told as {call.served_by}'s"


def honest_errors(run: Run) -> Iterator[str]:
    """Errors have a reason that fits: whether a part of the answer was there already."""
    for call in run.calls:
        if call.outcomes != ["error"]:
            continue
        begun = HONEST.get(call.reason, ...)
        if begun is ... or (begun is not None and begun != bool(call.served_by)):
            yield f"{call.number} failed with {call.code} {call.reason or 'without a reason'}, text {call.text[:20]!r}"


def accounted(run: Run) -> Iterator[str]:
    """Each attempt that a provider saw is in the ledger exactly once, and no other but what it may have missed."""
    asked = Counter((seen.provider, seen.number) for seen in run.seen if seen.what == "asked")
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in run.attempts:
        rows[row["provider"], row["n"]].append(row["outcome"])
    for key in asked.keys() | rows.keys():
        outcomes = rows.get(key, [])
        most = sum(outcome not in UNSENT for outcome in outcomes)
        least = sum(outcome not in UNREAD for outcome in outcomes if outcome not in UNSENT)
        if not least <= asked[key] <= most:
            names = [call_pb2.Outcome.Name(outcome) for outcome in outcomes]  # type: ignore[arg-type]
            yield f"{key[0]} was asked {asked[key]} times for {key[1]}; the ledger has {names}"


def true_ledger(run: Run) -> Iterator[str]:
    """Nothing twice, nothing open, nothing by halves; and the ledger's calls ended as their callers saw it."""
    yield from stands_twice("attempt", run.attempts, "call_id", "attempt")
    yield from stands_twice("call", run.ended, "n")
    yield from still_open(run.attempts)
    yield from without_a_call(run.attempts, run.ended)
    yield from run.ledger_problems
    attempts = Counter(row["call_id"] for row in run.attempts)
    for row in run.ended:
        # Those that an endpoint did not take are counted and have no row: nothing was sent.
        if row["attempts"] < attempts[row["call_id"]]:
            yield f"{row['n']} is said to have had {row['attempts']} attempts and has {attempts[row['call_id']]}"
    yield from _as_callers_saw(run)


def _as_callers_saw(run: Run) -> Iterator[str]:
    results = {row["n"]: row["result"] for row in run.ended}
    for call in run.calls:
        result, outcome = results.get(call.number), call.outcomes[-1] if call.outcomes else ""
        # What the gateway does not hear of is how a caller's own time ended.
        expected = {"answer": ("success",), "error": ("error",)}.get(outcome)
        if expected is not None and result not in expected:
            yield f"{call.number} ended as {outcome} and stands as {result}"


def nothing_left(run: Run) -> Iterator[str]:
    """Nothing that a call held is left, at endpoints neither, and the gateway ends when it is told to."""
    yield from left_over(run.before, run.after)
    if run.in_flight:
        yield f"{run.in_flight} calls are still counted at endpoints"
    if run.exit_code != 0:
        yield f"the gateway ended with {run.exit_code}"


def left_over(before: Held | None, after: Held | None) -> Iterator[str]:
    """No task, socket, file or row in the queue is there that was not there before the first call."""
    if before is None or after is None:
        yield "the gateway was not looked into"
        return
    tasks = {name: count for name, count in after.tasks.items() if count > before.tasks.get(name, 0)}
    if tasks:
        yield f"tasks are left: {json.dumps(tasks)}"
    for what, more in (("registered", 0), ("sockets", 0), ("queued", 0), ("files", FILES)):
        if getattr(after, what) > getattr(before, what) + more:
            yield f"{what}: {getattr(before, what)} before, {getattr(after, what)} after"


def never_blocked(run: Run) -> Iterator[str]:
    """No turn of the gateway's event loop keeps all others waiting, once it has begun."""
    yield from blocked(run.before, run.after)


def blocked(before: Held | None, after: Held | None) -> Iterator[str]:
    """Turns that were too long, by the processor's time and by the clock, of those since the first call."""
    known = {tuple(turn) for turn in before.turns} if before is not None else set()
    for took, busy, collecting, when, where in after.turns if after is not None else ():
        if min(took, busy) > BLOCK and (took, busy, collecting, when, where) not in known:
            yield f"the loop was busy for {busy:.3f} s, {collecting:.3f} s of it with garbage: {where}"


def no_growth(run: Run) -> Iterator[str]:
    """Memory does not grow once the gateway is warm."""
    if not run.memory or run.memory[-1][0] - run.memory[0][0] < LONG:
        return
    warm = next(size for when, size in run.memory if when >= run.memory[0][0] + WARM)
    last = run.memory[-1][1]
    if last > warm + GROWTH:
        yield f"memory grew from {warm >> 20} to {last >> 20} MiB"


def nothing_said(run: Run) -> Iterator[str]:
    """The log tells of no bug, and nothing but the log is on standard error."""
    yield from (f"the log says: {line}" for line in run.said)


def healthy_answers(run: Run) -> Iterator[str]:
    """Whatever happens elsewhere, who is well answers every call that has the time for it."""
    for call in run.calls:
        ample = min(call.timeout or AMPLE, run.default_deadline) >= AMPLE and call.leaves is None
        if call.provider == STEADY and ample and call.outcomes != ["answer"]:
            yield f"{call.number} to {STEADY} ended as {call.outcomes} {call.code} {call.reason}"


def no_shared_fate(run: Run) -> Iterator[str]:
    """A provider that is out does not slow down calls to another."""
    calm, out = shared_fate(run)
    if len(calm) >= ENOUGH and len(out) >= ENOUGH and p99(out) > SLOWER * p99(calm) + MORE:
        yield f"the slowest hundredth to {STEADY} took {p99(calm):.3f} s while all were well, {p99(out):.3f} s later"


INVARIANTS: tuple[Callable[[Run], Iterator[str]], ...] = (
    one_outcome,
    none_late,
    none_mangled,
    honest_errors,
    accounted,
    true_ledger,
    nothing_left,
    no_growth,
    never_blocked,
    nothing_said,
    healthy_answers,
    no_shared_fate,
)


def problems(run: Run) -> list[str]:
    """All that is wrong, by invariant."""
    return [f"{each.__name__}: {found}" for each in INVARIANTS for found in each(run)]


# --- figures ----------------------------------------------------------------------------------------------------------


def shared_fate(run: Run) -> tuple[list[float], list[float]]:
    """Seconds that answers of the healthy provider took: while all were well, and while another was out."""
    answered = [call for call in run.calls if call.provider == STEADY and call.outcomes == ["answer"]]
    calm = [_took(run, call) for call in answered if call.ended < run.chaos_since]
    return calm, [_took(run, call) for call in answered if _during_outage(run, call)]


def _during_outage(run: Run, call: Made) -> bool:
    return any(each.what in OUT and each.since <= call.began <= each.until for each in run.troubles)


def _took(run: Run, call: Made) -> float:
    return call.ended - call.began - starved(run.starved, call.began, call.ended)


def starved(samples: Sequence[tuple[float, float]], since: float, until: float) -> float:
    """Seconds in that time for which the processes of a run waited for a processor: the machine's fault."""
    if not samples or until <= since:
        return 0.0
    first = max(0, bisect_left(samples, (since, 0.0)) - 1)
    last = min(len(samples) - 1, bisect_left(samples, (until, 0.0)))
    return samples[last][1] - samples[first][1]


def p99(times: Iterable[float]) -> float:
    """The time that one of a hundred exceeds."""
    ordered = sorted(times)
    return ordered[int(len(ordered) * 0.99)]
