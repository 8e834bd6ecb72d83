"""Packages that bring a dialect or a provider: the example of server/README.md, and everything that can be wrong."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from gateway import gateway, settings_of
from grpc import StatusCode, aio
from make import kinds, text_of
from serving import details, reason, rest
from upstreams import answer, chunk, head, upstream

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.content_pb2 import FINISH_REASON_MAX_TOKENS, FINISH_REASON_STOP
from trunkline.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from trunkline_server import entry_points, extending
from trunkline_server.config import ConfigError
from trunkline_server.entry_points import extensions_of
from trunkline_server.providers.table import ROWS
from trunkline_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    Install = Callable[..., None]

HERE = Path(__file__).parent
EXAMPLE = HERE / "example_package"
README = HERE.parents[1] / "server" / "README.md"
ENVIRON = {"ACME_API_KEY": "acme-key", "PARROT_API_KEY": "cracker"}
WHOLE = json.dumps({"text": "Hi there", "end": "stop", "tokens": [5, 2]}).encode()
LINES = [b'{"more": "Hi"}\n{"mo', b're": " there"}\n', b'{"end": "limit", "tokens": [5, 2]}']


def ask(model: str, prompt: str = "Hello", **more: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(model=model, prompt=prompt, **more)


# --- server/README.md -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "vendor.yaml",
        "packages.yaml",
        "example_package/pyproject.toml",
        "example_package/acme_trunkline/wire.py",
        "example_package/acme_trunkline/parrot.py",
    ],
)
def test_what_the_readme_shows_is_what_is_tested(path: str) -> None:
    blocks = re.findall(r"^```\w+\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert (HERE / path).read_text() in blocks


def test_the_readme_names_all_that_may_be_imported() -> None:
    text = README.read_text()
    assert [name for name in extending.__all__ if f"`{name}`" not in text] == []
    assert all(hasattr(extending, name) for name in extending.__all__)


def test_the_example_imports_nothing_else_of_the_server() -> None:
    for path in EXAMPLE.rglob("*.py"):
        modules = re.findall(r"(?:from|import) (trunkline_server\S*)", path.read_text())
        assert set(modules) <= {"trunkline_server.extending"}


# --- the example's dialect --------------------------------------------------------------------------------------------


@pytest.fixture
def document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((HERE / "packages.yaml").read_text())
    return document


async def test_a_dialect_that_a_package_brings(tmp_path: Path, example: None, document: dict[str, Any]) -> None:
    stream = [head(headers={"transfer-encoding": "chunked"}), *map(chunk, LINES), chunk()]
    async with upstream([answer(WHOLE, content_type="application/json")], stream) as server:
        document["providers"]["acme"]["base_url"] = f"{server.base_url}/v1"
        async with gateway(settings_of(tmp_path, document, ENVIRON)) as running:
            config = pb.GenerationConfig(max_output_tokens=9, temperature=1)
            whole = await running.stub.Generate(ask("acme-large", config=config))
            events = [event async for event in running.stub.StreamGenerate(ask("acme", system_instruction="Be brief"))]
            health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
    first, second = server.requests
    assert (first.target, first.headers["authorization"]) == ("/v1/complete", "Bearer acme-key")
    assert json.loads(first.body) == {"model": "acme-large", "stream": False, "text": "\nHello", "limit": 9}
    assert json.loads(second.body)["text"] == "Be brief\nHello"
    assert (whole.message.parts[0].text, whole.usage.output_tokens) == ("Hi there", 2)
    assert [warning.field for warning in whole.warnings] == ["config.temperature"]
    assert (text_of(events), kinds(events)[-1]) == ("Hi there", "completed")
    assert events[-1].completed.response.finish_reason == FINISH_REASON_MAX_TOKENS
    [acme] = [provider for provider in health.providers if provider.provider == "acme"]
    assert acme.endpoints[0].credential_state == pb.EndpointHealth.CREDENTIAL_STATE_VALID


@pytest.mark.parametrize(
    ("answered", "outcome", "code"),
    [
        (answer(b"{", content_type="application/json"), "PROTOCOL_ERROR", "malformed_json"),
        (answer(b"{}", status=429, content_type="application/json"), "RATE_LIMITED", ""),
        # Its code does not foresee these: they are typed failures all the same.
        (answer(b'{"tokens": [1]}', content_type="application/json"), "PROTOCOL_ERROR", "handler_failed"),
        (answer(b'{"tokens": ["x", "y"]}', content_type="application/json"), "PROTOCOL_ERROR", "handler_failed"),
    ],
)
async def test_its_failures_are_typed(
    tmp_path: Path, example: None, document: dict[str, Any], answered: bytes, outcome: str, code: str
) -> None:
    async with upstream([answered]) as server:
        document["providers"]["acme"]["base_url"] = server.base_url
        async with gateway(settings_of(tmp_path, document, ENVIRON)) as running:
            with pytest.raises(aio.AioRpcError) as caught:
                await running.stub.Generate(ask("acme"))
    attempt = details(caught.value)["trunkline.v1.CallFailure"].served.attempts[0]
    assert call_pb2.Outcome.Name(attempt.outcome) == f"OUTCOME_{outcome}"
    if code:
        assert attempt.provider_code == code


async def test_a_stream_that_is_cut_is_no_answer(tmp_path: Path, example: None, document: dict[str, Any]) -> None:
    async with upstream([answer(LINES[0])]) as server:
        document["providers"]["acme"]["base_url"] = server.base_url
        async with gateway(settings_of(tmp_path, document, ENVIRON)) as running:
            with pytest.raises(aio.AioRpcError) as caught:
                await rest(running.stub.StreamGenerate(ask("acme")))
    assert reason(caught.value) == "STREAM_INTERRUPTED"


# --- the example's provider -------------------------------------------------------------------------------------------


async def test_a_provider_that_a_package_brings(tmp_path: Path, example: None, document: dict[str, Any]) -> None:
    """It inherits the catalogue, the log, the statistics and health."""
    document["providers"] = {"parrot": {}, "mock": {"enabled": False}}
    async with gateway(settings_of(tmp_path, document, ENVIRON)) as running:
        whole = await running.stub.Generate(ask("parrot", "one two three"))
        short = ask("cockatoo", "one two three", config=pb.GenerationConfig(max_output_tokens=2))
        events = [event async for event in running.stub.StreamGenerate(short)]
        listed = await running.models.ListModels(ListModelsRequest(provider="parrot"))
        health = await running.stub.HealthCheck(pb.HealthCheckRequest(probe_models=True))
        usage = await running.stub.UsageStats(pb.UsageStatsRequest())
        lines = running.lines("call")
    assert (whole.message.parts[0].text, whole.finish_reason) == ("one two three ", FINISH_REASON_STOP)
    assert (text_of(events), kinds(events)[0]) == ("one two ", "started")
    assert events[-1].completed.response.finish_reason == FINISH_REASON_MAX_TOKENS
    assert [(model.id, model.available) for model in listed.models] == [
        ("parrot/cockatoo", True),
        ("parrot/macaw", True),
    ]
    assert listed.models[1].context_window == 100
    [parrot] = [provider for provider in health.providers if provider.provider == "parrot"]
    assert parrot.status_url == "https://status.parrot.example"
    assert parrot.endpoints[0].credential == "env:PARROT_API_KEY ..."
    assert [probe.outcome for probe in parrot.probes] == [call_pb2.OUTCOME_SUCCESS] * 2
    assert (usage.totals.successes, usage.totals.usage.output_tokens) == (4, 7)
    targets = [line["target"] for line in lines]
    assert targets[:2] == ["parrot/macaw", "parrot/cockatoo"]
    assert sorted(targets[2:]) == ["parrot/cockatoo", "parrot/macaw"]


async def test_its_own_errors_are_attempts_like_others(tmp_path: Path, example: None, document: dict[str, Any]) -> None:
    async with gateway(settings_of(tmp_path, document, ENVIRON | {"PARROT_API_KEY": "nut"})) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(ask("parrot"))
        health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
    assert reason(caught.value) == "PROVIDER_AUTH"
    [parrot] = [provider for provider in health.providers if provider.provider == "parrot"]
    assert parrot.state == pb.HealthCheckResponse.STATE_NOT_SERVING
    assert [error.outcome for error in parrot.recent_errors] == [call_pb2.OUTCOME_AUTH]


async def test_without_its_key_it_is_not_available(tmp_path: Path, example: None, document: dict[str, Any]) -> None:
    async with gateway(settings_of(tmp_path, document, {"ACME_API_KEY": "k"})) as running:
        model = await running.models.GetModel(GetModelRequest(id="parrot"))
    assert model.unavailable_reason == "set PARROT_API_KEY or providers.parrot.api_key"


# --- providers that do not keep to what a handler promises ------------------------------------------------------------

SECRET = "sk-live-1234567890abcdef1234"
PREAMBLE = """
import asyncio
from trunkline.v1.call_pb2 import OUTCOME_OVERLOADED
from trunkline.v1.content_pb2 import Part
from trunkline.v1.gateway_service_pb2 import *
from trunkline_server.extending import *
closed = asyncio.Event()
E = StreamGenerateResponse
START = E(part_started=PartStarted(part_index=0, part=Part(text="a")))
DELTA = E(part_delta=PartDelta(part_index=0, text="b"))
END = E(part_completed=PartCompleted(part_index=0))
DONE = E(completed=StreamCompleted(response=GenerateResponse(finish_reason=1)))
"""
PROVIDER = "\nPROVIDER = Provider(handle=handle, models=['m'])\n"


def provider(install: Install, body: str, *, signature: str = "async def handle(call)") -> dict[str, Any]:
    """Install a package whose provider `odd` has this handler."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    install(
        "odd-trunkline",
        {"trunkline.providers": {"odd": "odd_one:PROVIDER"}},
        odd_one=f"{PREAMBLE}{signature}:\n{lines}{PROVIDER}",
    )
    return {"providers": {"odd": {}}}


