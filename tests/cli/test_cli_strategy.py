"""`trunkline route` and `trunkline strategy` against a whole gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway import gateway, settings_of
from test_routing_served import SAID, two_models
from upstreams import upstream

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


async def test_the_command_line_plans_and_sets(command: Command, tmp_path: Path) -> None:
    async with upstream([SAID]) as server, gateway(two_models(tmp_path, server.base_url)) as running:
        at, admin = ("--address", running.address), ("--address", running.admin_address)
        plan = await command.later("route", "hello", "--strategy", "quality_optimized", "--max-cost", "0.001", *at)
        as_json = await command.later("route", "hello", "--json", *at)
        unmet = await command.later("route", "hello", "--model", "up/good", "--max-cost", "0", *at)
        set_ = await command.later("strategy", "set", "cost-optimized", *admin)
        task = await command.later("strategy", "set", "balanced", "--task", "review", *admin)
        reset = await command.later("strategy", "reset", *admin)
        bad = await command.later("strategy", "set", "best", *admin)
        assert server.requests == []
    assert plan.code == 0
    assert "strategy quality_optimized; simple, about" in plan.out
    assert "1\tup/cheap\t0.200" in plan.out
    assert "up/good\tmax_cost_nano_usd\tthe call is expected to cost" in plan.out
    assert json.loads(as_json.out)["strategy"] == "balanced"
    assert (unmet.code, "the cheapest is up/good" in unmet.err) == (2, True)
    lasts = "until the gateway starts again; then the configuration decides"
    assert set_.out == f"gateway: cost_optimized, {lasts}; before: balanced\n"
    assert task.out == f"task review: balanced, {lasts}; before: none of its own\n"
    assert reset.out == "gateway: balanced, as the configuration has it; before: cost_optimized\n"
    assert (bad.code, "there are balanced" in bad.err) == (2, True)


async def test_a_plan_for_an_agent_of_some_quality_with_a_model_that_is_gone(command: Command, tmp_path: Path) -> None:
    document = {
        "default_model": "mock/first",
        "providers": {"mock": {"scripts": {"first": {"text": "one"}, "old": {"text": "two"}}}},
        "agents": {"writer": {"model": "mock/old"}},
        "model_data": {
            "mock/old": {"retirement": "2020-01-01", "replacement": "first"},
            "mock/first": {"scores": {"quality": 0.4}},
        },
    }
    async with gateway(settings_of(tmp_path, document)) as running:
        at = ("--address", running.address)
        plan = await command.later("route", "hello", "--agent", "writer", "--min-quality", "0.3", *at)
        unmet = await command.later("route", "hello", "--agent", "writer", "--min-quality", "0.5", *at)
        wrong = await command.later("route", "hello", "--min-quality", "5", *at)
    assert "\nmodel: mock/old is gone" in f"\n{plan.err.replace('warning: ', '')}"
    assert "1\tmock/first" in plan.out
    assert (unmet.code, wrong.code) == (2, 2)
    assert "mock/first" in unmet.err
