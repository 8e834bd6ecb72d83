"""Vendors that have no row, added by configuration alone: what is sent over a real socket, and what is refused."""

from __future__ import annotations

import ast
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from gateway import gateway, settings_of
from msgspec import inspect, structs
from upstreams import answer, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.model_service_pb2 import GetModelRequest
from trunkline_server import dialects
from trunkline_server.config import ConfigError
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.layers.validate import RANGES
from trunkline_server.providers.row import NO_PROBE
from trunkline_server.providers.table import QUIRKS, ROWS, configured
from trunkline_server.settings import ProviderSettings
from trunkline_server.settings.vendors import GenerationDefaults, QuirkSettings

if TYPE_CHECKING:
    from upstreams import Request

HERE = Path(__file__).parent
KEYS = {"SUNFLOWER_API_KEY": "sun-key", "MOSS_API_KEY": "moss-key", "FIREWORKS_API_KEY": "fw-key"}
CHAT = b'{"id":"c1","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
CHAT_STREAM = b'data: {"id":"c1","choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
MESSAGE = json.dumps(
    {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
).encode()


async def sent(
    tmp_path: Path, providers: dict[str, Any], model: str, body: bytes = CHAT, **config: Any
) -> tuple[Request, pb.GenerateResponse]:
    """What the first of these providers, moved to a server here, is sent for a unary call; and the answer."""
    kind = "text/event-stream" if body.startswith(b"data:") else "application/json"
    async with upstream([answer(body, content_type=kind)]) as server:
        for provider in providers.values():
            provider["base_url"] = server.base_url + str(provider.get("base_url", "")).partition("example")[2]
        async with gateway(settings_of(tmp_path, {"providers": providers}, KEYS)) as running:
            request = pb.GenerateRequest(model=model, prompt="Hello", config=pb.GenerationConfig(**config))
            response = await running.stub.Generate(request)
        assert response.message.parts[0].text == "Hi"
        return server.requests[0], response


def vendors() -> dict[str, Any]:
    """The vendors of server/README.md."""
    providers: dict[str, Any] = yaml.safe_load((HERE / "vendor.yaml").read_text())["providers"]
    return providers


# --- the example ------------------------------------------------------------------------------------------------------


async def test_a_vendor_that_speaks_anthropics_format(tmp_path: Path) -> None:
    request, response = await sent(tmp_path, vendors(), "sunflower/sun-1", MESSAGE, top_k=5, top_p=0.5)
    assert request.target == "/v1/messages"
    assert request.headers["authorization"] == "Bearer sun-key"
    assert "x-api-key" not in request.headers
    assert json.loads(request.body) == {
        "model": "sun-1",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "max_tokens": 4096,
        "temperature": 0.3,
        "top_p": 0.5,
    }
    assert [warning.field for warning in response.warnings] == ["config.top_k"]
    assert response.served.target.provider == "sunflower"


async def test_a_vendor_that_copies_openais_format_with_ways_of_its_own(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "max_output_tokens": 9,
        "seed": 7,
        "temperature": 1.9,
        "presence_penalty": 1,
        "stop_sequences": ["a", "b", "c"],
    }
    request, response = await sent(tmp_path, vendors(), "moss/moss-7b", **config)
    assert request.target == "/v2/chat"
    assert request.headers["x-api-key"] == "moss-key"
    assert "authorization" not in request.headers
    assert json.loads(request.body) == {
        "model": "models/moss-7b",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_new_tokens": 9,
        "random_seed": 7,
        "temperature": 1.5,
        "stop": ["a", "b"],
    }
    warned = {warning.field for warning in response.warnings}
    assert warned == {"config.temperature", "config.presence_penalty", "config.stop_sequences"}


async def test_what_is_configured_is_shown(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {"providers": vendors()}, KEYS)) as running:
        health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
        pages = {provider.provider: provider.status_url for provider in health.providers}
        lora = await running.models.GetModel(GetModelRequest(id="support-lora"))
    assert pages["sunflower"] == "https://status.sunflower.example"
    assert (lora.id, lora.base_model, lora.available) == ("moss/support-lora", "moss-7b", True)


def test_a_vendor_without_its_key_is_told_of(tmp_path: Path) -> None:
    providers = vendors()
    del providers["moss"]["api_key"]
    from trunkline_server.routing.catalogue import build_offers

    offers = build_offers(settings_of(tmp_path, {"providers": providers}, KEYS), ROWS, {})
    assert offers["moss"].unavailable_reason == "set providers.moss.api_key"


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("bearer", ("authorization", "Bearer moss-key")),
        ("api-key", ("api-key", "moss-key")),
        ("x-api-key", ("x-api-key", "moss-key")),
        ("x-goog-api-key", ("x-goog-api-key", "moss-key")),
        ("none", ("authorization", None)),
    ],
)
async def test_the_key_is_sent_as_configured(tmp_path: Path, auth: str, header: tuple[str, str | None]) -> None:
    provider = {"dialect": "openai_chat", "auth": auth, "api_key": "env:MOSS_API_KEY", "models": ["m"]}
    request, _ = await sent(tmp_path, {"any": provider}, "any")
    assert request.headers.get(header[0]) == header[1]
    credentials = {"authorization", "api-key", "x-api-key", "x-goog-api-key"} & request.headers.keys()
    assert credentials == ({header[0]} if header[1] else set())


