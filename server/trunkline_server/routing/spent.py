"""What calls of some days used and cost, as the ledger adds it up."""

from __future__ import annotations

from typing import NamedTuple


class Spending(NamedTuple):
    """Of a task's attempts at one model. Money is nano-USD."""

    task: str
    provider: str
    model: str
    attempts: int
    # Attempts by the provider's fault, or that it did not take.
    failed: int
    # Attempts without a price: their cost is not in `cost`.
    unpriced: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: int


class Answers(NamedTuple):
    """Of calls that ended at one model."""

    provider: str
    model: str
    calls: int
    # Calls that failed in the end by the provider's fault: nobody answered in its place.
    lost: int
    # Whole answers, and the microseconds that they took together.
    whole: int
    time: int


class Spent(NamedTuple):
    """Of the days from `start` to `end`, in microseconds since 1970."""

    start: int
    end: int
    spending: tuple[Spending, ...]
    answers: tuple[Answers, ...]
