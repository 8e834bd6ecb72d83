"""What is written into the ledger of a call and of its attempts. Pure over the call and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
from trunkline_server.state.ledger.figures import TOKENS
from trunkline_server.state.ledger.rows import COSTS, AttemptRow, CallRow, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerateResponse
    from trunkline_server.core import Call
    from trunkline_server.errors import UpstreamError
    from trunkline_server.state.statistics import Finished

    # See layers/price.py.
    PriceOf = Callable[[Call, call_pb2.Usage, int, float, str], tuple[call_pb2.Cost, int]]

# An attempt's columns of tokens and of what they cost, by their fields in the contract: to ask a field for its name
# takes longer than all else here.
_TOKENS = {call_pb2.Usage.DESCRIPTOR.fields_by_name[field]: column for column, field in TOKENS.items()}
_OTHERS = call_pb2.Usage.DESCRIPTOR.fields_by_name["other_units"]
_COSTS = {
    call_pb2.Cost.DESCRIPTOR.fields_by_name[field]: column
    for field, column in {**COSTS, "certainty": "certainty", "price_version": "price_version"}.items()
}

REPORTED = call_pb2.CERTAINTY_REPORTED
ESTIMATED = call_pb2.CERTAINTY_ESTIMATED
UNKNOWN = call_pb2.CERTAINTY_UNKNOWN
# Bytes of text that make a token, about, and bytes of an event that are not text.
BYTES_A_TOKEN = 4
FRAMING = 4
# Longer names are cut: a caller may write anything.
LONGEST_NAME = 256
LONGEST_CODE = 100
# A million times a million: more of them than there are still fit into 64 bits together.
MOST_UNITS = 10**12
_NO_CONTEXT = call_pb2.CallContext()
# An attempt that ended so may have been billed: one that is cut short for want of money is a success. Every other
# failure is the provider's refusal, or was never sent.
MAYBE_BILLED = frozenset(
    {
        call_pb2.OUTCOME_SUCCESS,
        call_pb2.OUTCOME_TIMEOUT,
        call_pb2.OUTCOME_INTERRUPTED,
        call_pb2.OUTCOME_PROTOCOL_ERROR,
        call_pb2.OUTCOME_CANCELLED,
    }
)


def subject_of(call: Call, *, valid: bool = True) -> Subject:
    """Who called, and what for. Of a request that is not valid only what it asked for, cut to length."""
    request, identity = call.story.request or call.request, call.identity
    routing, choice = request.routing, call.story.choice
    context = request.context if valid and request.HasField("context") else _NO_CONTEXT
    return Subject(
        workspace=identity.workspace,
        api_key=identity.key,
        end_user=context.end_user_id,
        task=routing.task if valid else "",
        agent=routing.agent if valid else "",
        strategy=choice.strategy,
        arm=choice.arm,
        operation="StreamGenerate" if call.streaming else "Generate",
        requested_model=request.model[:LONGEST_NAME],
        labels={} if context is _NO_CONTEXT else dict(context.labels),
    )


class Entry:
    """One attempt's row: as it begins, and as it ends, whichever way. `started` is in microseconds since 1970."""

    def __init__(self, call: Call, price_of: PriceOf, started: int) -> None:
        self._call = call
        self._price_of = price_of
        self._size = self._pieces = 0
        target, story, fate = call.target, call.story, call.fate
        provider = target.provider
        if story.subject is None:
            story.subject = subject_of(call)
        self.begun = AttemptRow(
            call_id=call.id,
            attempt=call.attempt,
            subject=story.subject,
            started=started,
            provider=provider,
            model=target.model[:LONGEST_NAME],
            region=call.snapshot.settings.providers[provider].region,
            retry=call.again,
            hedge=call.hedge,
            reserved=fate.reserved,
            counted=fate.counted,
        )

    def add(self, event: StreamGenerateResponse) -> None:
        """A piece of the answer has come."""
        self._size += event.ByteSize() - FRAMING
        self._pieces += 1

    def completed(
        self, event: StreamGenerateResponse, took: float, outcome: call_pb2.Outcome.ValueType
    ) -> tuple[StreamGenerateResponse, AttemptRow]:
        """The last event with the attempt's cost, and the row. `took` is in seconds, here and below."""
        last = StreamGenerateResponse()
        last.CopyFrom(event)
        response = last.completed.response
        usage, certainty = self._usage(response)
        cost, saved = self._cost(usage, certainty, took, _tier(response))
        response.cost.CopyFrom(cost)
        return last, self._row(outcome, took, usage, cost, saved)

    def failed(self, error: UpstreamError, took: float) -> AttemptRow:
        """The row of an attempt that failed; the error learns what it cost."""
        usage, certainty = self._used(error.outcome, error.usage)
        error.cost, saved = self._cost(usage, certainty, took)
        return self._row(error.outcome, took, usage, error.cost, saved, error)

    def abandoned(
        self, outcome: call_pb2.Outcome.ValueType, took: float, reported: call_pb2.Usage | None = None
    ) -> tuple[call_pb2.Cost, AttemptRow]:
        """What an attempt cost that was ended from above, and its row."""
        usage, certainty = self._used(outcome, reported)
        cost, saved = self._cost(usage, certainty, took)
        return cost, self._row(outcome, took, usage, cost, saved)

    def _usage(self, response: GenerateResponse) -> tuple[call_pb2.Usage, call_pb2.Certainty.ValueType]:
        """What a whole answer used: as reported, else estimated."""
        reported = response.usage
        if reported.HasField("input_tokens") and reported.HasField("output_tokens"):
            return reported, REPORTED
        self._size += response.message.ByteSize()
        estimate = self._estimate()
        estimate.MergeFrom(reported)
        return estimate, ESTIMATED

    def _used(
        self, outcome: call_pb2.Outcome.ValueType, reported: call_pb2.Usage | None
    ) -> tuple[call_pb2.Usage | None, call_pb2.Certainty.ValueType]:
        """What an attempt used that gave no whole answer. None: nothing."""
        if reported is not None:
            return reported, REPORTED
        if outcome not in MAYBE_BILLED:
            return None, REPORTED
        return self._estimate(), ESTIMATED if self._pieces else UNKNOWN

    def _estimate(self) -> call_pb2.Usage:
        return call_pb2.Usage(
            input_tokens=-(-_text_size(self._call.request) // BYTES_A_TOKEN),
            output_tokens=max(0, -(-self._size // BYTES_A_TOKEN)),
        )

    def _cost(
        self, usage: call_pb2.Usage | None, certainty: call_pb2.Certainty.ValueType, took: float, tier: str = ""
    ) -> tuple[call_pb2.Cost, int]:
        if usage is None:
            return call_pb2.Cost(total_nano_usd=0, certainty=certainty), 0
        cost, saved = self._price_of(self._call, usage, self.begun.started, took, tier)
        cost.certainty = certainty
        return cost, saved

    def _row(
        self,
        outcome: call_pb2.Outcome.ValueType,
        took: float,
        used: call_pb2.Usage | None,
        cost: call_pb2.Cost,
        saved: int,
        error: UpstreamError | None = None,
    ) -> AttemptRow:
        columns: dict[str, Any] = {} if used is None else _units_of(used)
        for field, value in cost.ListFields():
            if (column := _COSTS.get(field)) is not None:
                columns[column] = value
        if error is not None:
            columns |= {"provider_status": error.status, "provider_code": error.code[:LONGEST_CODE]}
        return structs.replace(self.begun, duration=round(took * 1e6), outcome=outcome, saved=saved, **columns)


def _units_of(usage: call_pb2.Usage) -> dict[str, Any]:
    """By column, of those that are known. What is set is asked for once: every attempt is written down."""
    columns: dict[str, Any] = {}
    for field, units in usage.ListFields():
        if (column := _TOKENS.get(field)) is not None:
            columns[column] = units if 0 <= units <= MOST_UNITS else _bounded(units)
        elif field is _OTHERS:
            columns["other_units"] = {name: _bounded(count) for name, count in units.items()}
    return columns


def _bounded(units: int) -> int:
    """A provider's number as the ledger can add it up."""
    return max(0, min(units, MOST_UNITS))


def _tier(response: GenerateResponse) -> str:
    """How the provider processed the call, if it says so: OpenAI's service_tier, Anthropic's, Anthropic's speed."""
    said = response.provider_metadata.fields
    if "speed" in said and said["speed"].string_value == "fast":
        return "fast"
    return said["service_tier"].string_value if "service_tier" in said else ""


def _text_size(request: GenerateRequest) -> int:
    """Bytes of the request without what media hold, which are no text."""
    media = sum(
        len(part.media.data)
        for message in request.messages
        for part in message.parts
        if part.WhichOneof("data") == "media"
    )
    return request.ByteSize() - media


def call_row(call: Call, finished: Finished, started: int, reason: str, answer: GenerateResponse | None) -> CallRow:
    """The row of a call that has ended. It began at `started`, in microseconds since 1970."""
    story, provider, result = call.story, finished.provider, finished.result
    first = finished.time_to_first_token
    return CallRow(
        call_id=call.id,
        subject=story.subject or subject_of(call, valid=story.valid),
        started=started,
        duration=round(finished.total_time * 1e6),
        provider=provider,
        model=story.target.model[:LONGEST_NAME],
        region=call.snapshot.settings.providers[provider].region if provider else "",
        outcome=story.outcome,
        result=result,
        reason=reason if result == "error" else "",
        finish_reason=answer.finish_reason if answer is not None else 0,
        attempts=story.attempts,
        fell_back=story.fell_back,
        interrupted=finished.interrupted,
        time_to_first_token=None if first is None else round(first * 1e6),
        output_rate=finished.output_rate(),
    )
