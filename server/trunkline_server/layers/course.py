"""Course: what became of a call so far, and what comes next. Holds its budget; waits for nothing but the ledger."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline_server.core import now
from trunkline_server.errors import CallError, LedgerUnavailable, UpstreamError
from trunkline_server.fold import Fold
from trunkline_server.layers.failure import call_error, ending, interrupted
from trunkline_server.layers.resume import (
    CONTINUE,
    FAIL,
    RESTART,
    Continuation,
    Resumption,
    can_continue,
    warning_of,
)
from trunkline_server.layers.sums import cost_of, usage_of
from trunkline_server.layers.trial import Begins, Shared, Trial
from trunkline_server.routing.choice import Candidate, Standing, Tried, choices
from trunkline_server.state.endpoint.attempt_budget import ATTEMPTS, AttemptBudget

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call
    from trunkline_server.layers.trial import Report
    from trunkline_server.routing.choice import Chosen
    from trunkline_server.settings.reliability import Retryable, RetrySettings

# What a caller asks for that wants a broken answer again is tried again at the same target, too.
_BROKEN: tuple[Retryable, ...] = ("timeout", "interrupted", "protocol_error")
# Seconds for which the end of a call waits for the ledger when its time is over.
MOMENT = 0.2
# Seconds. An answer that begins sooner is not late.
SOONEST_HEDGE = 0.3


class Hedges(Protocol):
    """How many calls may be made twice."""

    def deposit(self) -> None:
        """A call begins that may be hedged."""

    def withdraw(self) -> bool:
        """A call wants to be made twice. False = it must not; nothing was spent."""


class Signals(Begins, Protocol):
    """How targets do; see state/signals."""

    def usual(self, call: Call, target: Target) -> float:
        """Seconds until the target begins to answer the call, most likely. 0 = not known."""

    def late(self, call: Call, target: Target) -> float | None:
        """Seconds until it begins in all but few cases. None: too little is known."""


class Endpoints(Protocol):
    """What is known of targets; see state/endpoint/experience.py."""

    @property
    def signals(self) -> Signals:
        """How they do, and who wants to know."""

    @property
    def hedges(self) -> Hedges:
        """Of all calls that may be made twice."""

    def retry(self, provider: str) -> object | None:
        """A call wants to ask the provider again: which of its endpoints it goes to, and pays for it. None = none."""

    def has_other_key(self, provider: str) -> bool:
        """Whether the provider has another key that can be asked now."""


class Course:
    """One call's. `trial` is the attempt whose answer is read."""

    _mode: call_pb2.OnInterruption.ValueType = FAIL
    _next: Chosen | None = None
    # Who pays for that, if it is a retry.
    _payer: object | None = None

    def __init__(self, call: Call, endpoints: Endpoints, report: Report) -> None:
        self._call = call
        self._endpoints = endpoints
        self._targets = call.plan + call.larger
        self._tried: dict[int, Tried] = {}
        routing = call.request.routing if call.request.HasField("routing") else None
        self._shared = Shared(report, endpoints.signals, routing)
        if call.streaming:
            self._keep()
        self.trial = self._begin(0)

    def _keep(self) -> None:
        """Keep of a streamed answer what its end or another attempt needs."""
        call, shared = self._call, self._shared
        if shared.routing is not None:
            self._mode = shared.routing.on_interruption
        if self._mode == CONTINUE or call.request.stream_options.include_final_message:
            shared.fold = Fold()
        if self._mode == CONTINUE:
            shared.warnings = warning_of(self._targets, call.snapshot.settings)

    @cached_property
    def _budget(self) -> AttemptBudget:
        """Made when somebody asks for it, which is after the first attempt has begun: most calls need no other."""
        budget = AttemptBudget(self._attempts())
        budget.take()
        return budget

    def _attempts(self) -> int:
        """Of a caller who does not say: more than usual only if its first provider is configured for more."""
        routing, settings = self._shared.routing, self._call.snapshot.settings
        if routing is not None and routing.HasField("max_attempts"):
            return routing.max_attempts
        here = settings.providers[self._targets[0].provider].retry.max_attempts
        return max(settings.max_attempts, here) if here > ATTEMPTS else settings.max_attempts

    def go_on(self) -> None:
        """Begin what `fail` has decided on."""
        if self._next is not None:
            self._budget.take()
            payer = self._payer if self._next.again else None
            self._begin(self._next.target, paid_by=payer, resumption=self._resumption())

    def _begin(
        self,
        number: int,
        *,
        paid_by: object | None = None,
        hedge: bool = False,
        resumption: Resumption | None = None,
    ) -> Trial:
        call = self._call
        call.story.attempts = attempt = call.story.attempts + 1
        request = call.request if resumption is None else resumption.request(call.request)
        again = number in self._tried
        asked = call.at(self._targets[number], attempt, request, again=again, hedge=hedge, paid_by=paid_by)
        trial = self._shared.begin(asked, number, resumption)
        self.read(trial)
        return trial

    def read(self, trial: Trial) -> None:
        """This is the attempt whose answer the caller gets, as it looks."""
        self.trial = trial
        story, target = self._call.story, trial.call.target
        story.target = target
        story.fell_back = target is not self._targets[0]

    # --- failures -----------------------------------------------------------------------------------------------------

    def fail(self, error: UpstreamError) -> float:
        """The attempt that is read has failed: seconds until the next one. Raises CallError if there is none."""
        self._next = self._after(self.lose(self.trial, error))
        if self._next is None:
            raise self._failure(error) from error
        return self._next.delay

    def _after(self, number: int) -> Chosen | None:
        if self._call.story.committed and self._resumption() is None:
            return None
        at = Standing(
            now=now(),
            deadline=self._call.deadline,
            attempts_left=self._budget.left,
            repeatable=self._is_repeatable(),
        )
        found = choices(self._candidates(), self._tried, number, at, random.random)
        return next((each for each in found if not each.again or self._may_retry(each.target)), None)

    def lose(self, trial: Trial, error: UpstreamError) -> int:
        """An attempt has failed. The number of its target."""
        trial.end(error)
        before = self._tried.get(trial.number)
        self._tried[trial.number] = Tried(before.attempts + 1 if before else 1, error, now())
        if error.outcome == call_pb2.OUTCOME_NOT_SENT:
            self._budget.left += 1  # nobody was asked
        return trial.number

    def _may_retry(self, number: int) -> bool:
        self._payer = self._endpoints.retry(self._targets[number].provider)
        return self._payer is not None

    def _is_repeatable(self) -> bool:
        return not any(tool.HasField("provider_tool") for tool in self._call.request.tools)

    def _resumption(self) -> Resumption | None:
        """How an answer that broke off is taken up. None: nothing of it was sent, or it is not."""
        if not self._call.story.committed:
            return None
        cause = self._call.story.outcome
        if self._mode == RESTART:
            return Resumption(cause)
        if self._mode == CONTINUE and self._shared.fold is not None:
            sent = self._shared.fold.open_text()
            return None if sent is None else Continuation(cause, sent)
        return None

    def _candidates(self) -> list[Candidate]:
        ordinary = len(self._call.plan)
        return [self._candidate(target, number >= ordinary) for number, target in enumerate(self._targets)]

    def _candidate(self, target: Target, larger_only: bool) -> Candidate:
        call, committed = self._call, self._call.story.committed
        offer = call.snapshot.offers.get(target.provider)
        model = offer.models.get(target.model) if offer is not None else None
        return Candidate(
            first_token=self._endpoints.signals.usual(call, target),
            retry=self._retry_settings(target),
            window=model.context_window if model is not None else 0,
            larger_only=larger_only,
            other_key=self._endpoints.has_other_key(target.provider),
            usable=not committed or self._mode != CONTINUE or can_continue(call.snapshot.settings, target),
        )

    def _retry_settings(self, target: Target) -> RetrySettings:
        settings = self._call.snapshot.settings.providers[target.provider].retry
        if not self._call.story.committed:
            return settings
        return structs.replace(settings, retryable=(*settings.retryable, *_BROKEN))

    # --- hedging ------------------------------------------------------------------------------------------------------

    def hedge_at(self) -> float | None:
        """When the attempt that is read is late enough for another one beside it. None: never."""
        call = self._call
        if not self.may_hedge() or call.story.committed or not self._is_repeatable():
            return None
        if len(self._shared.trials) == 1:
            self._endpoints.hedges.deposit()
        target = self.trial.call.target
        configured = call.snapshot.settings.providers[target.provider].hedge_after
        wait = configured if configured is not None else self._endpoints.signals.late(call, target)
        return None if wait is None else self.trial.begin + max(SOONEST_HEDGE, wait)

    def may_hedge(self) -> bool:
        """Whether it may be made twice at once: as it says, and as its strategy does where it says nothing."""
        routing = self._shared.routing
        if routing is not None and routing.HasField("allow_hedging"):
            return routing.allow_hedging
        own = self._call.snapshot.settings.routing.strategies.get(self._call.story.choice.strategy)
        return own is not None and own.hedge

    def hedge(self) -> Trial | None:
        """Another attempt at another provider's target, beside the one that is late. None: there must not be one."""
        number = self._other_provider()
        if number is None or self._budget.left <= 0 or not self._endpoints.hedges.withdraw():
            return None
        self._budget.take()
        return self._begin(number, hedge=True)

    def _other_provider(self) -> int | None:
        """The next target that fails for reasons of its own, and that would most likely begin in time."""
        call, busy = self._call, {trial.call.target.provider for trial in self._shared.running()}
        for number, target in enumerate(call.plan):
            if number in self._tried or target.provider in busy:
                continue
            if now() + self._endpoints.signals.usual(call, target) <= call.deadline:
                return number
        return None

    def win(self, winner: Trial) -> None:
        """Only this one is read from now on; what runs beside it is not wanted any more."""
        for trial in self._shared.running():
            if trial is not winner:
                trial.end(UpstreamError(call_pb2.OUTCOME_CANCELLED))
        self.read(winner)

    async def told(self, error: CallError) -> CallError:
        """What the caller is told of it, once the ledger has the rows of attempts that were ended from above.

        As far as it promises that, and no longer than until the deadline, or a moment if that has passed. Whoever goes
        away meanwhile goes at once: the rows are taken all the same.
        """
        final = self.ended(error)
        try:
            await self._written()
        except LedgerUnavailable as unavailable:
            return self._told(unavailable)
        return final

    async def _written(self) -> None:
        waiting = [fate.written for trial in self._shared.trials if (fate := trial.call.fate).written is not None]
        if waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(self._call.deadline - now(), MOMENT)):
                    for each in waiting:
                        await each

    # --- the end ------------------------------------------------------------------------------------------------------

    def _failure(self, error: UpstreamError) -> CallError:
        """The call fails with the attempt that was read last."""
        outcomes = [record.outcome for record in self._shared.records()]
        return self._told(call_error(self.trial.call, error, self._tried.values(), outcomes))

    def ended(self, error: CallError) -> CallError:
        """The call is ended by the gateway itself, or has failed."""
        if error.failure is not None:
            return error
        self.close(ending(error))
        draining = error.reason == call_pb2.ERROR_REASON_DRAINING
        return self._told(interrupted(error) if draining and self._call.story.committed else error)

    def close(self, outcome: call_pb2.Outcome.ValueType) -> None:
        """Whatever still runs ends so."""
        for trial in self._shared.running():
            trial.end(UpstreamError(outcome))

    def release(self) -> None:
        """The call is over: what still runs is cancelled, and what knows one another lets go.

        Else it would be left to the garbage collector.
        """
        for trial in self._shared.trials:
            if trial.record is None:
                trial.end(UpstreamError(call_pb2.OUTCOME_CANCELLED))
            trial.call.fate.settle = None
        self._shared.trials.clear()

    def _told(self, final: CallError) -> CallError:
        """`final`, with what the call cost all the same."""
        failure, records = call_pb2.CallFailure(id=self._call.id), self._shared.records()
        if (usage := usage_of(records)) is not None:
            failure.usage.CopyFrom(usage)
        if (cost := cost_of(records)) is not None:
            failure.cost.CopyFrom(cost)
        self.trial.tell(failure.served, now())
        final.failure = failure
        return final
