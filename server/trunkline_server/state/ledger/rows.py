"""What the ledger holds: a row for each attempt at a provider and one for each call. No text of prompts or answers.

The journal has of a row what is not as usual, and journals outlive an upgrade: a default that is here stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

# By their fields in the contract: an attempt's columns of what its cost is made of, and of all of it.
COST_PARTS: Mapping[str, str] = {
    "input_nano_usd": "input_cost",
    "output_nano_usd": "output_cost",
    "cache_read_nano_usd": "cache_read_cost",
    "cache_write_nano_usd": "cache_write_cost",
    "reasoning_nano_usd": "reasoning_cost",
    "other_nano_usd": "other_cost",
}
COSTS: Mapping[str, str] = {"total_nano_usd": "cost", **COST_PARTS}


class Subject(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who called, and what for. Both kinds of rows have it, so that each can be counted without the other."""

    workspace: str
    # Ids and names; empty = there is none.
    api_key: str = ""
    end_user: str = ""
    task: str = ""
    agent: str = ""
    strategy: str = ""
    arm: str = ""
    # Generate or StreamGenerate.
    operation: str
    # GenerateRequest.model, cut to 256 characters.
    requested_model: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class AttemptRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt, known by (call_id, attempt). Times are microseconds since 1970."""

    call_id: str
    # From 1.
    attempt: int
    subject: Subject
    started: int
    provider: str
    # The provider's own id.
    model: str
    region: str = ""
    # Its target had failed the call before; it was made while another one was late.
    retry: bool = False
    hedge: bool = False
    # Budgets hold money for it: it is written down before it is sent, and its end settles what is held.
    reserved: bool = False
    # Accounts of budgets that hold nothing for it; what it costs counts there.
    counted: tuple[str, ...] = ()
    # None: it was begun, and how it ended is not known yet.
    duration: int | None = None
    # A value of the contract's Outcome; 0 while it runs.
    outcome: int = 0
    # The provider's HTTP status and machine code, cut to 100 characters.
    provider_status: int = 0
    provider_code: str = ""
    # A value of the contract's Certainty, of the tokens below.
    certainty: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    other_units: dict[str, int] = field(default_factory=dict)
    # Nano-USD, as the contract's Cost has them. None: the price is not known; of a kind: there was none of it.
    cost: int | None = None
    input_cost: int | None = None
    output_cost: int | None = None
    cache_read_cost: int | None = None
    cache_write_cost: int | None = None
    reasoning_cost: int | None = None
    other_cost: int | None = None
    # What reads from the provider's cache cost less than their full price.
    saved: int = 0
    price_version: str = ""


class CallRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a call ended; known by its id. Written once, when it has ended."""

    call_id: str
    subject: Subject
    started: int
    # Microseconds.
    duration: int
    # The target that ended it, and how that attempt ended; empty and 0 if none was asked.
    provider: str = ""
    model: str = ""
    region: str = ""
    outcome: int = 0
    # success, error or cancelled.
    result: str
    # Of errors: an ErrorReason without its prefix.
    reason: str = ""
    # A value of the contract's FinishReason; 0 without an answer.
    finish_reason: int = 0
    attempts: int = 0
    # Ended by another target than the first that was tried.
    fell_back: bool = False
    # Broke off after a part of the answer was sent.
    interrupted: bool = False
    # Microseconds; None: not streamed, or no piece came.
    time_to_first_token: int | None = None
    # Tokens a second from the first piece to the end; None: not streamed, or the provider did not say.
    output_rate: float | None = None
