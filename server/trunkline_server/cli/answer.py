"""An answer on its way to the terminal, and the line that sums it up."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import CERTAINTY_REPORTED
from trunkline.v1.content_pb2 import FINISH_REASON_BUDGET, FinishReason
from trunkline_client import TrunklineError
from trunkline_server.cli.failures import failed_call
from trunkline_server.cli.figures import usd
from trunkline_server.cli.terminal import harmless, is_terminal, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.call_pb2 import Cost, Served
    from trunkline.v1.gateway_service_pb2 import GenerateResponse
    from trunkline_client import Answer


class AnswerWriter:
    """Writes text to standard output as it comes, or not at all if it is `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._harmless = is_terminal()
        self._last = "\n"
        self.begun = False

    def write(self, text: str) -> None:
        """Write a piece at once."""
        if self._quiet or not text:
            return
        self.begun, self._last = True, text[-1]
        sys.stdout.write(harmless(text) if self._harmless else text)
        sys.stdout.flush()

    def end_line(self) -> None:
        """End the line that is open, if one is."""
        if self._last != "\n":
            self.write("\n")


@contextmanager
def writing_answer(*, quiet: bool = False) -> Iterator[AnswerWriter]:
    """Write an answer to standard output; a failed call becomes Failed, which knows whether a part was written."""
    writer = AnswerWriter(quiet=quiet)
    try:
        yield writer
    except TrunklineError as error:
        raise failed_call(error, begun=writer.begun) from error
    finally:
        writer.end_line()


def tell_about(answer: Answer) -> None:
    """On standard error: what the target could not honour, a refusal in the model's words; to a person, a summary."""
    for warning in answer.raw.warnings:
        tell("warning", f"{warning.field}: {warning.message}" if warning.field else warning.message)
    if answer.refusal:
        tell("warning", f"the model declines to answer: {answer.refusal}")
    if answer.finish_reason == FINISH_REASON_BUDGET:
        tell("warning", "the answer ends here because a budget pays for no more: see `trunkline budgets`")
    if is_terminal(stderr=True):
        tell("", summary(answer.raw), style="dim")


def summary(response: GenerateResponse) -> str:
    """How much was said how fast, by whom, and why it stopped: in a line, as far as it is known."""
    return " · ".join(_facts(response))


def _facts(response: GenerateResponse) -> Iterator[str]:
    usage, served, total = response.usage, response.served, _total(response.served)
    if usage.HasField("output_tokens"):
        yield f"{usage.output_tokens} tokens"
    if served.HasField("time_to_first_token"):
        first = served.time_to_first_token.ToNanoseconds() / 1e9
        yield f"first token {first * 1000:.0f} ms"
        if usage.HasField("output_tokens") and total > first:
            yield f"{usage.output_tokens / (total - first):.1f} tokens/s"
    else:
        yield f"{total:.2f} s"
    if response.HasField("cost"):
        yield _price(response.cost)
    yield f"{served.target.provider}/{served.target.model}"
    yield FinishReason.Name(response.finish_reason).removeprefix("FINISH_REASON_")
    yield f"call {response.id}"


def _price(cost: Cost) -> str:
    if not cost.HasField("total_nano_usd"):
        return "unpriced"
    return f"{'' if cost.certainty == CERTAINTY_REPORTED else 'about '}{usd(cost.total_nano_usd)} USD"


def _total(served: Served) -> float:
    return served.total_time.ToNanoseconds() / 1e9
