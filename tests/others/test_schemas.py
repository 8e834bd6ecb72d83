"""Every request of our tests against the types of the providers' own libraries."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance.__main__ import CORPUS
from others.requests import golden, recorded, said_otherwise
from others.servers import BIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from others.requests import Asked

CHECK = Path(__file__).parents[1] / "tools" / "sdks" / "check.py"
DIVERGENCES = tomllib.loads(Path(__file__).with_name("divergences.toml").read_text())["divergence"]
pytestmark = pytest.mark.skipif(
    not BIN.exists(), reason="the providers' libraries are not installed: make .tools/others"
)


def faults_of(requests: Iterable[Asked]) -> dict[str, list[str]]:
    """By the names of requests, what of each is not as its library has it. Places in lists are left open."""
    lines = "".join(json.dumps(each) + "\n" for each in requests)
    done = subprocess.run([BIN / "python", CHECK], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    told = map(json.loads, done.stdout.splitlines())
    return {each["id"]: [re.sub(r"\[\d+\]", "[]", fault) for fault in each["faults"]] for each in told}


def is_listed(divergence: dict[str, Any], asked: Asked, fault: str) -> bool:
    of_it = divergence["sdk"] == asked["sdk"] and re.fullmatch(divergence["where"], asked["id"])
    return bool(of_it) and fault.startswith(tuple(divergence["faults"]))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus")
@pytest.mark.corpus
def test_recorded_requests_said_again() -> None:
    assert not unlisted([*recorded(CORPUS)])


def test_requests_of_the_golden_cases_in_every_wire_format() -> None:
    requests = [*golden(), *said_otherwise()]
    assert len(requests) > 1500
    assert not unlisted(requests)


def unlisted(requests: list[Asked]) -> list[str]:
    """What is not as the libraries have it, and no divergence says why."""
    by_name = {each["id"]: each for each in requests}
    assert len(by_name) == len(requests)
    return [
        f"{name}: {fault}"
        for name, faults in faults_of(requests).items()
        for fault in faults
        if not any(is_listed(each, by_name[name], fault) for each in DIVERGENCES)
    ]


TALK = [{"role": "user", "content": "Hi"}]
ONE_TURN = [{"role": "user", "content": [{"text": "Hi"}]}]
WRONG: list[tuple[str, Any, str]] = [
    ("openai_chat", {"messages": TALK}, "model: missing"),
    ("openai_chat", {"model": "m", "messages": TALK, "top_k": 1}, "top_k: unknown"),
    ("openai_chat", {"model": "m", "messages": [{"role": "user"}]}, "messages[].content: missing"),
    ("openai_responses", {"model": 1, "input": "Hi"}, "model: "),
    ("anthropic_messages", {"model": "m", "messages": TALK}, "max_tokens: missing"),
    ("mistral_chat", {"model": "m", "messages": [TALK[0] | {"name": "me"}]}, "messages[].name: unknown"),
    ("gemini_generate_content", {"contents": [{"parts": [{"txt": "Hi"}]}]}, "contents[].parts[].txt: unknown"),
    ("cohere_chat", {"model": "m", "messages": TALK, "p": "1"}, "p: str where float is expected"),
    ("ollama_chat", {"model": "m", "messages": TALK, "thinking": True}, "thinking: unknown"),
    ("bedrock_converse", {"messages": ONE_TURN, "top": 1}, 'Unknown parameter in input: "top"'),
]


def test_a_wrong_request_is_told() -> None:
    found = faults_of({"id": str(index), "sdk": sdk, "body": body} for index, (sdk, body, _) in enumerate(WRONG))
    for index, (sdk, _, wanted) in enumerate(WRONG):
        (fault,) = found[str(index)]
        assert (sdk, fault[: len(wanted)]) == (sdk, wanted)


def test_divergences_have_their_reasons() -> None:
    for each in DIVERGENCES:
        assert each["why"]
        assert each.get("source", "https://").startswith("https://")
