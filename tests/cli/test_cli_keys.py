"""`trunkline keys` and `trunkline audit`, beside a gateway and without one; commands with keys and over TLS."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from gateway import gateway, settings_of
from keyed import keyed

from trunkline_server.cli.keeping import place_of
from trunkline_server.settings import DatabaseUrl, LedgerSettings, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

FORM = re.compile(r"tl_([0-9a-z]{12})_[0-9A-Za-z]{43}")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration with a database of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "keys.yaml"
    (tmp_path / "pepper").write_text("p" * 32)
    ledger = f"ledger: {{url: 'sqlite:///{tmp_path}/keys.sqlite3'}}\n"
    path.write_text(f"{ledger}server: {{pepper: 'file:{tmp_path}/pepper'}}\n")
    return f"--config={path}"


def test_a_key_is_made_listed_rotated_and_revoked(command: Command, config: str) -> None:
    made = command(
        "keys",
        "create",
        "ci",
        "--workspace",
        "w",
        "--model",
        "openai/*",
        "--expires",
        "90d",
        "--strategy",
        "Round-Robin",
        config,
    )
    assert (made.code, made.err.count("shown this once")) == (0, 1)
    match = FORM.fullmatch(made.out.strip())
    assert match
    listed = command("keys", "list", config).out.splitlines()
    assert listed[1].split("\t")[:5] == [match[1], "ci", "w", "caller", "openai/* by Round-Robin"]
    rotated = command("keys", "rotate", match[1], "--overlap", "2h", config)
    again = FORM.fullmatch(rotated.out.strip())
    assert again
    assert again[1] == match[1]
    assert again[0] != match[0]
    assert "two secrets until" in command("keys", "list", config).out
    assert "within 5 seconds" in command("keys", "revoke", match[1], config).out
    assert len(command("keys", "list", config).out.splitlines()) == 1
    assert "revoked" in command("keys", "list", "--all", config).out
    events = command("audit", config).out.splitlines()
    assert [line.split("\t")[1] for line in events[1:]] == ["KEY_REVOKED", "KEY_ROTATED", "KEY_CREATED"]
    assert {tuple(line.split("\t")[2:7]) for line in events[1:]} == {("done", match[1], "-", "-", "command line")}
    told = json.loads(command("audit", "--kind", "key_revoked", "--json", config).out)
    assert [event["subject"] for event in told["events"]] == [match[1]]
    secret = match[0].split("_")[2]
    assert secret not in command("audit", config).out + command("keys", "list", "--json", "--all", config).out


def test_a_new_key_says_which_gateways_take_it(command: Command, config: str, tmp_path: Path) -> None:
    made = command("keys", "create", "ci", "--provider", "mok", config)
    assert (made.code, FORM.fullmatch(made.out.strip()) is not None) == (0, True)
    assert f"for gateways whose ledger is {tmp_path}/keys.sqlite3" in made.err
    assert "warning: no provider is called 'mok' here (did you mean mock?)" in made.err


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:secret@db.example:5432/ledger?password=secret", "postgresql://db.example:5432/ledger"),
        ("postgresql://ann@/ledger?host=/run/pg", "postgresql:///ledger"),
        ("sqlite:////var/lib/a%20b.sqlite3", "/var/lib/a b.sqlite3"),
        ("sqlite:///here.sqlite3", "here.sqlite3"),
    ],
)
def test_where_keys_are_is_told_without_who_logs_in_there(url: str, place: str) -> None:
    assert place_of(Settings(ledger=LedgerSettings(url=DatabaseUrl(url)))) == place


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("keys", "create", " "), "name"),
        (("keys", "create", "x", "--workspace", "No"), "workspace"),
        (("keys", "create", "x", "--role", "king"), "--role"),
        (("keys", "create", "x", "--expires", "soon"), "90d"),
        (("keys", "create", "x", "--model", ""), "allowed_models[0]"),
        (("keys", "create", "x", "--strategy", "priority", "--strategy", "balancd"), "allowed_strategies[1]"),
        (("keys", "rotate", "nobody"), "names no key"),
        (("keys", "rotate", "000000000000", "--overlap", "91d"), "overlap"),
        (("keys", "revoke", "000000000000"), "names no key"),
        (("audit", "--kind", "gossip"), "key_created"),
    ],
)
def test_what_is_wrong_is_named(command: Command, config: str, arguments: tuple[str, ...], named: str) -> None:
    ran = command(*arguments, config)
    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err


async def test_a_key_of_the_command_opens_a_gateway_that_runs(
    command: Command, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = {"url": f"sqlite:///{tmp_path}/keys.sqlite3"}
    server = {"auth": "keys", "pepper": f"file:{tmp_path}/pepper"}
    settings = settings_of(tmp_path, {"default_model": "mock", "ledger": ledger, "server": server})
    async with gateway(settings) as running:
        there = ("--address", running.address)
        missing = await command.later("generate", "hi", *there)
        assert missing.code == 4
        assert "authorization: Bearer" in missing.err
        key = (await command.later("keys", "create", "x", "--role", "operator", config)).out.strip()
        assert (await command.later("generate", "hi", *there, "--api-key", key)).out == "Mock response\n"
        monkeypatch.setenv("TRUNKLINE_API_KEY", key)
        for arguments in (("generate", "hi"), ("health", "--probe"), ("models",), ("usage",)):
            ran = await command.later(*arguments, *there)
            assert (ran.code, key in ran.out + ran.err) == (0, False)
        monkeypatch.setenv("TRUNKLINE_API_KEY", key[:-1])
        refused = await command.later("health", *there)
        assert refused.code == 4
        assert key[:-1] not in refused.err


async def test_commands_speak_tls(command: Command, tmp_path: Path) -> None:
    authority = Authority.new(tmp_path)
    authority.write("ops", "ops.example.org")
    tls = authority.asking_callers({"ops.example.org": {"role": "operator"}})
    async with keyed(tmp_path, {"server": {"tls": tls}}) as world:
        there = ("--address", f"localhost:{world.running.app.port}", "--ca", f"{tmp_path}/ca.pem")
        pair = ("--cert", f"{tmp_path}/ops.pem", "--key", f"{tmp_path}/ops.key")
        assert (await command.later("health", "--probe", *there, *pair)).code == 0
        assert (await command.later("generate", "hi", *there, *pair)).out == "Mock response\n"
        assert (await command.later("health", *there)).code == 3
        for wrong, named in (((*there, *pair[:2]), "belong together"), (("--ca", "/nowhere"), "/nowhere")):
            ran = await command.later("health", *wrong)
            assert (ran.code, named in ran.err) == (2, True)
