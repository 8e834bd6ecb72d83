"""How the command fails: its exit codes, and what it says on standard error."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from grpc import StatusCode

from trunkline.v1.call_pb2 import Outcome
from trunkline_client import ConnectionFailed, Interrupted, ModelNotFound, TrunklineError
from trunkline_server.cli.terminal import tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.call_pb2 import Attempt


class ExitCode(IntEnum):
    """What a script can tell apart: `trunkline --help` has the list. Typer adds 130 for Ctrl-C."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    DENIED = 4
    INTERRUPTED = 5


_CODES = {
    StatusCode.INVALID_ARGUMENT: ExitCode.USAGE,
    StatusCode.UNAVAILABLE: ExitCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED: ExitCode.UNAVAILABLE,
    StatusCode.UNAUTHENTICATED: ExitCode.DENIED,
    StatusCode.PERMISSION_DENIED: ExitCode.DENIED,
}


class Failed(Exception):
    """The command ends with `code` after saying `message` and, indented under it, `more`."""

    def __init__(self, code: ExitCode, message: str, more: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.more = more

    def tell(self) -> None:
        """Write it to standard error."""
        tell("error", str(self), self.more)


def failed_call(error: TrunklineError, *, begun: bool = False) -> Failed:
    """What a failed call means for the command. `begun`: a part of the answer is written already."""
    message, more = _words(error), [*_details(error)]
    if begun:
        return Failed(ExitCode.INTERRUPTED, f"the answer is not whole: {message}", more)
    return Failed(exit_code(error), message, more)


def exit_code(error: TrunklineError) -> ExitCode:
    """The exit code of a call that failed before anything of its answer was written."""
    if isinstance(error, Interrupted):
        return ExitCode.INTERRUPTED
    if isinstance(error, ModelNotFound):
        return ExitCode.USAGE
    return _CODES.get(error.code, ExitCode.FAILED)


def _words(error: TrunklineError) -> str:
    if len(error.field_violations) > 1:
        message = f"{len(error.field_violations)} fields of the request are wrong"
    else:
        message = error.message or error.reason or error.code.name
    return f"{message} (call {error.call_id})" if error.call_id else message


def _details(error: TrunklineError) -> Iterator[str]:
    if len(error.field_violations) > 1:
        yield from (f"{field}: {description}" for field, description in error.field_violations)
    if error.failure is not None:
        yield from map(_told, error.failure.served.attempts)
    if isinstance(error, ConnectionFailed):
        yield "start a gateway with `trunkline serve`, or say where it is with --address or TRUNKLINE_ADDRESS"
    if error.retry_delay:
        yield f"try again in {error.retry_delay:.3g} s"


def _told(attempt: Attempt) -> str:
    target, outcome = attempt.target, Outcome.Name(attempt.outcome).removeprefix("OUTCOME_")
    status = f" {attempt.provider_status}" if attempt.provider_status else ""
    words = f": {attempt.provider_message}" if attempt.provider_message else ""
    return f"{target.provider}/{target.model}: {outcome}{status}{words}"
