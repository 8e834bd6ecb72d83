"""Each row of the table through the whole gateway, made by its environment variables: both RPCs, a real socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from apis import APIS, CHAT
from gateway import gateway, settings_of
from google.protobuf.json_format import ParseDict
from make import kinds, text_of
from upstreams import answer, chunk, head, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from apis import Api
    from upstreams import Request

    from trunkline.v1 import call_pb2
    from trunkline_server.providers.row import Row


class Expected(NamedTuple):
    """What is known of a vendor from its own documentation, beside what the row says."""

    # Where it is asked, whole. HERE: at an address that only its user knows.
    url: str
    # What it is asked for if nobody says: m where the user has to say it.
    model: str
    # The environment that makes the provider, beside the address.
    environ: dict[str, str]
    # The header that carries the key.
    header: tuple[str, str] = ("authorization", "Bearer k-1")


HERE = "(its own address)"
EXPECTED = {
    "openai": Expected("https://api.openai.com/v1/chat/completions", "gpt-4o-mini", {"OPENAI_API_KEY": "k-1"}),
    "openai_responses": Expected("https://api.openai.com/v1/responses", "gpt-5.6-terra", {"OPENAI_API_KEY": "k-1"}),
    "anthropic": Expected(
        "https://api.anthropic.com/v1/messages",
        "claude-sonnet-5-5",
        {"ANTHROPIC_API_KEY": "k-1"},
        ("x-api-key", "k-1"),
    ),
    "gemini": Expected(
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.8-flash:generateContent",
        "gemini-3.8-flash",
        {"GEMINI_API_KEY": "k-1"},
        ("x-goog-api-key", "k-1"),
    ),
    "vertex": Expected(
        f"{HERE}/models/gemini-3.8-flash:generateContent", "gemini-3.8-flash", {"VERTEX_ACCESS_TOKEN": "k-1"}
    ),
    "cohere": Expected("https://api.cohere.com/v2/chat", "command-a-03-2025", {"COHERE_API_KEY": "k-1"}),
    "bedrock": Expected(
        f"{HERE}/model/amazon.nova-lite-v1%3A0/converse",
        "amazon.nova-lite-v1:0",
        {"AWS_BEARER_TOKEN_BEDROCK": "k-1", "AWS_REGION": "eu-west-1"},
    ),
    "ollama": Expected("http://localhost:11434/api/chat", "llama3.2", {"OLLAMA_API_KEY": "k-1"}),
    "azure_openai": Expected(
        f"{HERE}/openai/deployments/m/chat/completions?api-version=2024-10-21",
        "m",
        {"AZURE_OPENAI_API_KEY": "k-1", "AZURE_OPENAI_DEPLOYMENT": "m"},
        ("api-key", "k-1"),
    ),
    "mistral": Expected(
        "https://api.mistral.ai/v1/chat/completions", "mistral-small-latest", {"MISTRAL_API_KEY": "k-1"}
    ),
    "together": Expected(
        "https://api.together.xyz/v1/chat/completions",
        "openai/gpt-oss-120b",
        {"TOGETHER_API_KEY": "k-1"},
    ),
    "fireworks": Expected(
        "https://api.fireworks.ai/inference/v1/chat/completions",
        "accounts/fireworks/models/llama-v3p3-70b-instruct",
        {"FIREWORKS_API_KEY": "k-1"},
    ),
    "openrouter": Expected(
        "https://openrouter.ai/api/v1/chat/completions", "openai/gpt-4o-mini", {"OPENROUTER_API_KEY": "k-1"}
    ),
    "groq": Expected("https://api.groq.com/openai/v1/chat/completions", "openai/gpt-oss-120b", {"GROQ_API_KEY": "k-1"}),
    "deepseek": Expected("https://api.deepseek.com/chat/completions", "deepseek-v4-flash", {"DEEPSEEK_API_KEY": "k-1"}),
    "xai": Expected("https://api.x.ai/v1/chat/completions", "grok-4", {"XAI_API_KEY": "k-1"}),
    "cerebras": Expected("https://api.cerebras.ai/v1/chat/completions", "gpt-oss-120b", {"CEREBRAS_API_KEY": "k-1"}),
    "perplexity": Expected("https://api.perplexity.ai/chat/completions", "sonar", {"PERPLEXITY_API_KEY": "k-1"}),
    "nvidia": Expected(
        "https://integrate.api.nvidia.com/v1/chat/completions",
        "meta/llama-3.3-70b-instruct",
        {"NVIDIA_API_KEY": "k-1"},
    ),
    "huggingface": Expected(
        "https://router.huggingface.co/v1/chat/completions", "openai/gpt-oss-20b", {"HF_TOKEN": "k-1"}
    ),
    "github_models": Expected(
        "https://models.github.ai/inference/chat/completions", "openai/gpt-4.1-mini", {"GITHUB_MODELS_API_KEY": "k-1"}
    ),
    "sambanova": Expected(
        "https://api.sambanova.ai/v1/chat/completions", "Meta-Llama-3.3-70B-Instruct", {"SAMBANOVA_API_KEY": "k-1"}
    ),
    "moonshot": Expected("https://api.moonshot.ai/v1/chat/completions", "kimi-k2.6", {"MOONSHOT_API_KEY": "k-1"}),
    "zai": Expected("https://api.z.ai/api/paas/v4/chat/completions", "glm-4.6", {"ZAI_API_KEY": "k-1"}),
    "qwen": Expected(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
        "qwen-plus",
        {"DASHSCOPE_API_KEY": "k-1"},
    ),
    "litellm": Expected(
        "http://localhost:4000/v1/chat/completions", "m", {"LITELLM_API_KEY": "k-1", "LITELLM_MODEL": "m"}
    ),
    "vllm": Expected("http://localhost:8000/v1/chat/completions", "m", {"VLLM_API_KEY": "k-1", "VLLM_MODEL": "m"}),
    "llamacpp": Expected("http://localhost:8080/v1/chat/completions", "default", {"LLAMACPP_API_KEY": "k-1"}),
    "lmstudio": Expected(
        "http://localhost:1234/v1/chat/completions", "m", {"LMSTUDIO_API_KEY": "k-1", "LMSTUDIO_MODEL": "m"}
    ),
    "openai_compatible": Expected(f"{HERE}/chat/completions", "m", {"SOME_KEY": "k-1"}),
}
BY_DIALECT = {ROWS[api.kind].dialect: api for api in APIS} | {"openai_chat": CHAT}
# What no variable makes stands in the file.
IN_FILE: dict[str, dict[str, Any]] = {
    "openai_responses": {"kind": "openai_responses"},
    "openai_compatible": {"kind": "openai_compatible", "models": ["m"], "api_key": "env:SOME_KEY"},
}
REQUESTED = pb.GenerationConfig(max_output_tokens=50)
EACH = pytest.mark.parametrize("name", EXPECTED)


def test_every_row_that_is_asked_over_http_is_here() -> None:
    assert set(EXPECTED) == {name for name, row in ROWS.items() if row.dialect}


async def asked(
    tmp_path: Path, name: str, api: Api, *, stream: bool, config: pb.GenerationConfig = REQUESTED
) -> tuple[str, call_pb2.Usage, Request]:
    """What the gateway answers to a call of the provider by its name alone, and what it sent."""
    whole = [answer(json.dumps(api.whole).encode(), content_type="application/json")]
    begun = head(200, {"content-type": api.content_type, "transfer-encoding": "chunked"})
    async with upstream([begun, chunk(api.stream), chunk()] if stream else whole) as server:
        environ, document = dict(EXPECTED[name].environ), {}
        if name in IN_FILE:
            document = {"providers": {name: {**IN_FILE[name], "base_url": server.base_url}}}
        else:
            environ[ROWS[name].base_url_env] = server.base_url
        async with gateway(settings_of(tmp_path, document, environ)) as running:
            request = pb.GenerateRequest(model=name, prompt="Hello", config=config)
            if stream:
                events = [event async for event in running.stub.StreamGenerate(request)]
                assert (kinds(events)[0], kinds(events)[-1]) == ("started", "completed")
                said, usage = text_of(events), events[-1].completed.response.usage
            else:
                response = await running.stub.Generate(request)
                said, usage = response.message.parts[0].text, response.usage
        return said, usage, next(request for request in server.requests if request.body)


def url_of(row: Row, sent: Request) -> str:
    return (row.base_url or HERE) + sent.target


def streamed(row: Row, url: str) -> str:
    """Two wire formats say in the address that they are to stream, the others in the body."""
    match row.dialect:
        case "gemini_generate_content":
            return url.replace(":generateContent", ":streamGenerateContent?alt=sse")
        case "bedrock_converse":
            return f"{url}-stream"
    return url


@EACH
async def test_generate(tmp_path: Path, name: str) -> None:
    row, expected, api = ROWS[name], EXPECTED[name], BY_DIALECT[ROWS[name].dialect]
    said, usage, sent = await asked(tmp_path, name, api, stream=False)
    assert (said, usage.input_tokens, usage.output_tokens) == ("Hi there", 5, 2)
    assert url_of(row, sent) == expected.url
    header, value = expected.header
    assert sent.headers[header] == value
    assert json.loads(sent.body).get("model", expected.model) == expected.model


@EACH
async def test_stream_generate(tmp_path: Path, name: str) -> None:
    row, expected, api = ROWS[name], EXPECTED[name], BY_DIALECT[ROWS[name].dialect]
    said, usage, sent = await asked(tmp_path, name, api, stream=True)
    assert (said, usage.input_tokens, usage.output_tokens) == ("Hi there", 5, 2)
    assert url_of(row, sent) == streamed(row, expected.url)
    header, value = expected.header
    assert sent.headers[header] == value
    body = json.loads(sent.body)
    assert body.get("model", expected.model) == expected.model
    assert body.get("stream", False) == (streamed(row, expected.url) == expected.url)


@pytest.mark.parametrize(
    ("name", "model", "options", "path"),
    [
        ("openai", "gpt-5-pro", {}, "/responses"),
        ("openai", "gpt-6-astra-pro", {}, "/responses"),
        ("openai", "gpt-5.3-codex", {}, "/responses"),
        ("openai", "gpt-5", {}, "/chat/completions"),
        ("openai", "gpt-5", {"openai_responses": {"store": True}}, "/responses"),
        ("azure_openai", "gpt-5-pro", {}, "/openai/v1/responses"),
        # A deployment that says nothing of its model, except by what is configured of it.
        ("azure_openai", "thorough", {}, "/openai/v1/responses"),
        ("azure_openai", "chat", {}, "/openai/deployments/chat/chat/completions?api-version=2024-10-21"),
        ("azure_openai", "chat", {"openai_responses": {"store": True}}, "/openai/v1/responses"),
        # A deployment may have the name of a model that it is not made of.
        ("azure_openai", "o3-pro", {}, "/openai/deployments/o3-pro/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_models_that_the_chat_api_does_not_offer_go_to_the_responses_api(
    tmp_path: Path, name: str, model: str, options: dict[str, Any], path: str
) -> None:
    api = next(api for api in APIS if api.kind == "openai_responses") if path.endswith("/responses") else CHAT
    bases = {"thorough": "o3-pro", "o3-pro": "gpt-4o"} if name == "azure_openai" else {}
    made = {"kind": name, "api_key": "env:KEY", "models": [model], "base_models": bases}
    request = ParseDict({"model": f"up/{model}", "prompt": "Hello", "provider_options": options}, pb.GenerateRequest())
    async with upstream([answer(json.dumps(api.whole).encode(), content_type="application/json")]) as server:
        document = {"providers": {"up": {**made, "base_url": server.base_url}}}
        async with gateway(settings_of(tmp_path, document, {"KEY": "k-1"})) as running:
            response = await running.stub.Generate(request)
        sent = next(request for request in server.requests if request.body)
    assert (sent.target, response.message.parts[0].text, list(response.warnings)) == (path, "Hi there", [])
    header, value = EXPECTED[name].header
    assert sent.headers[header] == value
    assert json.loads(sent.body).get("model", model) == model


@pytest.mark.parametrize(
    ("name", "limit", "streamed"),
    [
        ("fireworks", 5000, False),
        ("fireworks", 5001, True),
        ("fireworks", None, True),
        ("anthropic", 8192, False),
        ("anthropic", 8193, True),
        ("openai", 100_000, False),
        ("openai", None, False),
    ],
)
async def test_a_long_unary_call_is_streamed_where_the_provider_would_end_it(
    tmp_path: Path, name: str, limit: int | None, streamed: bool
) -> None:
    config = pb.GenerationConfig(max_output_tokens=limit)
    said, _, sent = await asked(tmp_path, name, BY_DIALECT[ROWS[name].dialect], stream=False, config=config)
    assert (said, json.loads(sent.body).get("stream", False)) == ("Hi there", streamed)
