"""What `trunkline demo` shows. Imported only by it, as cli/gateway.py is."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline_client import Answer, AsyncClient
from trunkline_server.cli.answer import summary, writing_answer
from trunkline_server.cli.gateway import running
from trunkline_server.cli.signals import stop_on_signals
from trunkline_server.cli.terminal import print_line
from trunkline_server.logs import Log, build_log
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, ServerSettings, Settings

_EXAMPLE = "Why is the sky blue?"
# The model is small and forgets to stop.
_LONGEST = 200


def demonstrate(prompt: str, port: int, *, keep: bool) -> None:
    """Start a gateway, let its embedded model answer, sum up. Raises Failed."""
    # The gateway's only caller is this command, which says itself what happened: its log goes nowhere.
    with Path(os.devnull).open("wb") as nowhere:
        uvloop.run(_demonstrate(prompt, port, build_log(nowhere), keep=keep))


async def _demonstrate(prompt: str, port: int, log: Log, *, keep: bool) -> None:
    # It leaves nothing behind, and the user's own ledger and keys are none of its business.
    with TemporaryDirectory() as data:
        async with running(_settings(port), log, Path(data)) as address:
            await _show(address, prompt, keep=keep)


async def _show(address: str, prompt: str, *, keep: bool) -> None:
    answer = await _stream(address, prompt)
    print_line(summary(answer.raw), style="dim")
    _tell_how_to_go_on(address if keep else ServerSettings().listen, keep=keep)
    if keep:
        await stop_on_signals().wait()


def _settings(port: int) -> Settings:
    """A gateway that has only the embedded model and ends without waiting for anybody."""
    return Settings(
        server=ServerSettings(
            listen=f"127.0.0.1:{port}", admin_listen="", auth="none", notice=Seconds(0.0), grace=Seconds(1.0)
        ),
        default_model="embedded",
        providers={"embedded": ProviderSettings(kind="embedded")},
    )


async def _stream(address: str, prompt: str) -> Answer:
    request = GenerateRequest(prompt=prompt, config=GenerationConfig(max_output_tokens=_LONGEST, temperature=0))
    with writing_answer() as writer:
        async with AsyncClient(address) as client, client.stream(request) as stream:
            async for text in stream.text:
                writer.write(text)
            return stream.response


def _tell_how_to_go_on(address: str, *, keep: bool) -> None:
    where = f" --address {address}" if keep else ""
    call = "trunkline.v1.GatewayService/StreamGenerate"
    print_line("")
    print_line("The gateway runs until Ctrl-C. Call it:" if keep else "Go on:")
    if not keep:
        print_line("  trunkline serve &")
    print_line(f"  trunkline generate{where} '{_EXAMPLE}'")
    print_line(f"""  grpcurl -plaintext -d '{{"prompt": "{_EXAMPLE}"}}' {address} {call}""")