WRONG = {
    "raises": (f"raise ValueError('{SECRET}')\nyield START", "handler_failed"),
    "raises later": (f"yield START\nraise KeyError('{SECRET}')", "handler_failed"),
    "raises a group": (f"yield START\nraise ExceptionGroup('{SECRET}', [ValueError()])", "handler_failed"),
    "yields a word": ("yield 'Hello'", "events_out_of_order"),
    "yields nothing of meaning": ("yield E()", "events_out_of_order"),
    "says that it started": ("yield E(started=StreamStarted(id='x'))", "events_out_of_order"),
    "adds to what it never began": ("yield DELTA", "events_out_of_order"),
    "begins at one": ("yield E(part_started=PartStarted(part_index=1))", "events_out_of_order"),
    "begins twice": ("yield START\nyield START", "events_out_of_order"),
    "ends a part twice": ("yield START\nyield END\nyield END", "events_out_of_order"),
    "goes on with an ended part": ("yield START\nyield END\nyield DELTA", "events_out_of_order"),
    "completes with an open part": ("yield START\nyield DONE", "events_out_of_order"),
    "never completes": ("yield START\nyield END", "no_terminal_marker"),
    "says nothing": ("return\nyield", "no_terminal_marker"),
}


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize(("body", "code"), WRONG.values(), ids=WRONG.keys())
async def test_whatever_goes_wrong_is_a_typed_failure(
    tmp_path: Path, install: Install, body: str, code: str, *, streaming: bool
) -> None:
    """And neither the status nor the log has the text of an exception."""
    async with gateway(settings_of(tmp_path, provider(install, body))) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await (rest(running.stub.StreamGenerate(ask("odd"))) if streaming else running.stub.Generate(ask("odd")))
        health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
        failed = running.lines("handler_failed")
        written = running.log.getvalue().decode()
    began = body.startswith("yield START") and streaming
    assert reason(caught.value) == ("STREAM_INTERRUPTED" if began else "ALL_PROVIDERS_FAILED")
    attempt = details(caught.value)["trunkline.v1.CallFailure"].served.attempts[0]
    assert attempt.provider_code == code
    assert SECRET not in f"{caught.value} {caught.value.trailing_metadata()} {written}"
    assert [line["kind"] for line in failed] == ([re.findall(r"raise (\w+)", body)[0]] if "raise" in body else [])
    assert all("odd_one.py" in line["at"][-1] for line in failed)
    [odd] = [each for each in health.providers if each.provider == "odd"]
    assert (odd.state, len(odd.recent_errors)) == (pb.HealthCheckResponse.STATE_DEGRADED, 1)


