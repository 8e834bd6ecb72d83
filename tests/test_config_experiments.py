"""What is wrong with configured experiments is said by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline_server import config
from trunkline_server.config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("{x: {arms: {embedded: 1}}}", "experiments.x.arms", "at least two arms"),
        ("{x: {arms: {embedded: 1, others: 0}}}", "experiments.x.arms", "at least two arms"),
        ("{x: {arms: {nobody: 1, others: 1}}}", "experiments.x.arms.nobody", "experiments.x.groups"),
        ("{x: {arms: {a: 1, others: 1}, groups: {a: [nobody]}}}", "experiments.x.groups.a[0]", "the name of a model"),
        ("{x: {arms: {embedded: 1, others: 1}, groups: {othres: [mock]}}}", "experiments.x.groups.othres", "others"),
        ("{x_y: {arms: {mock: 1, others: 1}}, X-Y: {arms: {mock: 1, others: 1}}}", "experiments.X-Y", "another name"),
        ("{x: {arms: {mock: -1, others: 1}}}", "experiments.x.arms.mock", "from 0"),
    ],
)
def test_refused(text: str, path: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "trunkline.yaml"
    file.write_text(f"experiments: {text}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(file, {})
    problems = {problem.path: problem.expected for problem in caught.value.problems}
    assert path in problems, problems
    assert said in problems[path]


def test_an_experiment_is_a_strategy_for_the_gateway_and_for_tasks(tmp_path: Path) -> None:
    file = tmp_path / "trunkline.yaml"
    file.write_text(
        "experiments: {tone: {arms: {mock: 1, others: 3}}}\n"
        "routing: {strategy: tone}\ntasks: {x: {strategy: ab_test}}\n"
    )
    assert config.load(file, {}).experiments["tone"].arms == {"mock": 1, "others": 3}
