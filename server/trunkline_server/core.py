"""The one shape: a call goes in, a stream of events comes out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from trunkline.v1.call_pb2 import OUTCOME_CANCELLED, OUTCOME_UNSPECIFIED, Cost, Outcome, Target
from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse

if TYPE_CHECKING:
    from trunkline_server.routing.policy import Policy
    from trunkline_server.routing.tokens import Count
    from trunkline_server.snapshot import Snapshot
    from trunkline_server.state.ledger.rows import AttemptRow, Subject

# Ends after `completed`, or raises. Whoever stops before its end closes it; once it has ended it is closed.
Events = AsyncGenerator[StreamGenerateResponse, None]


# What `now` reads: the clock of every loop there is but those of tests, which put their own time here while they run.
# Not the loop's own `time()`: uvloop's is rounded to milliseconds and as old as the loop's turn.
clock: Callable[[], float] = time.monotonic


def now() -> float:
    """Seconds on the running loop's clock. Read a dozen times a call, and so without asking for the loop."""
    return clock()


Role = Literal["caller", "operator", "admin"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, and what they may use. Without keys everybody is the admin of the workspace "default"."""

    workspace: str = "default"
    # The id of the gateway key, or the name in the client certificate; empty without either.
    key: str = ""
    role: Role = "admin"
    # What may be used: "provider/model" and model names, with * for any part; providers; strategies. Empty = all.
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()


ANYBODY = Identity()


class Choice(Struct, frozen=True):
    """How the targets of a call were chosen."""

    # "named": the call named whom to ask.
    strategy: str
    # 64 random bits, in hexadecimal.
    decision_id: str
    task: str = ""
    # "experiment/arm"; empty = none.
    arm: str = ""


NO_CHOICE = Choice("", "")


class Story(Struct):
    """What happened to a call so far. Written by the layer that knows, read by `observe` at the end."""

    target: Target = field(default_factory=Target)
    attempts: int = 0
    # How the last attempt ended; whether it was at another target than the first.
    outcome: Outcome.ValueType = OUTCOME_UNSPECIFIED
    fell_back: bool = False
    committed: bool = False
    # The request was found to be valid.
    valid: bool = False
    # The request with what its task and agent say. None = it did not get so far.
    request: GenerateRequest | None = None
    # Set by route.
    choice: Choice = NO_CHOICE
    time_to_first_token: float | None = None
    # Set by account, before the first attempt: who called, and what for, as the ledger has it.
    subject: Subject | None = None
    # How large the request is, by estimate; None: nothing hung on it, and nobody counted.
    count: Count | None = None
    # Set by limit: metadata that the caller is sent at the end, however that is.
    told: tuple[tuple[str, str], ...] = ()


class Fate(Struct):
    """How an attempt ends that is ended from above. `attempt` writes it before it closes what runs below."""

    outcome: Outcome.ValueType = OUTCOME_CANCELLED
    # Set by account, once there is something to settle: write down that it ended so, unless it has ended by itself, and
    # tell what it cost.
    settle: Callable[[Outcome.ValueType], Cost | None] | None = None
    # Set by account, once it has written that down: done when the caller may be told.
    written: Awaitable[None] | None = None
    # The request is on its way to the provider. Set by whoever sends it, and known of providers over HTTP only.
    sent: bool = False
    # Set by account: it is in the ledger, or on its way there, which will write down its end.
    begun: bool = False
    # Set by budget where money has to be held first: put the row into the ledger if there is enough; the call as it may
    # be sent for that.
    admit: Callable[[AttemptRow], Awaitable[Call]] | None = None
    # Set by account: as it has ended, in the ledger.
    row: AttemptRow | None = None
    # Set by budget: money is held for it; and the accounts that hold none where its cost counts all the same.
    reserved: bool = False
    counted: tuple[str, ...] = ()
    # Set by drain: it is read to its end all the same, for what it cost; only then is it written down.
    drains: bool = False

    def was_sent(self) -> None:
        """The request is about to be written to a connection."""
        self.sent = True


# Whom a call asks before its first attempt. Nobody writes to it.
NOBODY = Target()


class Call(Struct, frozen=True):
    """One call on its way. Times are seconds on the clock of `now()`."""

    id: str
    request: GenerateRequest
    arrival: float
    deadline: float
    streaming: bool
    # The configuration that the call keeps to its end.
    snapshot: Snapshot
    # Set by route: whom to ask, in order.
    plan: tuple[Target, ...] = ()
    # Set by route: whom to ask if the request is too long for those.
    larger: tuple[Target, ...] = ()
    identity: Identity = ANYBODY
    # Set by resolve: what the call's task or chain asks of the choice of a target. None = nothing.
    policy: Policy | None = None
    # Set by attempt: who is asked now, and which try of the call this is, from 1.
    target: Target = NOBODY
    attempt: int = 0
    # The target had failed this call before; it is asked while another one is late.
    again: bool = False
    hedge: bool = False
    # The endpoint whose retry budget pays for the attempt, and which it goes to. None = it is no retry.
    paid_by: object | None = None
    fate: Fate = field(default_factory=Fate)
    # What the layers learn on the way, for the access log and the statistics: one per call, shared by all copies.
    story: Story = field(default_factory=Story)

    def planned(self, plan: tuple[Target, ...], larger: tuple[Target, ...]) -> Call:
        """The call with its plan. Faster than structs.replace, as `at` is: every call goes through both."""
        return Call(
            self.id,
            self.request,
            self.arrival,
            self.deadline,
            self.streaming,
            self.snapshot,
            plan,
            larger,
            self.identity,
            self.policy,
            self.target,
            fate=self.fate,
            story=self.story,
        )

    def at(
        self,
        target: Target,
        attempt: int,
        request: GenerateRequest,
        *,
        again: bool = False,
        hedge: bool = False,
        paid_by: object | None = None,
    ) -> Call:
        """The call as one attempt at a target."""
        return Call(
            self.id,
            request,
            self.arrival,
            self.deadline,
            self.streaming,
            self.snapshot,
            self.plan,
            self.larger,
            self.identity,
            self.policy,
            target,
            attempt,
            again,
            hedge,
            paid_by,
            Fate(),
            self.story,
        )


Handler = Callable[[Call], Events]
Layer = Callable[[Handler], Handler]


@dataclass(frozen=True, slots=True)
class Chain:
    """The layers, built for one configuration."""

    snapshot: Snapshot
    handler: Handler


@dataclass(slots=True)
class Current:
    """The chain that new calls run on. A reload swaps it; calls keep the one they began with."""

    chain: Chain
