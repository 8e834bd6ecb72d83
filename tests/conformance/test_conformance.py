"""The conformance command, on exchanges of our own making; and on the recorded ones, where they are."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conformance.__main__ import CORPUS, main
from conformance.exchanges import exchanges
from conformance.expectations import Expectations, expectations, lost
from conformance.said_again import READERS, differences
from conformance.table import FEATURES, NOT_TRIED, REAL, result_of, table_of

from trunkline_server.dialects import anthropic_messages
from trunkline_server.providers.table import ROWS

TESTS = Path(__file__).parents[1]
ASKED: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hei!"}],
}
USAGE = {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 0}
ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "usage": USAGE,
}
ANSWER |= {"content": [{"type": "text", "text": "Hei på deg!"}], "stop_reason": "end_turn", "stop_sequence": None}
STREAM: list[dict[str, Any]] = [
    {"type": "message_start", "message": ANSWER | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hei på deg!"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]
ERROR = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-9"}}


def exchange(name: str, body: Any, *, kind: str = "chat", status: int = 200, **more: Any) -> dict[str, Any]:
    response: dict[str, Any] = {
        "status": status,
        "headers": {"Retry-After": "2"},
        "body_encoding": "json",
        "body": body,
    }
    said: dict[str, Any] = {
        "id": name,
        "provider": "anthropic",
        "api": "messages",
        "kind": kind,
        "model": "claude",
        "features": [],
    }
    said |= {"request": {"method": "POST", "url": "https://api.anthropic.com/v1/messages", "body": ASKED}}
    return said | {"response": response} | more


def streamed(events: list[Any]) -> dict[str, Any]:
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    said = exchange("a-stream", text, kind="stream")
    said["response"] |= {"body_encoding": "text", "read_lengths": [10, len(text) - 10]}
    return said


def folder_of(tmp_path: Path, *exchanges: dict[str, Any]) -> Path:
    for said in exchanges:
        folder = tmp_path / "corpus" / said["provider"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{said['id']}.json").write_text(json.dumps(said))
    return tmp_path / "corpus"


def run(tmp_path: Path, *exchanges: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The exit code, and what was dumped, by id."""
    dump = tmp_path / "out.jsonl"
    code = main([str(folder_of(tmp_path, *exchanges)), "--dump", str(dump)])
    return code, {line["id"]: line for line in map(json.loads, dump.read_text().splitlines())}


def test_a_whole_answer_a_stream_and_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = exchange("a-chat", ANSWER, features=["cache_tokens"])
    failed = exchange("an-error", ERROR, kind="error", status=404)
    code, dumped = run(tmp_path, whole, streamed(STREAM), failed)
    assert code == 0
    assert dumped["a-chat"]["response"]["message"]["parts"] == [{"text": "Hei på deg!"}]
    assert dumped["a-chat"]["response"]["usage"]["inputTokens"] == "10"
    assert dumped["a-stream"]["response"]["message"] == dumped["a-chat"]["response"]["message"]
    assert dumped["a-chat"]["request"]["messages"][0]["role"] == "user"
    assert dumped["an-error"]["error"]["outcome"] == "OUTCOME_MODEL_NOT_FOUND"
    assert dumped["an-error"]["error"]["retry_after"] == 2
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("anthropic"))
    assert row.split("  ")[-1].strip() == "pass 1"
    assert row.count("pass 1") == 3  # plain, stream, errors
    assert row.count("pass 2") == 1  # cache usage


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (streamed(STREAM[:-1]), "a-stream: the answer: OUTCOME_INTERRUPTED"),
        (exchange("a-chat", {"type": "message", "content": 3}), "a-chat: the answer: OUTCOME_PROTOCOL_ERROR"),
        (exchange("a-chat", ANSWER, features=["error_in_200"]), "a-chat: the answer: an error was taken for an answer"),
    ],
)
def test_what_is_misread_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: dict[str, Any], fault: str
) -> None:
    code, dumped = run(tmp_path, said)
    printed = capsys.readouterr().out
    assert code == 1
    assert f"FAIL {fault}" in printed
    assert "fault" in dumped[said["id"]]


def test_a_request_that_comes_to_mean_something_else_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = exchange("a-chat", ANSWER)
    asked["request"]["body"] = ASKED | {"max_tokens": "50.5"}
    code, dumped = run(tmp_path, asked)
    # It cannot be read at all: that is told, and is no failure of the gateway's.
    assert (code, "request" in dumped["a-chat"]) == (0, False)
    asked["request"]["body"] = ASKED | {"metadata": {"user_id": "a\tb"}, "stop_sequences": [" "]}
    code, dumped = run(tmp_path, asked)
    assert (code, dumped["a-chat"]["request_warnings"]) == (0, ["config.stop_sequences[0]"])
    asked["request"]["body"] = ASKED | {"system": [{"type": "text", "text": "Short.", "unheard_of": 1}]}
    assert run(tmp_path, asked)[0] == 1
    assert "FAIL a-chat: the request differs: .system[0].unheard_of" in capsys.readouterr().out


def test_an_encoder_that_breaks_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(anthropic_messages, "encode_request", broken)
    assert main([str(folder_of(tmp_path, exchange("a-chat", ANSWER)))]) == 1
    assert "FAIL a-chat: the request differs: (raised) raised ZeroDivisionError" in capsys.readouterr().out


F = {"name": "f"}
CACHED = {"cache_control": {"type": "ephemeral"}}


