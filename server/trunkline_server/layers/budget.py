"""Budget: no attempt is sent that a hard budget may not pay for, and an answer ends with the money."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from msgspec import structs

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest, PartCompleted, StreamGenerateResponse
from trunkline_server.core import now
from trunkline_server.errors import BudgetExhausted, LedgerUnavailable, NoCandidate, Unpaid
from trunkline_server.layers.worst import Worst, affordable
from trunkline_server.state.budgets.accounts import Payer
from trunkline_server.state.budgets.holds import Denied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.layers.worst import MostOf
    from trunkline_server.state.budgets.accounts import Account, Rules
    from trunkline_server.state.budgets.holds import Attempt
    from trunkline_server.state.ledger.rows import AttemptRow

# Tokens of an answer that are held for at once while it is streamed; the fewest that an answer is worth having for.
STEP, LEAST = 1024, 256
# Bytes of an event that are not text, and bytes of text to a token: fewer than there are on average, so that a hold
# grows before it has to.
FRAMING, BYTES_A_TOKEN = 4, 3


class Ledger(Protocol):
    """Where money is held, with the attempt's row; see state/ledger."""

    async def reserve(self, row: AttemptRow, accounts: Sequence[Account], least: int, most: int) -> int | Denied:
        """Begin it, and put aside as much as there is, up to `most`; or neither. Raises LedgerUnavailable."""

    async def extend(self, attempt: Attempt, accounts: Sequence[Account], least: int, most: int) -> int | Denied:
        """Put aside more. Raises LedgerUnavailable."""


def budget(rules: Rules, ledger: Ledger, most_of: MostOf, account: Layer) -> Layer:
    """Around `account`: an attempt goes into the ledger with the money that is held for it, and its end settles that.

    Guarantees: under a hard budget nothing is sent that it does not pay for in the worst case; what comes out is
    bounded by what is held, of whole answers by the provider and of streams here, and ends with FINISH_REASON_BUDGET
    where that is less than was asked for. However an attempt ends, its hold is resolved once. An attempt that no hard
    budget is about goes straight on; without budgets there is only `account`.

    Raises Unpaid where a budget refuses, or has to pay for what has no price: another target may be cheaper.
    """

    def layer(below: Handler) -> Handler:
        inner = account(below)

        def handle(call: Call) -> Events:
            when = time.time_ns() // 1000
            payment = rules.payment(payer_of(call), when)
            call.fate.counted = payment.counted
            if not payment.hard:
                return inner(call)
            worst = Worst(call)
            cost = most_of(call, worst.input, when, max(0.0, call.deadline - now()))
            if cost is None:
                call.fate.admit = partial(_unpriced, call.target, payment.hard)
                return inner(call)
            # What is free needs no money, and is not refused for want of it.
            if not cost(worst.output):
                return inner(call)
            hold = _Hold(call, payment.hard, ledger, worst, cost)
            call.fate.reserved, call.fate.admit = True, hold.admit
            return _covered(hold, inner(call)) if worst.is_seen else account(partial(hold.sent, below))(call)

        return handle

    return layer if rules.all else account


def payer_of(call: Call) -> Payer:
    """Who calls whom."""
    context, identity = call.request.context, call.identity
    return Payer(
        identity.workspace,
        identity.key,
        context.end_user_id,
        context.labels,
        call.target.provider,
        call.target.model,
    )


async def _covered(hold: _Hold, events: Events) -> Events:
    """A stream, as far as the money reaches."""
    try:
        async for event in events:
            if event.HasField("completed") or await hold.covers(event):
                yield event
            else:
                async for last in hold.cut():
                    yield last
                return
    finally:
        await events.aclose()


async def _bounded(events: Events) -> Events:
    """Of an answer to which the money set the bound: how it ended, if that is where."""
    try:
        async for event in events:
            yield _at_its_bound(event) if event.HasField("completed") else event
    finally:
        await events.aclose()


def _at_its_bound(event: StreamGenerateResponse) -> StreamGenerateResponse:
    if event.completed.response.finish_reason != content_pb2.FINISH_REASON_MAX_TOKENS:
        return event
    last = StreamGenerateResponse()
    last.CopyFrom(event)
    last.completed.response.finish_reason = content_pb2.FINISH_REASON_BUDGET
    return last


