"""`trunkline benchmark`, and what the gateway makes of what it found."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from trunkline_server import config
from trunkline_server.cli.benchmarking import PROMPTS
from trunkline_server.config.measured import FILE_NAME, read_measured, with_measured, write_measured
from trunkline_server.entry_points import extensions_of
from trunkline_server.providers.weights import SMOLLM2
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.described import speed_of
from trunkline_server.sections import Seconds
from trunkline_server.settings.models import MeasuredSettings

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

    from trunkline.v1.model_pb2 import ModelScore
    from trunkline_server.settings import Settings

SCRIPTS = """
providers:
  mock:
    scripts:
      slow: {text: "one two three four five six seven eight nine ten", first_token: 200ms, rate: 50}
      quick: {text: "one two three four five six seven eight nine ten", repeat: 20, first_token: 20ms, rate: 400}
      silent: {text: "one two three", usage: false}
      failing: {failure: {kind: status, status: 500}}
aliases: {fast: mock/quick}
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, with a configuration beside it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "t.yaml").write_text(SCRIPTS)
    monkeypatch.setenv("TRUNKLINE_CONFIG", str(tmp_path / "t.yaml"))
    return tmp_path / "trunkline"


def speed(settings: Settings, model: str) -> ModelScore | None:
    offer = build_offers(settings, extensions_of(settings).rows, {})["mock"]
    return next((score for score in offer.models[model].scores if score.name == "speed"), None)


def test_it_measures_what_the_script_does(command: Command, data: Path) -> None:
    ran = command("benchmark", "fast", "mock/slow", "--rounds", "1")
    assert ran.code == 0, ran.err
    head, quick, slow = (line.split("\t") for line in ran.out.splitlines())
    assert head == ["target", "answered by", "first token", "tokens/s", "load", "speed", "cost"]
    assert (quick[0], quick[1], slow[1]) == ("fast", "mock/quick", "mock/slow")
    assert 0.02 <= float(quick[2].split()[0]) < 0.2 <= float(slow[2].split()[0]) < 1
    assert 30 < float(slow[3]) <= 56, "ten words at fifty a second: nine pauses"
    assert float(quick[3]) > float(slow[3])
    assert float(quick[5]) > float(slow[5])
    assert set(read_measured(data)) == {"mock/quick", "mock/slow"}


def test_what_was_measured_is_the_models_score_of_speed(command: Command, data: Path) -> None:
    settings = config.load(config.find_path())
    assert speed(with_measured(settings, data), "quick") is None
    command("benchmark", "mock/quick", "--rounds", "1")
    known = with_measured(settings, data)
    found = read_measured(data)["mock/quick"]
    score = speed(known, "quick")
    assert score is not None
    assert score.source == "measured"
    assert score.value == speed_of(found.first_token, found.tokens_per_second)
    assert config.version(known) != config.version(settings), "it decides differently"


def test_one_that_fails_is_told_and_the_others_are_measured(command: Command, data: Path) -> None:
    ran = command("benchmark", "mock/failing", "mock/quick", "--rounds", "1")
    assert ran.code == 1
    assert "mock/failing: " in ran.err
    assert "not measured: mock/failing" in ran.err
    assert set(read_measured(data)) == {"mock/quick"}


def test_nothing_is_kept_of_what_does_not_tell_its_tokens(command: Command, data: Path) -> None:
    ran = command("benchmark", "mock/silent", "--rounds", "1")
    assert "unknown" in ran.out
    assert read_measured(data) == {}


def test_nothing_is_kept_if_that_is_not_wanted(command: Command, data: Path) -> None:
    assert command("benchmark", "mock/quick", "--rounds", "1", "--no-keep").code == 0
    assert not (data / FILE_NAME).exists()


def test_what_was_measured_of_others_stays(data: Path) -> None:
    one, other = (MeasuredSettings(first_token=Seconds(n), tokens_per_second=n) for n in (1, 2))
    write_measured(data, {"mock/a": one, "gone/m": one})
    write_measured(data, {"mock/a": other, "mock/b": one})
    assert read_measured(data) == {"gone/m": one, "mock/a": other, "mock/b": one}
    assert [path.name for path in data.iterdir()] == [FILE_NAME]
    settings = with_measured(config.load(config.find_path()), data)
    assert set(settings.measured) == {"mock/a", "mock/b"}, "of providers that are configured"


def test_the_configuration_goes_before_the_file_and_model_data_before_both(data: Path) -> None:
    write_measured(data, {"mock/quick": MeasuredSettings(first_token=Seconds(1), tokens_per_second=50)})
    path = data.parent / "t.yaml"
    path.write_text(SCRIPTS + "measured: {mock/quick: {first_token: 0, tokens_per_second: 50}}\n")
    score = speed(with_measured(config.load(path), data), "quick")
    assert score is not None
    assert score.value == 0.75
    path.write_text(path.read_text() + "model_data: {mock/quick: {scores: {speed: 0.1}}}\n")
    score = speed(with_measured(config.load(path), data), "quick")
    assert score is not None
    assert (score.value, score.source) == (0.1, "configuration")


def test_a_file_that_is_damaged_counts_as_none(data: Path) -> None:
    data.mkdir()
    for text in ("[", "5", "mock/quick: {first_token: x}", "a: b"):
        (data / FILE_NAME).write_text(text)
        assert read_measured(data) == {}


def test_prompts_are_fixed() -> None:
    """Who changes them makes what was measured before incomparable."""
    assert [len(prompt) for prompt in PROMPTS] == [28, 96, 1661]


@pytest.mark.embedded
def test_the_embedded_model_takes_a_while_to_load(command: Command, data: Path) -> None:
    if importlib.util.find_spec("xllamacpp") is None or not (config.cache_folder() / SMOLLM2.file_name).is_file():
        pytest.skip("the embedded model is not here: trunkline model pull")
    ran = command("benchmark", "embedded", "--rounds", "1")
    assert ran.code == 0, ran.err
    row = ran.out.splitlines()[1].split("\t")
    assert row[1] == "embedded/smollm2-135m-instruct"
    assert float(row[4].split()[0]) > 0, "its first call loads it"
    assert float(row[3]) > 0
