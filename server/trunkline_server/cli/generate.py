"""`trunkline generate`."""

import sys
from typing import Annotated

from typer import Argument, Option

from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline_client import Answer, Client
from trunkline_server.cli.answer import AnswerWriter, tell_about, writing_answer
from trunkline_server.cli.connection import Connection, calling
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.options import AsJson, MaxTokens, Timeout
from trunkline_server.cli.terminal import print_json


@calling
def generate(  # noqa: PLR0913 - a parameter for each option
    connection: Connection,
    prompt: Annotated[
        str | None, Argument(metavar="PROMPT", help="What to ask. Without it, or with -, standard input is read.")
    ] = None,
    *,
    model: Annotated[
        str, Option(metavar="M", help="provider/model, an alias or a model's id. Default: as the gateway says.")
    ] = "",
    system: Annotated[str, Option(metavar="TEXT", help="Instructions to the model.")] = "",
    max_tokens: MaxTokens = None,
    temperature: Annotated[float | None, Option(metavar="T", help="From 0, always the likeliest token, to 2.")] = None,
    as_json: AsJson = False,
    timeout: Timeout = None,
    no_stream: Annotated[bool, Option("--no-stream", help="Ask for the whole answer at once.")] = False,
) -> None:
    """Ask a model and write its answer to standard output as it comes.

    Warnings go to standard error, and on a terminal a summary, too.
    """
    request = GenerateRequest(
        model=model,
        prompt=_read_prompt(prompt),
        system_instruction=system,
        config=GenerationConfig(max_output_tokens=max_tokens, temperature=temperature),
    )
    with connection.client(timeout) as client, writing_answer(quiet=as_json) as writer:
        answer = _ask(client, request, writer, stream=not no_stream)
    if as_json:
        print_json(answer.raw)
    else:
        tell_about(answer)


def _ask(client: Client, request: GenerateRequest, writer: AnswerWriter, *, stream: bool) -> Answer:
    if not stream:
        answer = client.generate(request)
        writer.write(answer.text)
        return answer
    with client.stream(request) as answering:
        for text in answering.text:
            writer.write(text)
        return answering.response


def _read_prompt(argument: str | None) -> str:
    """The argument, else all of standard input. Raises Failed if that is no prompt."""
    if argument is None and sys.stdin and sys.stdin.isatty():
        raise Failed(ExitCode.USAGE, "there is no prompt", ["give it as an argument or on standard input"])
    prompt = _read_standard_input() if argument is None or argument == "-" else argument
    if not prompt.strip():
        raise Failed(ExitCode.USAGE, "the prompt is empty")
    return prompt


def _read_standard_input() -> str:
    """All of it; nothing if it is closed."""
    try:
        return sys.stdin.buffer.read().decode() if sys.stdin else ""
    except UnicodeDecodeError:
        raise Failed(ExitCode.USAGE, "the prompt is not UTF-8 text") from None