@pytest.mark.parametrize("signature", ["async def handle(call)", "def handle(call)", "def handle(call, more)"])
async def test_a_handler_that_is_no_generator(tmp_path: Path, install: Install, signature: str) -> None:
    document = provider(install, "return None" if signature.startswith("async") else "return 5", signature=signature)
    async with gateway(settings_of(tmp_path, document)) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(ask("odd"))
    assert details(caught.value)["trunkline.v1.CallFailure"].served.attempts[0].provider_code == "handler_failed"


async def test_words_of_a_providers_error_are_scrubbed(tmp_path: Path, install: Install) -> None:
    body = f"raise UpstreamError(OUTCOME_OVERLOADED, 'busy, key {SECRET}' + 'x' * 5000)\nyield"
    async with gateway(settings_of(tmp_path, provider(install, body))) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(ask("odd"))
    message = details(caught.value)["trunkline.v1.CallFailure"].served.attempts[0].provider_message
    assert message.startswith("busy, key ***")
    assert len(message) <= 1024


async def test_what_a_provider_refuses_of_a_request_is_the_callers_to_know(tmp_path: Path, install: Install) -> None:
    body = "raise UnsupportedCapability([Violation('config.seed', 'is not known here')])\nyield"
    async with gateway(settings_of(tmp_path, provider(install, body))) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(ask("odd"))
    assert (caught.value.code(), reason(caught.value)) == (StatusCode.INVALID_ARGUMENT, "UNSUPPORTED_CAPABILITY")


