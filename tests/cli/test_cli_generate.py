"""`trunkline generate` against a real server: what goes where, and the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from make import answer, completed, delta, part, playing
from serving import serving

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.cli.answer import summary
from trunkline_server.errors import CallError, InvalidRequest, UnknownModel, Violation

if TYPE_CHECKING:
    from cli.conftest import Command

    from trunkline_server.core import Call, Events

END = completed(
    id="call-1",
    usage=call_pb2.Usage(output_tokens=30),
    served=call_pb2.Served(
        target=call_pb2.Target(provider="p", model="m"),
        time_to_first_token=Duration(nanos=250_000_000),
        total_time=Duration(seconds=1, nanos=750_000_000),
    ),
)
HELLO = playing([part("Hel"), delta("lo"), END])


async def test_the_text_goes_to_standard_output_and_nothing_else_does(command: Command) -> None:
    async with serving(HELLO) as server:
        ran = await command.later("generate", "hi", "--address", f"127.0.0.1:{server.port}")
    assert ran == (0, "Hello\n", "")


async def test_an_answer_that_ends_with_the_money_says_so(command: Command) -> None:
    """It is told apart from a whole one where nobody sees the summary."""
    end = completed()
    end.completed.response.finish_reason = content_pb2.FINISH_REASON_BUDGET
    async with serving(playing([part("Hel"), delta("lo"), end])) as server:
        ran = await command.later("generate", "hi", "--address", f"127.0.0.1:{server.port}")
    assert ran == (
        0,
        "Hello\n",
        "warning: the answer ends here because a budget pays for no more: see `trunkline budgets`\n",
    )


async def test_the_request_says_what_the_options_say(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Call] = []

    async def handle(call: Call) -> Events:
        seen.append(call)
        for event in answer("ok\n"):
            yield event

    async with serving(handle) as server:
        monkeypatch.setenv("TRUNKLINE_ADDRESS", f"127.0.0.1:{server.port}")
        told = ["--model", "p/m", "--system", "be brief", "--max-tokens", "7", "--temperature", "0", "--timeout", "9"]
        assert await command.later("generate", "hi", *told) == (0, "ok\n", "")
        assert await command.later("generate", "hi", "--no-stream") == (0, "ok\n", "")
    config = pb.GenerationConfig(max_output_tokens=7, temperature=0)
    assert seen[0].request == pb.GenerateRequest(model="p/m", prompt="hi", system_instruction="be brief", config=config)
    assert 0 < seen[0].deadline - seen[0].arrival < 9.1  # gRPC rounds a timeout up
    assert seen[1].request.config == pb.GenerationConfig()
    assert [call.streaming for call in seen] == [True, False]


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (call_pb2.Cost(total_nano_usd=12_345, certainty=call_pb2.CERTAINTY_REPORTED), " · 0.000012345 USD · "),
        (call_pb2.Cost(total_nano_usd=0, certainty=call_pb2.CERTAINTY_REPORTED), " · 0.00 USD · "),
        (call_pb2.Cost(total_nano_usd=12_345, certainty=call_pb2.CERTAINTY_ESTIMATED), " · about 0.000012345 USD · "),
        (call_pb2.Cost(price_version="1", certainty=call_pb2.CERTAINTY_REPORTED), " · unpriced · "),
    ],
)
def test_the_summary_says_what_it_cost_and_how_sure_that_is(cost: call_pb2.Cost, words: str) -> None:
    assert words in summary(pb.GenerateResponse(cost=cost))


def test_a_call_without_cost_says_nothing_of_it() -> None:
    assert "USD" not in summary(pb.GenerateResponse())
    assert "unpriced" not in summary(pb.GenerateResponse())


@pytest.mark.parametrize("argument", [[], ["-"]])
async def test_the_prompt_is_read_from_standard_input(command: Command, argument: list[str]) -> None:
    async def echo(call: Call) -> Events:
        for event in answer(call.request.prompt):
            yield event

    command.type_in("naïve\nquestion\n".encode())
    async with serving(echo) as server:
        ran = await command.later("generate", *argument, "--address", f"127.0.0.1:{server.port}")
    assert ran == (0, "naïve\nquestion\n", "")


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "the prompt is empty"), (b" \n", "the prompt is empty"), (b"\xff", "not UTF-8")]
)
def test_no_prompt_is_wrong_usage(command: Command, data: bytes, words: str) -> None:
    command.type_in(data)
    ran = command("generate")
    assert ran.code == 2
    assert words in ran.err
    assert "Traceback" not in ran.err


async def test_json_is_the_response_of_the_contract(command: Command) -> None:
    async with serving(HELLO) as server:
        ran = await command.later("generate", "hi", "--json", "--address", f"127.0.0.1:{server.port}")
    told = json.loads(ran.out)
    assert ran.code == 0
    assert (told["message"]["role"], told["message"]["parts"][0]["text"]) == ("ROLE_ASSISTANT", "Hello")
    assert told["usage"]["outputTokens"] == "30"
    assert told["finishReason"] == "FINISH_REASON_STOP"


async def test_what_was_left_out_is_a_warning(command: Command) -> None:
    warning = call_pb2.Warning(field="config.top_k", message="is not sent: p does not know it")
    refusal = pb.StreamGenerateResponse(part_started=pb.PartStarted(part=content_pb2.Part(refusal="I won't")))
    async with serving(playing([refusal, completed(warnings=[warning])])) as server:
        ran = await command.later("generate", "hi", "--address", f"127.0.0.1:{server.port}")
    assert ran.code == 0
    assert ran.out == ""
    assert ran.err == (
        "warning: config.top_k: is not sent: p does not know it\nwarning: the model declines to answer: I won't\n"
    )


FAILURE = call_pb2.CallFailure(
    served=call_pb2.Served(
        attempts=[
            call_pb2.Attempt(
                target=call_pb2.Target(provider="p", model="m"),
                outcome=call_pb2.OUTCOME_OVERLOADED,
                provider_status=529,
                provider_message="too busy\x1b[2J",
            )
        ]
    )
)
BAD_FIELDS = [Violation("config.top_p", "must be above 0"), Violation("config.seed", "must be at least 0")]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InvalidRequest(BAD_FIELDS), 2, ["  config.top_p: must be above 0\n", "  config.seed: must be at least 0\n"]),
        (InvalidRequest(BAD_FIELDS[:1]), 2, ["error: config.top_p: must be above 0 (call "]),
        (UnknownModel("gtp-4", "did you mean gpt-4?"), 2, ["did you mean gpt-4?"]),
        (CallError(call_pb2.ERROR_REASON_KEY_INVALID, "no such key"), 4, ["no such key"]),
        (CallError(call_pb2.ERROR_REASON_MODEL_NOT_ALLOWED, "not for you"), 4, ["not for you"]),
        (CallError(call_pb2.ERROR_REASON_INTERNAL, "a bug"), 1, ["a bug"]),
        (CallError(call_pb2.ERROR_REASON_RATE_LIMITED, "slowly", retry_after=2.5), 1, ["  try again in 2.5 s\n"]),
        (CallError(call_pb2.ERROR_REASON_DEADLINE_EXCEEDED, "too late"), 3, ["too late"]),
        (
            CallError(call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED, "nobody answered", failure=FAILURE),
            3,
            ["error: nobody answered (call ", "  p/m: OVERLOADED 529: too busy\N{REPLACEMENT CHARACTER}[2J\n"],
        ),
        (CallError(call_pb2.ERROR_REASON_STREAM_INTERRUPTED, "it broke off"), 5, ["it broke off"]),
    ],
    ids=lambda value: str(value) if isinstance(value, CallError) else "",
)
async def test_a_failed_call_is_told_in_words_and_by_its_exit_code(
    command: Command, error: CallError, code: int, words: list[str]
) -> None:
    async with serving(playing([error])) as server:
        ran = await command.later("generate", "hi", "--address", f"127.0.0.1:{server.port}")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    for each in words:
        assert each in ran.err


@pytest.mark.parametrize("options", [[], ["--json"]])
async def test_an_answer_that_breaks_off_has_a_code_of_its_own(command: Command, options: list[str]) -> None:
    error = CallError(call_pb2.ERROR_REASON_DEADLINE_EXCEEDED, "time is up")
    async with serving(playing([part("half"), error])) as server:
        ran = await command.later("generate", "hi", *options, "--address", f"127.0.0.1:{server.port}")
    if options:
        assert (ran.code, ran.out) == (3, "")
    else:
        assert (ran.code, ran.out) == (5, "half\n")
        assert ran.err.startswith("error: the answer is not whole: time is up (call ")


def test_no_gateway_is_unavailable_and_the_remedy_is_told(command: Command) -> None:
    ran = command("generate", "hi", "--address", "127.0.0.1:1")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: no connection to the gateway at 127.0.0.1:1: ")
    assert "  start a gateway with `trunkline serve`" in ran.err


def run_in_terminal(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The exit code of a process whose standard streams are a terminal, and all that the terminal shows."""
    ours, its = pty.openpty()
    process = subprocess.Popen(arguments, stdin=its, stdout=its, stderr=its, env={**os.environ, **environment})
    os.close(its)
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    return process.wait(), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says EIO when the other end is closed
        return b""