class _Hold:
    """What is held for one attempt."""

    def __init__(
        self, call: Call, accounts: Sequence[Account], ledger: Ledger, worst: Worst, cost: Callable[[int], int]
    ) -> None:
        """`cost`: nano-USD at most, by the tokens that come out."""
        self._call = call
        self._accounts = accounts
        self._ledger = ledger
        self._worst = worst
        self._cost = cost
        # Nano-USD, and the tokens that may come out for it.
        self._amount = self._tokens = 0
        # There is no more to be had; an answer that is not seen while it comes may cost more than there is.
        self._is_last = self._is_clipped = False
        self._size = 0
        # Parts of the answer that are not completed.
        self._open: set[int] = set()

    async def admit(self, row: AttemptRow) -> Call:
        """Put aside what the attempt may cost, or of a stream what its beginning may: the call as it is sent."""
        worst, cost = self._worst, self._cost
        wanted = min(worst.output, STEP) if worst.is_seen else worst.output
        least, most = cost(min(worst.output, LEAST)), cost(wanted)
        granted = await self._ledger.reserve(row, self._accounts, least, most)
        if isinstance(granted, Denied):
            raise _too_dear(granted.account, least)
        self._amount = granted
        self._tokens = wanted if granted >= most else affordable(cost, granted, wanted)
        self._is_clipped = not worst.is_seen and self._tokens < worst.output
        # With a bound on what comes out where nobody sees it come, and nobody else sets one that is as low.
        return self._call if worst.is_seen or (worst.is_bound and not self._is_clipped) else self._with_bound()

    def _with_bound(self) -> Call:
        request = GenerateRequest()
        request.CopyFrom(self._call.request)
        request.config.max_output_tokens = self._tokens
        return structs.replace(self._call, request=request)

    def sent(self, below: Handler, call: Call) -> Events:
        """The answer to the call as it was admitted."""
        events = below(call)
        return _bounded(events) if self._is_clipped else events

    async def covers(self, event: StreamGenerateResponse) -> bool:
        """Whether what came so far is paid for, this event included. Puts aside more in time."""
        self._follow(event)
        self._size += event.ByteSize() - FRAMING
        came = self._size // BYTES_A_TOKEN
        while came * 4 >= self._tokens * 3 and self._tokens < self._worst.output and not self._is_last:
            await self._extend()
        return came <= self._tokens or self._tokens >= self._worst.output

    async def _extend(self) -> None:
        cost, wanted = self._cost, min(self._tokens + STEP, self._worst.output)
        most = cost(wanted) - self._amount
        least = min(most, cost(self._tokens + 1) - self._amount)
        try:
            attempt = (self._call.id, self._call.attempt)
            granted = await self._ledger.extend(attempt, self._accounts, max(least, 0), max(most, 0))
        except LedgerUnavailable:
            granted = 0
        if isinstance(granted, Denied) or granted < most:
            self._is_last = True
        if not isinstance(granted, Denied):
            self._amount += granted
            self._tokens = wanted if granted >= most else affordable(cost, self._amount, wanted)

    def _follow(self, event: StreamGenerateResponse) -> None:
        if event.HasField("part_started"):
            self._open.add(event.part_started.part_index)
        elif event.HasField("part_completed"):
            self._open.discard(event.part_completed.part_index)

    async def cut(self) -> Events:
        """The end of an answer that the money does not reach further for, with what it cost."""
        for index in sorted(self._open):
            yield StreamGenerateResponse(part_completed=PartCompleted(part_index=index))
        last = StreamGenerateResponse()
        response = last.completed.response
        response.finish_reason = content_pb2.FINISH_REASON_BUDGET
        fate = self._call.fate
        if fate.settle is not None and (cost := fate.settle(call_pb2.OUTCOME_SUCCESS)) is not None:
            response.cost.CopyFrom(cost)
        if fate.row is not None:
            response.usage.input_tokens = fate.row.input_tokens or 0
            response.usage.output_tokens = fate.row.output_tokens or 0
        if fate.written is not None:
            await fate.written
        yield last


async def _unpriced(target: Target, accounts: Sequence[Account], _: AttemptRow) -> Call:
    names = ", ".join(repr(each.budget) for each in accounts)
    raise Unpaid(
        "unpriced",
        NoCandidate(
            f"{target.provider}/{target.model} has no price, and hard budgets ({names}) pay for nothing whose cost "
            "is not known: give it one under prices"
        ),
    )


def _too_dear(account: Account, cost: int) -> Unpaid:
    renews = None if account.renews is None else datetime.fromtimestamp(account.renews // 10**6, UTC)
    wait = None if renews is None else max(0.0, renews.timestamp() - time.time())
    return Unpaid("budget", BudgetExhausted(account.budget, cost, renews, wait))
