"""`trunkline providers` and `trunkline models --refresh` against a whole gateway."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway import gateway, settings_of
from upstreams import answer, upstream

from trunkline_server.settings import ADMIN_LISTEN

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

    from trunkline_server.settings import Settings

KEY = "sk-canary-0123456789abcdef"


def settings_with(tmp_path: Path, base_url: str) -> Settings:
    up = {"kind": "openai_compatible", "base_url": base_url, "default_model": "a", "api_key": "env:UP_KEY"}
    document: dict[str, Any] = {"server": {"admin_listen": "127.0.0.1:0"}, "providers": {"up": up, "openai": {}}}
    return settings_of(tmp_path, document, {"UP_KEY": KEY})


def listing(*ids: str) -> bytes:
    return answer(json.dumps({"data": [{"id": id_} for id_ in ids]}).encode())


async def test_providers_are_listed_switched_and_asked(command: Command, tmp_path: Path) -> None:
    refused = answer(b'{"error": {"code": "invalid_api_key"}}', 401)
    async with upstream([listing("a")], [refused]) as server:
        async with gateway(settings_with(tmp_path, server.base_url)) as running:
            at = ("--address", running.admin_address)
            listed = await command.later("providers", "list", *at)
            one = await command.later("providers", "list", "up", "--json", *at)
            valid = await command.later("providers", "validate", "up", *at)
            bad = await command.later("providers", "validate", *at)
            off = await command.later("providers", "disable", "up", "--reason", "incident 7", *at)
            off_again = await command.later("providers", "disable", "up", "--reason", "incident 7", *at)
            while_off = await command.later("providers", "list", *at)
            call = await command.later("generate", "x", "--model", "up", "--address", running.address)
            back = await command.later("providers", "enable", "up", *at)
            nobody = await command.later("providers", "enable", "upp", *at)
    rows = {line.split("\t")[0]: line.split("\t") for line in listed.out.splitlines()}
    assert rows["provider"][:4] == ["provider", "kind", "state", "models"]
    assert rows["up"][:6] == ["up", "openai_compatible", "SERVING", "1 of 1", "never", "env:UP_KEY ...cdef"]
    assert "OPENAI_API_KEY" in rows["openai"][7]
    (told,) = json.loads(one.out)["providers"]
    assert told["name"] == "up"
    assert (valid.code, "VALID\tSUCCESS" in valid.out) == (0, True)
    assert (bad.code, "REFUSED\tAUTH" in bad.out, "not asked" in bad.out) == (1, True, True)
    assert off.out == "up is out of routing, until the gateway starts again; then the configuration decides\n"
    assert off_again.out.endswith("(nothing has changed)\n")
    assert "up\topenai_compatible\tDISABLED" in while_off.out
    assert (call.code, "incident 7" in call.err) == (1, True)
    assert back.out == "up is in routing, as the configuration has it\n"
    assert (nobody.code, "did you mean up?" in nobody.err) == (2, True)
    assert KEY not in "".join(ran.out + ran.err for ran in (listed, one, valid, bad, while_off))


async def test_refresh_tells_what_changed_and_lists(command: Command, tmp_path: Path) -> None:
    async with upstream([listing("a", "b")], [listing("b")], [answer(b"", 503)]) as server:
        async with gateway(settings_with(tmp_path, server.base_url)) as running:
            at = ("--provider", "up", "--address", running.address)
            new = await command.later("models", "--refresh", *at)
            gone = await command.later("models", "--refresh", *at)
            failed = await command.later("models", "--refresh", *at)
    assert (new.code, new.err) == (0, "new: up/b\n")
    assert "up/b\t\tunknown\tunknown\tstreaming\tunknown\tunknown\t\tyes" in new.out
    assert gone.err == "gone: up/a\n"
    assert re.search(r"up/a\t.*\tno: up no longer lists a", gone.out)
    assert "warning: up: it did not tell its models (OVERLOADED, status 503)" in failed.err
    assert "nothing has changed" in failed.err


def test_serve_goes_without_where_the_usual_port_is_taken(tmp_path: Path) -> None:
    host, _, port = ADMIN_LISTEN.rpartition(":")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # then somebody else has it already, which is as good
            taken.bind((host, int(port)))
            taken.listen()
        path = tmp_path / "trunkline.yaml"
        path.write_text("server: {listen: '127.0.0.1:0', notice: 0}\nproviders: {embedded: {enabled: false}}\n")
        arguments = [sys.executable, "-m", "trunkline_server", "serve", "--config", str(path)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            lines = [json.loads(process.stderr.readline()) for _ in range(2)]
            process.terminate()
            assert process.wait(timeout=20) == 0
    assert [line["event"] for line in lines] == ["listening", "no_admin_service"]
    assert (lines[0]["admin"], lines[1]["taken"]) == (None, ADMIN_LISTEN)