ENDLESS = """
try:
    yield START
    yield DELTA
    await asyncio.Event().wait()
finally:
    closed.set()
"""


async def test_its_generator_is_closed_when_the_caller_goes(tmp_path: Path, install: Install) -> None:
    async with gateway(settings_of(tmp_path, provider(install, ENDLESS))) as running:
        call = running.stub.StreamGenerate(ask("odd"))
        await call.read()
        call.cancel()
        await asyncio.wait_for(sys.modules["odd_one"].closed.wait(), 5)


async def test_calls_beyond_max_connections_wait_their_turn(tmp_path: Path, install: Install) -> None:
    document = provider(install, ENDLESS) | {"limits": {"connect": "10ms"}}
    document["providers"]["odd"]["max_connections"] = 1
    async with gateway(settings_of(tmp_path, document)) as running:
        first = running.stub.StreamGenerate(ask("odd"))
        await first.read()
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(ask("odd"))
        first.cancel()
        await asyncio.wait_for(sys.modules["odd_one"].closed.wait(), 5)
        second = running.stub.StreamGenerate(ask("odd"))
        begun: Any = await second.read()
        assert kinds([begun]) == ["started"]
        second.cancel()
    assert reason(caught.value) == "OVERLOADED"
    attempt = details(caught.value)["trunkline.v1.CallFailure"].served.attempts[0]
    assert (attempt.outcome, attempt.provider_code) == (call_pb2.OUTCOME_NOT_SENT, "too_late")


async def test_time_limits_hold_for_it(tmp_path: Path, install: Install) -> None:
    document = provider(install, "try:\n    await asyncio.sleep(60)\n    yield START\nfinally:\n    closed.set()")
    document["providers"]["odd"]["first_token"] = "10ms"
    async with gateway(settings_of(tmp_path, document)) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await rest(running.stub.StreamGenerate(ask("odd")))
        await asyncio.wait_for(sys.modules["odd_one"].closed.wait(), 5)
    assert details(caught.value)["trunkline.v1.CallFailure"].served.attempts[0].outcome == call_pb2.OUTCOME_TIMEOUT


# --- packages that do not bring what they are named for ---------------------------------------------------------------

KIND = {"providers": {"odd": {"base_url": "https://h.example"}}}
DIALECT = {"providers": {"odd": {"dialect": "odd_words", "base_url": "https://h.example", "models": ["m"]}}}
BROKEN = [
    (
        KIND,
        "raise ImportError('{secret}')",
        "kind",
        "the package odd-trunkline to load: odd_one raises ImportError; `python -c 'import odd_one'` shows why",
    ),
    (KIND, "x = (", "kind", "raises SyntaxError"),
    (KIND, "ODD = 5", "kind", "odd-trunkline to bring it: odd_one is no trunkline_server.extending.Provider"),
    (
        DIALECT,
        "def encode_request(): ...",
        "dialect",
        "has no decode_response, stream_decoder, decode_error: a dialect is a module",
    ),
    (DIALECT, "raise RuntimeError('{secret}')", "dialect", "raises RuntimeError"),
]


