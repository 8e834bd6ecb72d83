"""The packaged data on models."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from datetime import date
from itertools import chain
from pathlib import Path

import pytest

from trunkline_server.models.data import DATA, TOLD, entry_of, id_of, names_of, read_data
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.table import ROWS

BOOK = Path(__file__).parents[2] / "server" / "modelbook"
ALL = [(kind, id_, entry) for kind, models in read_data().tables.items() for id_, entry in models.items()]
BY_TABLE = {name: kind for kind, names in read_data().kinds.items() for name in names}
TODAY = date(2026, 11, 28)

# Every model that the older systems name: what they say, whose it is, and whether it is retired by now.
NAMED = [
    ("openai", "gpt-4o", False),
    ("openai", "gpt-4o-mini", False),
    ("openai", "gpt-4-turbo", True),
    ("openai", "gpt-4", True),
    ("openai", "gpt-3.5-turbo", True),
    ("anthropic", "claude-3-opus", True),
    ("anthropic", "claude-3-sonnet", True),
    ("anthropic", "claude-3-haiku", True),
    ("anthropic", "claude-3-5-sonnet", True),
    ("anthropic", "claude-3.5-sonnet", True),
    ("anthropic", "claude-sonnet-5-5", False),
    ("anthropic", "claude-opus-5-5", False),
    ("anthropic", "claude-haiku-4-5", False),
    ("gemini", "gemini-1.5-pro", True),
    ("gemini", "gemini-1.5-flash", True),
    ("gemini", "gemini-2.0-flash", True),
    ("gemini", "gemini-2.5-pro", False),
    ("gemini", "gemini-2.5-flash", False),
    ("gemini", "gemini-pro", True),
    ("gemini", "gemini-ultra", True),
    ("gemini", "palm-2", True),
    ("vertex", "gemini-1.5-pro", True),
    ("vertex", "palm-2", True),
    ("mistral", "mistral-large", False),
    ("mistral", "mistral-medium", False),
    ("mistral", "mistral-small", False),
    ("mistral", "mistral-tiny", True),
    ("mistral", "mixtral-8x7b", True),
    ("mistral", "mixtral-8x22b", True),
    ("cohere", "command", True),
    ("cohere", "command-light", True),
    ("cohere", "command-r", False),
    ("cohere", "command-r-plus", False),
    ("ollama", "llama2", False),
    ("ollama", "llama3", False),
    ("ollama", "llama3.1", False),
    ("ollama", "llama3.1:70b", False),
    ("ollama", "mixtral", False),
    ("ollama", "codellama", False),
    ("ollama", "mistral", False),
    ("ollama", "qwen2.5-coder", False),
    ("ollama", "deepseek-coder", False),
    ("groq", "llama3-70b-8192", True),
    ("together", "codellama/CodeLlama-34b-Instruct-hf", False),
    ("together", "meta-llama/Llama-3-70b-chat-hf", False),
    ("together", "Qwen/Qwen2.5-Coder-32B-Instruct", False),
    ("together", "deepseek-ai/deepseek-coder-33b-instruct", False),
    ("fireworks", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct", False),
    ("fireworks", "accounts/fireworks/models/llama-v3-70b-instruct", False),
    ("qwen", "qwen2.5-coder-32b-instruct", False),
    ("deepseek", "deepseek-coder", True),
    # What is current.
    ("openai", "gpt-6-sol", False),
    ("openai", "gpt-6-luna", False),
    ("gemini", "gemini-3.8-flash", False),
    ("deepseek", "deepseek-v4-pro", False),
    ("xai", "grok-4.7", False),
    ("cohere", "command-a-03-2025", False),
]


@pytest.mark.parametrize(("kind", "model", "retired"), NAMED, ids=str)
def test_every_model_that_the_older_systems_name_is_known(kind: str, model: str, retired: bool) -> None:
    entry = entry_of(kind, model)
    assert entry is not None
    assert entry.window
    assert entry.family
    assert bool(entry.retired and entry.retired <= TODAY) is retired
    if retired:
        following = entry
        while following.retired and following.retired <= TODAY:
            successor = entry_of(kind, following.replacement)
            assert successor is not None
            following = successor


def test_what_the_rows_list_is_known_where_a_table_is() -> None:
    """Hosts come and go too fast for that; the vendors themselves are known whole."""
    vendors = ["openai", "anthropic", "gemini", "cohere", "mistral", "deepseek", "perplexity"]
    listed = [(kind, model) for kind in vendors for model in ROWS[kind].models]
    assert [each for each in listed if entry_of(*each) is None] == []


def test_each_entry_is_right() -> None:
    for kind, id_, entry in ALL:
        at = f"{kind}/{id_}"
        assert entry.window is None or entry.window > 0, at
        assert entry.output is None or entry.window is None or entry.output <= entry.window, at
        assert set(entry.can or ()) <= set(TOLD), at
        assert set(entry.takes) | set(entry.gives) <= {"text", "image", "audio", "video", "file"}, at
        assert all(0 <= score.value <= 1 and score.source for score in entry.scores.values()), at
        assert not entry.deprecated or not entry.retired or entry.deprecated <= entry.retired, at
        assert entry.replacement != id_, at
        assert not entry.replacement or entry.replacement in read_data().tables[kind], at
        assert set(entry.told_by) <= set(read_data().sources), at
        assert entry.told_by, at


def test_no_replacement_leads_in_a_circle() -> None:
    for kind, id_, entry in ALL:
        seen, following = [id_], entry
        while following.replacement:
            assert following.replacement not in seen, f"{kind}: {seen}"
            seen.append(following.replacement)
            following = read_data().tables[kind][following.replacement]
        assert len(seen) <= 8


def test_names_mean_one_model() -> None:
    for kind, models in read_data().tables.items():
        aliases = [alias for entry in models.values() for alias in entry.aliases]
        assert len(aliases) == len(set(aliases)), kind
        assert not set(aliases) & set(models), kind


@pytest.mark.parametrize(
    ("kind", "said", "id_"),
    [
        ("anthropic", "Claude-3.5-Sonnet", "claude-3-5-sonnet-20241022"),
        ("anthropic", "claude-3-opus-latest", "claude-3-opus-20240229"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "gpt-4o-2029-01-01", "gpt-4o"),
        ("openai_responses", "gpt-5", "gpt-5"),
        ("gemini", "palm2", "text-bison-001"),
        ("openai", "nobody", ""),
        ("vllm", "gpt-4o", ""),
        ("azure_openai", "gpt-4o", ""),
    ],
)
def test_names_are_found_in_any_spelling(kind: str, said: str, id_: str) -> None:
    assert id_of(kind, said) == id_


def test_the_names_of_a_family_are_its_own() -> None:
    names = names_of("perplexity", ROWS["perplexity"].names.family)
    assert names["sonar-pro"] == "sonar-pro"
    assert not any("llama" in name for name in names)


def test_retired_models_have_their_price_all_the_same() -> None:
    book = PriceBook()
    assert book.find("openai", "gpt-4", 1_790_812_800)
    assert book.find("anthropic", id_of("anthropic", "claude-3-opus"), 1_790_812_800)


@pytest.mark.parametrize("file", ["overrides.toml", "decided.toml", "scores.toml"])
def test_whatever_is_ours_has_its_reason_and_its_source(file: str) -> None:
    told = tomllib.loads((BOOK / file).read_text())
    entries = [*told.get("model", ()), *told.get("decision", ())]
    assert all(each["reason"] and each["source"] for each in entries)
    assert all(board["source"] for board in told.get("board", ()))
    assert entries or told["board"]


def test_overrides_are_what_holds() -> None:
    for own in tomllib.loads((BOOK / "overrides.toml").read_text())["model"]:
        for id_ in own["ids"]:
            entry = entry_of(BY_TABLE[own["table"]], id_)
            assert entry is not None
            assert "o" in entry.told_by
            for name in ("window", "output", "retired", "replacement"):
                assert name not in own or getattr(entry, name) == own[name], f"{own['table']}/{id_}: {name}"


def test_it_is_compact_and_read_fast_and_only_when_asked() -> None:
    assert Path(sys.modules[read_data.__module__].__file__ or "").with_name(DATA).stat().st_size < 500_000
    script = (
        "import time; from trunkline_server.models import data; assert data.read_data.cache_info().currsize == 0;"
        "begin = time.process_time(); data.entry_of('openrouter', 'x'); print(time.process_time() - begin)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 0.02 * 3, "20 ms; three times that on a machine that is busy"


def test_every_kind_is_a_row() -> None:
    assert set(read_data().kinds) <= set(ROWS)
    assert set(chain(*read_data().kinds.values())) == set(read_data().tables)