def users(*contents: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# The same said in two ways, as recordings have it.
SAME: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("openai_chat", {"tools": [{"function": F}]}, {"tools": [{"type": "function", "function": F}]}),
    ("openai_chat", {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
    ("openai_chat", {"messages": [{"role": "user", "content": "a"} | CACHED]}, users([text("a") | CACHED])),
    ("openai_responses", {"instructions": "", "tools": [], "text": {"format": {"type": "text"}}}, {}),
    (
        "anthropic_messages",
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": False}},
        {"tool_choice": {"type": "any"}},
    ),
    ("anthropic_messages", users("a", "b"), users([text("a"), text("b")])),
    ("gemini_generate_content", {"systemInstruction": {"parts": {"text": ""}}}, {}),
    (
        "gemini_generate_content",
        {"tools": [{"googleSearch": {}}, {"functionDeclarations": [F]}]},
        {"tools": [{"functionDeclarations": [F], "googleSearch": {}}]},
    ),
    ("gemini_generate_content", {"toolConfig": {"functionCallingConfig": {"mode": "auto"}}}, {}),
    ("cohere_chat", {"tool_choice": "NONE"}, {}),
]
LEAST: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "a"}]},
    "openai_responses": {"input": "a"},
    "anthropic_messages": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5},
    "gemini_generate_content": {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
    "cohere_chat": {"messages": [{"role": "user", "content": "a"}]},
}


@pytest.mark.parametrize(("dialect", "one", "other"), SAME)
def test_what_means_the_same_is_equal_and_what_does_not_is_not(
    dialect: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    module, _, mean = READERS[dialect]
    meaning = getattr(import_module(module), mean)
    bodies = [json.loads(json.dumps(LEAST[dialect] | said)) for said in (one, other)]
    assert meaning(bodies[0]) == meaning(bodies[1])
    changed = json.loads(json.dumps(LEAST[dialect]).replace('"a"', '"another"'))
    assert meaning(changed) != meaning(json.loads(json.dumps(LEAST[dialect])))


def test_what_is_out_of_scope_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, dumped = run(tmp_path, exchange("some-models", {"data": []}, kind="models", api="models"))
    assert (code, dumped) == (0, {})
    assert "out of scope: 1 models" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["not json", "[]", '{"id": "a"}'])
def test_a_file_that_is_no_exchange_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    folder = folder_of(tmp_path, exchange("a-chat", ANSWER))
    (folder / "anthropic" / "b.json").write_text(text)
    assert main([str(folder)]) == 1
    assert "FAIL not of the corpus's schema: anthropic/b.json: " in capsys.readouterr().out


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 1
    assert "There are no recorded exchanges" in capsys.readouterr().out


def test_no_recordings_beside_the_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.__main__.CORPUS", tmp_path / "nothing")
    assert main([]) == 0
    assert "Nothing was checked" in capsys.readouterr().out


def test_differences_name_places_and_no_values() -> None:
    assert differences({"a": [1, {"b": 2}], "c": 1}, {"a": [1.0, {"b": 3}]}) == [".c", ".a[1].b"]
    assert differences([1], [1, 2]) == ["."]


def test_every_claim_has_its_source_and_its_test() -> None:
    said = expectations()
    for features in said.not_offered.values():
        assert features.keys() <= set(FEATURES)
        assert all(source.startswith(("https://", "../shared/design/WIRE.md")) for source in features.values())
    for cells in said.synthetic.values():
        assert cells.keys() <= set(FEATURES)
        assert all(each["source"].startswith("https://") for each in cells.values())
        assert all((TESTS / each["test"]).exists() for each in cells.values())


def test_a_cell_that_less_proves_than_is_listed_is_lost(tmp_path: Path) -> None:
    answers = [exchange("one", ANSWER), exchange("two", ANSWER, features=["cache_tokens"])]
    results = [result_of(each) for each in exchanges(folder_of(tmp_path, *answers))]
    table = table_of(results, {"anthropic": {"cache usage": "not offered", "logprobs": "not offered"}})
    assert [*lost(table, Expectations(passing={"anthropic": {"plain": 2, "cache usage": 2}}))] == [
        "anthropic, cache usage: said not to be offered, but there is a recording of it"
    ]
    assert [*lost(table, Expectations(passing={"anthropic": {"plain": 3, "tools": 1}, "xai": {"plain": 1}}))][:3] == [
        "anthropic, plain: pass 3 is listed, found pass 2",
        "anthropic, tools: pass 1 is listed, found not proven",
        "xai, plain: pass 1 is listed, found no exchange",
    ]


def test_no_cell_is_claimed_twice() -> None:
    said = expectations()
    cells = [
        (provider, feature)
        for group in (said.passing, said.not_offered, said.synthetic)
        for provider, features in group.items()
        for feature in features
    ]
    assert len(cells) == len(set(cells))


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus")
def test_the_recorded_exchanges_are_as_good_as_the_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_a_provider_of_which_nothing_is_proven_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, exchange("a-chat", ANSWER))[0] == 0
    lines = {line.split(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert {name for name, row in ROWS.items() if row.dialect} <= lines.keys()
    assert lines["sambanova"].count("not proven") == len(FEATURES)


def test_what_a_server_proves_that_is_not_here_is_said_to_be_untried() -> None:
    """Otherwise the table would go on saying what nobody looks at any more."""
    expected = expectations()
    without = expected.claims(lambda server: server != "litellm")
    assert set(expected.claims(lambda _: True)["litellm"].values()) == {REAL}
    assert set(without["litellm"].values()) == {NOT_TRIED}
    assert REAL in without["openai_compatible"].values()