@pytest.mark.parametrize(("document", "text", "path", "expected"), BROKEN)
def test_a_package_that_is_broken(
    tmp_path: Path, install: Install, document: dict[str, Any], text: str, path: str, expected: str
) -> None:
    entries = {"trunkline.providers": {"odd": "odd_one"}, "trunkline.dialects": {"odd_words": "odd_one"}}
    install("odd-trunkline", entries, odd_one=text.replace("{secret}", SECRET))
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, document)
    found = {problem.path: problem.expected for problem in caught.value.problems}
    assert expected in found.pop(f"providers.odd.{path}")
    assert not found
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("handle=5, models=['m']", "has a handle that cannot be called"),
        ("handle=print, models=[]", "has no models: it lists at least one id"),
        ("handle=print, models='macaw'", "has no models"),
        ("handle=print, models=[' m']", "has no models"),
        ("handle=print, models=[5]", "raises AttributeError"),
        ("handle=print, models=['m'], key_env='A B'", "has a key_env that names no environment variable"),
        ("handle=print, models=['m'], capabilities=[99]", "has capabilities that are none of the contract's"),
        ("models=['m']", "raises TypeError"),
    ],
)
def test_a_provider_that_is_wrong(tmp_path: Path, install: Install, arguments: str, expected: str) -> None:
    text = f"from trunkline_server.extending import Provider\nP = Provider({arguments})"
    install("odd-trunkline", {"trunkline.providers": {"odd": "odd_one:P"}}, odd_one=text)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        settings_of(tmp_path, {"providers": {"odd": {}}})


def test_two_packages_of_one_name(tmp_path: Path, install: Install) -> None:
    for name in ("odd-a", "odd-b"):
        install(name, {"trunkline.providers": {"odd": "json"}})
    with pytest.raises(ConfigError, match="one package to bring it: odd-a, odd-b do, so uninstall all but one"):
        settings_of(tmp_path, {"providers": {"odd": {}}})


def test_nothing_brings_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(
            tmp_path,
            {"providers": {"odd": {}, "b": {"dialect": "odd_words", "base_url": "https://h", "models": ["m"]}}},
        )
    dialect, kind = caught.value.problems
    assert kind.path == "providers.odd.kind"
    assert "or a package installed that brings it" in kind.expected
    assert dialect.path == "providers.b.dialect"
    assert "or a package installed that brings it" in dialect.expected


# --- what nobody names costs nothing ----------------------------------------------------------------------------------


def test_only_what_is_named_is_loaded(
    tmp_path: Path, example: None, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: str) -> None:
        raise AssertionError("nobody named a package")

    with monkeypatch.context() as patch:
        patch.setattr(entry_points, "entry_points", refuse)
        settings = settings_of(tmp_path, {"providers": {"openai": {}, "mock": {}}}, ENVIRON)
        assert extensions_of(settings).rows is ROWS
    del document["providers"]["acme"]
    settings_of(tmp_path, document, ENVIRON)
    assert "acme_trunkline.parrot" in sys.modules
    assert "acme_trunkline.wire" not in sys.modules


def test_what_packages_bring_goes_before_what_is_only_there_to_try(
    tmp_path: Path, example: None, document: dict[str, Any]
) -> None:
    settings: Settings = settings_of(tmp_path, document, ENVIRON)
    names = list(extensions_of(settings).rows)
    assert names[-3:] == ["parrot", "embedded", "scripted"]


async def test_a_call_that_names_nobody_may_go_to_it(tmp_path: Path, example: None, document: dict[str, Any]) -> None:
    del document["providers"]["acme"]
    async with gateway(settings_of(tmp_path, document, ENVIRON)) as running:
        response = await running.stub.Generate(pb.GenerateRequest(prompt="Hi"))
    assert response.served.target.provider == "parrot"
