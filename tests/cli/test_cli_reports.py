"""`trunkline health`, `models` and `usage` against a whole gateway."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from databases import Failing
from gateway import gateway, settings_of
from upstreams import answer, upstream

from trunkline.v1.gateway_service_pb2 import GenerateRequest

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

DOCUMENT = {"default_model": "mock", "aliases": {"quick": "mock/mock-fast"}, "providers": {"openai": {}}}


async def test_health_tells_the_state_and_the_reasons(command: Command, tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, DOCUMENT)) as running:
        brief = await command.later("health", "--address", running.address)
        full = await command.later("health", "--providers", "--address", running.address)
        as_json = await command.later("health", "--json", "--providers", "--address", running.address)
    assert brief.code == full.code == as_json.code == 0
    assert brief.out.startswith("DEGRADED: trunkline ")
    assert brief.out.splitlines()[1:] == ["cannot be called: embedded, openai; why: --providers"]
    rows = [line.split("\t") for line in full.out.split("\n\n")[0].splitlines()[1:]]
    assert rows[0] == ["provider", "state", "last answer", "last failure", "reason"]
    told = {row[0]: row for row in rows}
    assert told["mock"] == ["mock", "SERVING", "-", "-", ""]
    assert told["openai"][1] == "NOT_SERVING"
    assert "OPENAI_API_KEY" in told["openai"][4]
    assert json.loads(as_json.out)["state"] == "STATE_DEGRADED"


def tables(out: str) -> list[list[list[str]]]:
    """The tables of a report, without its first line."""
    return [[line.split("\t") for line in table.splitlines()] for table in out.split("\n", 1)[1].split("\n\n")]


async def test_probes_are_told_with_all_that_is_known_of_a_provider(command: Command, tmp_path: Path) -> None:
    limited = answer(b"{}", 429, x_ratelimit_remaining_requests="0", x_request_id="req-7", retry_after="3600")
    async with upstream([limited]) as server:
        key = {"api_key": "env:UP_KEY", "base_url": server.base_url}
        settings = settings_of(
            tmp_path,
            {"providers": {"up": {"kind": "openai", **key}, "embedded": {"enabled": False}}},
            {"UP_KEY": "sk-0123456789abcdefghij"},
        )
        async with gateway(settings) as running:
            ran = await command.later("health", "--probe", "--models", "--address", running.address)
    _, endpoints, traffic, limits, errors, probes, status = tables(ran.out)
    assert ran.code == 0
    assert endpoints[1][:4] == ["mock", "mock", "-", "UNKNOWN"]
    assert endpoints[2][:4] == ["up", server.base_url, "env:UP_KEY ...ghij", "UNKNOWN"]
    assert endpoints[2][5].startswith(("59 min", "60 min", "1 h"))
    assert endpoints[2][6:8] == ["0 of 1000", "0"]
    assert traffic[1][:5] == ["mock", "-", "CLOSED", "0", "0.0%"]
    assert traffic[2][:7] == ["up", "env:UP_KEY ...ghij", "CLOSED", "0", "100.0%", "-", "-"]
    assert int(traffic[2][7].removesuffix("%")) >= 50
    assert limits[1] == ["up", "env:UP_KEY ...ghij", "requests", "0", "-", "-"]
    assert (errors[1][0], *errors[1][2:4], errors[1][5]) == ("up", "RATE_LIMITED", "429", "req-7")
    assert {(row[0], row[1], row[3]) for row in probes[1:]} >= {
        ("mock", "mock-fast", "SUCCESS"),
        ("mock", "mock-slow", "SUCCESS"),
        ("up", "-", "RATE_LIMITED"),
        *(("up", model, "RATE_LIMITED") for model in ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini")),
    }
    assert status[1] == ["up", "https://status.openai.com"]


async def test_models_that_were_not_asked_are_counted(command: Command, tmp_path: Path) -> None:
    async with upstream([answer(b"{}", 400)]) as server:
        up = {
            "kind": "openai_compatible",
            "base_url": server.base_url,
            "models": [f"m{number}" for number in range(70)],
        }
        settings = settings_of(tmp_path, {"providers": {"up": up, "embedded": {"enabled": False}}})
        async with gateway(settings) as running:
            ran = await command.later("health", "--models", "--address", running.address)
    assert tables(ran.out)[-1] == [["provider", "models not asked, there are too many"], ["up", "8"]]


async def test_without_flags_nobody_is_asked(command: Command, tmp_path: Path) -> None:
    async with upstream([answer(b"{}")]) as server:
        up = {"kind": "openai_compatible", "base_url": server.base_url, "models": ["m"]}
        async with gateway(settings_of(tmp_path, {"providers": {"up": up}})) as running:
            await command.later("health", "--providers", "--address", running.address)
            assert server.requests == []
            await command.later("health", "--probe", "--address", running.address)
            assert [request.target for request in server.requests] == ["/models"]


async def test_a_terminal_gets_tables_and_colours(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    async with gateway(settings_of(tmp_path, DOCUMENT)) as running:
        coloured = await command.later("health", "--providers", "--address", running.address)
        monkeypatch.setenv("NO_COLOR", "1")
        plain = await command.later("health", "--providers", "--address", running.address)
    assert coloured.out.startswith("\x1b[32mDEGRADED: ")
    assert plain.out.startswith("DEGRADED: ")
    for shown in (coloured.out, plain.out):
        assert "────" in shown
        assert "\t" not in shown


async def test_a_gateway_that_nobody_should_call_is_unavailable(command: Command, tmp_path: Path) -> None:
    document = {"providers": {"mock": {"enabled": False}, "openai": {}}}
    async with gateway(settings_of(tmp_path, document)) as running:
        ran = await command.later("health", "--address", running.address)
    assert ran.code == 3
    assert ran.out.startswith("NOT_SERVING: ")


async def test_models_are_listed_with_why_they_cannot_be_called(command: Command, tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, DOCUMENT)) as running:
        listed = await command.later("models", "--address", running.address)
        of_mock = await command.later("models", "--provider", "mock", "--address", running.address)
        available = await command.later("models", "--available", "--json", "--address", running.address)
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in listed.out.splitlines()}
    prices = ["input $/1M", "output $/1M"]
    assert rows["model"] == ["aliases", "window", "output", "can", *prices, "retires", "available"]
    assert rows["mock/mock-fast"] == ["quick", "unknown", "unknown", "streaming, tools", "0", "0", "", "yes"]
    can = "streaming, tools, json_schema, logprobs, vision, json_mode"
    after = "2027-01-14: openai/gpt-6-luna"
    assert rows["openai/gpt-4o-mini"][:7] == ["", "128000", "16384", can, "0.15", "0.6", after]
    assert "no: set OPENAI_API_KEY" in rows["openai/gpt-4o-mini"][7]
    assert {line.split("/")[0] for line in of_mock.out.splitlines()[1:]} == {"mock"}
    told = json.loads(available.out)["models"]
    assert all(model["available"] for model in told)
    assert "mock/mock-fast" in {model["id"] for model in told}


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), "abcd"),
        (("--can", "tools"), "ab"),
        (("--max-input-price", "2.5"), "ac"),
        (("--max-output-price", "2"), "a"),
        (("--max-cost", "0.005"), "ac"),
        (("--max-cost", "0.004", "--output-tokens", "0", "--input-tokens", "2000"), "a"),
        (("--min-window", "9000"), "a"),
        (("--min-quality", "0.5"), "ab"),
        (("--min-speed", "0.8"), "b"),
        (("--max-first-token", "0.001"), "abcd"),
        (("--open",), "c"),
        (("--available", "--provider", "up", "--can", "tools", "--min-quality", "0.6"), "b"),
    ],
)
async def test_models_are_filtered(command: Command, tmp_path: Path, options: tuple[str, ...], ids: str) -> None:
    """What was never measured is not left out for its time."""
    up = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1", "models": ["a", "b", "c", "d"]}
    plain = {"capabilities": ["streaming"]}
    more: dict[str, Any] = {
        "up/a": {"context_window": 9000, "scores": {"quality": 0.5}},
        "up/b": {"context_window": 8000, "scores": {"quality": 0.6, "speed": 0.9}},
        "up/c": {**plain, "open_weights": True},
        "up/d": plain,
    }
    prices = [
        {"model": f"up/{name}", "input": cost, "output": cost + 1} for name, cost in (("a", 1), ("b", 9), ("c", 2.5))
    ]
    document = {"providers": {"up": up}, "model_data": more, "prices": prices}
    async with gateway(settings_of(tmp_path, document)) as running:
        ran = await command.later("models", "--provider", "up", "--json", *options, "--address", running.address)
        bad = await command.later("models", "--max-input-price", "x", "--address", running.address)
    found = json.loads(ran.out or "{}").get("models", [])
    assert "".join(each["id"].removeprefix("up/") for each in found) == ids
    assert (bad.code, "--max-input-price" in bad.err) == (2, True)


async def test_a_recommendation_says_why(command: Command, tmp_path: Path) -> None:
    up = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1", "models": ["a", "b"]}
    more = {"up/a": {"context_window": 9000, "scores": {"quality": 0.5}}, "up/b": {"context_window": 8000}}
    document = {"providers": {"up": up, "embedded": {"enabled": False}}, "model_data": more}
    async with gateway(settings_of(tmp_path, document)) as running:
        at = ("--address", running.address)
        best = await command.later("recommend", "--can", "tools", "--by", "best", *at)
        wide = await command.later("recommend", "--min-window", "9000", "--json", *at)
        cheap = await command.later("recommend", "--max-cost", "0.01", *at)
        local = await command.later("recommend", "--local", "--min-quality", "0.5", "--prefer-open", *at)
        fast = await command.later("recommend", "--max-first-token", "0.1", "--json", *at)
        wrong = [
            await command.later("recommend", *bad, *at)
            for bad in (("--can", "fly"), ("--by", "luck"), ("--max-cost", "x"), ("--max-cost", "-1"))
        ]
    unknown = "its price is not known; quality 0.500 (configuration); its speed is not known"
    assert best.out.splitlines()[:2] == ["model\tscore\twhy", f"up/a\t0.500\t{unknown}"]
    assert [each["model"]["id"] for each in json.loads(wide.out)["recommendations"]] == ["up/a"]
    assert {each["model"]["id"] for each in json.loads(fast.out)["recommendations"]} == {"up/a", "up/b"}
    assert len(cheap.out.splitlines()) == len(local.out.splitlines()) == 1, "nothing fits"
    assert cheap.err == local.err == "no model fits what is asked for\n"
    assert [ran.code for ran in wrong] == [2] * 4
    assert "'fly' is none of streaming, tools" in wrong[0].err
    assert "'luck' is none of balanced, cheapest, fastest, best" in wrong[1].err
    assert "no amount of USD such as 0.01" in wrong[2].err


async def test_usage_has_a_line_for_each_group_and_one_for_all(command: Command, tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, DOCUMENT)) as running:
        for model in ("mock/mock-fast", "mock/mock-fast", "nobody"):
            await command.later("generate", "one two", "--model", model, "--address", running.address)
        grouped = await command.later("usage", "--by", "provider, model", "--address", running.address)
        together = await command.later("usage", "--address", running.address)
        as_json = await command.later("usage", "--json", "--address", running.address)
    rows = [line.split("\t") for line in grouped.out.splitlines()]
    assert rows[0][:6] == ["provider", "model", "calls", "ok", "errors", "cancelled"]
    assert [row[:6] for row in rows[1:]] == [
        ["-", "-", "1", "0", "1", "0"],
        ["mock", "mock/mock-fast", "2", "2", "0", "0"],
        ["all", "all", "3", "2", "1", "0"],
    ]
    figures = dict(zip(rows[0], rows[2], strict=True))
    assert int(figures["tokens out"]) > 0
    assert 0 <= float(figures["total p50"]) <= float(figures["total p95"]) < 60
    assert dict(zip(rows[0], rows[1], strict=True))["total p50"] == "-"
    assert together.out.splitlines()[1].split("\t")[:4] == ["3", "2", "1", "0"]
    assert json.loads(as_json.out)["totals"]["cancelled"] == "0"


@pytest.mark.parametrize("report", ["health", "models", "usage"])
def test_no_gateway_is_unavailable(command: Command, report: str) -> None:
    ran = command(report, "--address", "127.0.0.1:1")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: no connection to the gateway at 127.0.0.1:1: ")


async def test_health_says_what_is_wrong_with_the_ledger(tmp_path: Path, command: Command) -> None:
    async with gateway(settings_of(tmp_path, {})) as running:
        database = running.app._ledger.database = Failing(running.app._ledger.database)
        database.failure = "disk full"
        await running.stub.Generate(GenerateRequest(model="mock", prompt="hi"))
        while not running.app._ledger.health().failing:
            await asyncio.sleep(0)
        ran = await command.later("health", "--address", running.address)
        assert "ledger: 2 rows wait" in ran.out
        assert "the disk is full" in ran.out
        database.failure = None
        while running.app._ledger.health().failing:
            await asyncio.sleep(0)
        assert "ledger" not in (await command.later("health", "--address", running.address)).out