async def test_a_terminal_shows_a_summary_and_obeys_no_answer(command: Command) -> None:
    events: list[Any] = [part("one\r\n"), delta("\x1b]0;owned\x07two"), END]
    async with serving(playing(events)) as server:
        arguments = [sys.executable, "-m", "trunkline_server", "generate", "hi"]
        environment = {"TRUNKLINE_ADDRESS": f"127.0.0.1:{server.port}", "NO_COLOR": "1", "TERM": "xterm"}
        code, shown = await asyncio.to_thread(run_in_terminal, arguments, environment)
    assert code == 0
    replaced = "\N{REPLACEMENT CHARACTER}"
    text, summary = shown.replace("\r\n", "\n").rstrip("\n").rsplit("\n", 1)
    assert text == f"one\n{replaced}]0;owned{replaced}two"
    assert "30 tokens · first token 250 ms · 20.0 tokens/s · p/m · STOP · call call-1" in summary


async def test_ctrl_c_ends_the_call_and_is_told_by_the_exit_code() -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def handle(_: Call) -> Events:
        yield part("half")
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(handle) as server:
        arguments = ["-m", "trunkline_server", "generate", "hi", "--address", f"127.0.0.1:{server.port}"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
        assert process.stdout
        # Before the answer is whole: nothing is held back.
        assert await asyncio.wait_for(process.stdout.readexactly(4), 20) == b"half"
        await waiting.wait()
        process.send_signal(signal.SIGINT)
        rest, told = await process.communicate()
        await asyncio.wait_for(ended.wait(), 10)
    assert (process.returncode, rest, told) == (130, b"\n", b"")


async def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    async with serving(playing([part("one\n"), *[delta("more\n")] * 1000, END])) as server:
        command = f"{sys.executable} -m trunkline_server generate hi --address 127.0.0.1:{server.port} | head -n 1"
        process = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert await process.communicate() == (b"one\n", b"")