@pytest.mark.parametrize("dialect", [*QUIRKS])
async def test_a_vendor_of_any_dialect(tmp_path: Path, dialect: str) -> None:
    """Its defaults are those of the dialect: how the key is sent, what is left out, where the models are listed."""
    document = {"providers": {"any": {"dialect": dialect, "base_url": "https://h.example", "models": ["m"]}}}
    provider = settings_of(tmp_path, document).providers["any"]
    row = configured(ROWS["custom"], provider)
    assert (provider.kind, row.dialect, row.key_required, row.models) == ("custom", dialect, False, ())
    known = next(each for each in ROWS.values() if each.dialect == dialect and each.name != "openai")
    if dialect != "openai_chat":
        # What a vendor looks at its own keys with, elsewhere, is nobody else's.
        probe = NO_PROBE if known.probe_path.startswith("https://") else known.probe_path
        assert (row.auth, row.quirks, row.probe_path) == (known.auth, known.quirks, probe)


async def test_another_dialect_at_a_known_vendor(tmp_path: Path) -> None:
    """Its key and address stay; what was known of the other dialect says nothing of this one."""
    provider = {"kind": "moonshot", "dialect": "anthropic_messages", "api_key": "env:MOSS_API_KEY"}
    request, _ = await sent(tmp_path, {"kimi": provider}, "kimi", MESSAGE, max_output_tokens=5, top_k=3, temperature=1)
    body = json.loads(request.body)
    assert (request.target, body["model"]) == ("/v1/messages", "kimi-k2.6")
    assert (body["max_tokens"], body["top_k"]) == (5, 3)
    assert request.headers["authorization"] == "Bearer moss-key"


# --- fireworks: its account path, its defaults, its long unary calls --------------------------------------------------

FIREWORKS_SILENT = {
    "model": "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 32768,
    "temperature": 0.6,
    "top_p": 1.0,
    "top_k": 40,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.mark.parametrize(
    "model", ["fireworks/qwen3-coder-480b-a35b-instruct", "qwen3-coder-480b-a35b-instruct", "qwen-coder"]
)
async def test_fireworks_is_sent_its_defaults_and_the_account_path(tmp_path: Path, model: str) -> None:
    """A unary call of a silent caller may answer with 32,768 tokens: it is streamed upstream."""
    request, _ = await sent(tmp_path, {"fireworks": {}}, model, CHAT_STREAM)
    assert json.loads(request.body) == FIREWORKS_SILENT
    assert request.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(("limit", "streams"), [(5000, False), (5001, True)])
async def test_fireworks_streams_above_5000_tokens(tmp_path: Path, limit: int, *, streams: bool) -> None:
    body = CHAT_STREAM if streams else CHAT
    request, _ = await sent(tmp_path, {"fireworks": {}}, "fireworks", body, max_output_tokens=limit, temperature=0)
    said = json.loads(request.body)
    assert said.get("stream", False) is streams
    assert (said["max_tokens"], said["temperature"], said["top_k"]) == (limit, 0, 40)


async def test_configured_defaults_stand_above_the_rows_and_below_the_callers(tmp_path: Path) -> None:
    settings = {"defaults": {"top_k": 10, "temperature": 0.1, "max_output_tokens": 100}, "stream_above": 100}
    request, _ = await sent(tmp_path, {"fireworks": settings}, "fireworks", temperature=0.9)
    said = json.loads(request.body)
    assert (said["top_k"], said["temperature"], said["max_tokens"], said["top_p"]) == (10, 0.9, 100, 1.0)
    assert "stream" not in said


async def test_defaults_hold_for_providers_without_http_too(tmp_path: Path) -> None:
    mock = {"scripts": {"m": {"text": "one two three"}}, "defaults": {"max_output_tokens": 2}}
    async with gateway(settings_of(tmp_path, {"providers": {"mock": mock}})) as running:
        response = await running.stub.Generate(pb.GenerateRequest(model="mock", prompt="x"))
    assert response.message.parts[0].text == "one two"


# --- what is refused --------------------------------------------------------------------------------------------------

VENDOR = {"base_url": "https://h.example", "models": ["m"]}
REFUSED = [
    ({"dialect": "anthropic_mesages"}, "dialect", "a known dialect (did you mean anthropic_messages?), or a package"),
    ({"kind": "custom"}, "dialect", "the wire format that the vendor speaks: openai_chat, "),
    ({"dialect": "openai_chat", "base_url": ""}, "base_url", "an http or https URL"),
    ({"dialect": "openai_chat", "base_url": "http://far.example"}, "base_url", "allow_plain_http"),
    ({"dialect": "openai_chat", "models": []}, "default_model", "a model's id here or in models"),
    ({"dialect": "openai_chat", "auth": "basic"}, "auth", "one of api-key, bearer, none, x-api-key, x-goog-api-key"),
    ({"dialect": "openai_chat", "auht": "none"}, "auht", "a known key (did you mean auth?)"),
    ({"dialect": "openai_chat", "stream_above": -1}, "stream_above", "an integer from 0"),
    ({"dialect": "openai_chat", "status_url": "http://h"}, "status_url", "an https URL"),
    ({"dialect": "openai_chat", "quirks": {"unsuported": []}}, "quirks.unsuported", "(did you mean unsupported?)"),
    ({"dialect": "openai_chat", "quirks": {"unsupported": ["topk"]}}, "quirks.unsupported[0]", "one of "),
    ({"dialect": "openai_chat", "quirks": {"highest": {"top_k": "x"}}}, "quirks.highest.top_k", "a number"),
    ({"dialect": "openai_chat", "quirks": {"path": "chat"}}, "quirks.path", "a path such as /chat/completions"),
    ({"dialect": "openai_chat", "quirks": {"seed_field": ""}}, "quirks.seed_field", "the name of a JSON member"),
    ({"dialect": "openai_chat", "quirks": {"tool_call_id": "("}}, "quirks.tool_call_id", "a regular expression"),
    ({"dialect": "openai_chat", "quirks": {"media": ["smell"]}}, "quirks.media[0]", "one of "),
    (
        {"dialect": "ollama_chat", "quirks": {"names": False}},
        "quirks.names",
        "a quirk that ollama_chat has: unsupported",
    ),
    ({"dialect": "openai_chat", "defaults": {"temperature": 3}}, "defaults.temperature", "a number from 0 to 2"),
    ({"dialect": "openai_chat", "defaults": {"tempreature": 1}}, "defaults.tempreature", "(did you mean temperature?)"),
    ({"dialect": "openai_chat", "base_models": {"m": " x"}}, "base_models.m", "1 to 256 printable characters"),
    ({"dialect": "openai_chat", "base_models": {" m": "x"}}, "base_models.(unreadable key)", "1 to 256 printable"),
    (
        {"kind": "scripted", "quirks": {"names": True}, "base_url": "", "models": []},
        "quirks",
        "nothing here: a provider",
    ),
    (
        {"kind": "embedded", "dialect": "openai_chat", "base_url": "", "models": []},
        "dialect",
        "nothing here: a provider",
    ),
    ({"kind": "scripted", "auth": "bearer", "base_url": "", "models": []}, "auth", "nothing here: a provider of kind"),
]


@pytest.mark.parametrize(("changes", "path", "expected"), REFUSED)
def test_refused_with_the_remedy(tmp_path: Path, changes: dict[str, Any], path: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, {"providers": {"any": VENDOR | changes}})
    found = {problem.path: problem.expected for problem in caught.value.problems}
    assert expected in found.pop(f"providers.any.{path}")
    assert not found, "one mistake is one problem"


# --- the settings and the code ----------------------------------------------------------------------------------------


def test_every_quirk_can_be_set_by_its_name() -> None:
    """But for api_version, which has a setting of its own."""
    quirks = {field.name for field in fields(Quirks)} - {"api_version"}
    assert {field.name for field in structs.fields(QuirkSettings)} == quirks == QUIRKS["openai_chat"]


def test_every_quirk_that_is_set_arrives() -> None:
    others: dict[str, Any] = {"path": "/x", "unsupported": ("seed",), "highest": {"seed": 1.0}, "max_stop_sequences": 9}
    others |= {"response_formats": ("json_object",), "thinking": "switch", "efforts": ("low",), "media": ("video",)}
    others |= {"reasoning_field": "reasoning", "document": "document_url", "sound": "text"}
    for field in fields(Quirks):
        if field.name not in others and field.name != "api_version":
            others[field.name] = not field.default if isinstance(field.default, bool) else "other"
    quirks = configured(ROWS["openai"], ProviderSettings(kind="openai", quirks=QuirkSettings(**others))).quirks
    for name, value in others.items():
        assert getattr(quirks, name) == (frozenset(value) if isinstance(getattr(quirks, name), frozenset) else value)


@pytest.mark.parametrize("dialect", [*QUIRKS])
def test_a_dialect_reads_the_quirks_that_it_is_said_to_have(dialect: str) -> None:
    if dialect == "openai_chat":
        return  # all of them
    folder = Path(dialects.__path__[0])
    read: set[str] = set()
    for path in (folder / dialect).rglob("*.py"):
        text = path.read_text()
        read |= {
            node.attr
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "quirks"
        }
        read |= {"unsupported"} if "known_settings(" in text or "encode_claude_settings(" in text else set()
    assert read == QUIRKS[dialect]


def test_defaults_may_be_what_callers_may_say() -> None:
    kind = inspect.type_info(GenerationDefaults)
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        assert isinstance(field.type, inspect.UnionType)
        number: Any = field.type.types[0]
        least, most = RANGES.get(field.name, (0.000001, 1))
        assert number.ge == least
        assert most is None or number.le == most
