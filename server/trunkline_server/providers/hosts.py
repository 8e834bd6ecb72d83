"""Hosts that speak OpenAI's chat completions API, one row each: what they take is as their API references have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trunkline.v1.gateway_service_pb2 import GenerationConfig
from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_REASONING,
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
    CAPABILITY_VISION,
)
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.providers.natives import RESPONSES_ONLY
from trunkline_server.providers.row import Row

_TOOLS = (CAPABILITY_STREAMING, CAPABILITY_TOOLS, CAPABILITY_JSON_SCHEMA, CAPABILITY_JSON_MODE)
CHAT = (*_TOOLS, CAPABILITY_LOGPROBS)

# A host that takes most of what vLLM and llama.cpp take, too.
OPEN = Quirks(
    max_tokens_field="max_tokens",
    max_stop_sequences=16,
    allowed_tools=False,
    efforts=("none", "minimal", "low", "medium", "high"),
    reasoning_field="reasoning_content",
    media=frozenset({"image", "audio", "file", "file_url", "video"}),
)
_IMAGES = frozenset({"image"})
_OBJECTS_ONLY = frozenset({"json_object"})


def _host(name: str, **more: Any) -> Row:
    """A row whose environment variables are named after it."""
    common: dict[str, Any] = {
        "dialect": "openai_chat",
        "auth": "bearer",
        "key_required": True,
        "key_env": f"{name.upper()}_API_KEY",
        "base_url_env": f"{name.upper()}_BASE_URL",
        "model_env": f"{name.upper()}_MODEL",
        "open": True,
        "capabilities": CHAT,
    }
    return Row(name=name, **(common | more))


HOSTS = (
    # The endpoint is the resource's address, a model the name of a deployment.
    _host(
        "azure_openai",
        status_url="https://azure.status.microsoft",
        probe_path="/openai/models?api-version=2024-10-21",
        # It lists what could be deployed, not what is.
        lists_models=False,
        auth="api-key",
        tokens="entra",
        base_url_env="AZURE_OPENAI_ENDPOINT",
        model_env="AZURE_OPENAI_DEPLOYMENT",
        responses_models=RESPONSES_ONLY,
        # The v1 API: no deployment in the path, no api-version. The one before it, /openai/responses?api-version=, is a
        # preview. https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/responses
        responses_base="/openai/v1",
        quirks=Quirks(
            path="/openai/deployments/{model}/chat/completions",
            api_version="2024-10-21",
            unsupported=frozenset({"top_k"}),
            allowed_tools=False,
        ),
    ),
    _host(
        "mistral",
        status_url="https://status.mistral.ai",
        base_url="https://api.mistral.ai/v1",
        default_model="mistral-small-latest",
        capabilities=_TOOLS,
        quirks=Quirks(
            max_tokens_field="max_tokens",
            seed_field="random_seed",
            unsupported=frozenset({"top_k", "top_logprobs"}),
            highest={"temperature": 1.5},
            max_stop_sequences=16,
            allowed_tools=False,
            required_word="any",
            tool_call_id=r"[a-zA-Z0-9]{9}",
            names=False,
            tool_result_names=True,
            stream_options=False,
            efforts=("none", "high"),
            reasoning_field="content",
            media=frozenset({"image", "audio", "file", "file_url"}),
            document="document_url",
            sound="text",
            refusals=False,
        ),
    ),
    # Its log probabilities have a form of their own.
    _host(
        "together",
        status_url="https://status.together.ai",
        base_url="https://api.together.xyz/v1",
        default_model="openai/gpt-oss-120b",
        capabilities=_TOOLS,
        quirks=replace(
            OPEN,
            unsupported=frozenset({"top_logprobs"}),
            efforts=("low", "medium", "high"),
            reasoning_field="reasoning",
            media=frozenset({"image", "audio", "video"}),
        ),
    ),
    _host(
        "fireworks",
        status_url="https://status.fireworks.ai",
        unlisted="callable",
        base_url="https://api.fireworks.ai/inference/v1",
        default_model="accounts/fireworks/models/llama-v3p3-70b-instruct",
        quirks=replace(
            OPEN,
            model_prefix="accounts/fireworks/models/",
            highest={"top_logprobs": 5},
            max_stop_sequences=4,
            efforts=("none", "low", "medium", "high"),
            media=_IMAGES,
        ),
        defaults=GenerationConfig(
            max_output_tokens=32768, temperature=0.6, top_p=1.0, top_k=40, presence_penalty=0.0, frequency_penalty=0.0
        ),
        stream_above=5000,
    ),
    _host(
        "openrouter",
        status_url="https://status.openrouter.ai",
        unlisted="callable",
        key_pattern=r"sk-or-.+",
        probe_path="/key",
        base_url="https://openrouter.ai/api/v1",
        default_model="openai/gpt-4o-mini",
        quirks=replace(
            OPEN,
            thinking="object",
            efforts=("none", "minimal", "low", "medium", "high", "xhigh"),
            reasoning_field="reasoning",
            reasoning_details=True,
            cache_control=True,
        ),
    ),
    _host(
        "groq",
        key_pattern=r"gsk_.+",
        status_url="https://groqstatus.com",
        base_url="https://api.groq.com/openai/v1",
        default_model="openai/gpt-oss-120b",
        capabilities=_TOOLS,
        quirks=Quirks(
            unsupported=frozenset({"top_k", "top_logprobs"}),
            allowed_tools=False,
            efforts=("none", "low", "medium", "high"),
            reasoning_field="reasoning",
            media=_IMAGES,
        ),
    ),
    _host(
        "deepseek",
        status_url="https://status.deepseek.com",
        base_url="https://api.deepseek.com",
        default_model="deepseek-v4-flash",
        models=("deepseek-v4-flash", "deepseek-v4-pro"),
        capabilities=(*_TOOLS, CAPABILITY_LOGPROBS, CAPABILITY_REASONING),
        quirks=Quirks(
            max_tokens_field="max_tokens",
            unsupported=frozenset({"top_k", "seed"}),
            max_stop_sequences=16,
            allowed_tools=False,
            parallel_switch=False,
            response_formats=_OBJECTS_ONLY,
            thinking="deepseek",
            thinks_by_itself=True,
            efforts=("low", "high", "max"),
            reasoning_field="reasoning_content",
            media=frozenset(),
        ),
    ),
    _host(
        "xai",
        status_url="https://status.x.ai",
        unlisted="callable",
        key_pattern=r"xai-.+",
        base_url="https://api.x.ai/v1",
        default_model="grok-4",
        quirks=Quirks(
            unsupported=frozenset({"top_k"}),
            highest={"top_logprobs": 8},
            allowed_tools=False,
            efforts=("none", "low", "medium", "high"),
            reasoning_field="reasoning_content",
            media=frozenset({"image", "file"}),
        ),
    ),
    _host(
        "cerebras",
        status_url="https://status.cerebras.ai",
        key_pattern=r"csk-.+",
        base_url="https://api.cerebras.ai/v1",
        default_model="gpt-oss-120b",
        quirks=Quirks(
            unsupported=frozenset({"top_k", "presence_penalty", "frequency_penalty"}),
            highest={"temperature": 1.5},
            allowed_tools=False,
            efforts=("none", "low", "medium", "high"),
            reasoning_field="reasoning",
            media=frozenset(),
        ),
    ),
    # Searches the web for each answer; has no tools of the caller's.
    _host(
        "perplexity",
        key_pattern=r"pplx-.+",
        # Lists the account's asynchronous requests: https://docs.perplexity.ai/api-reference/async-chat-completions-get
        probe_path="/async/chat/completions",
        lists_models=False,
        base_url="https://api.perplexity.ai",
        default_model="sonar",
        models=("sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research"),
        capabilities=(CAPABILITY_STREAMING, CAPABILITY_JSON_SCHEMA, CAPABILITY_JSON_MODE, CAPABILITY_VISION),
        quirks=Quirks(
            max_tokens_field="max_tokens",
            unsupported=frozenset({"top_logprobs", "seed"}),
            allowed_tools=False,
            parallel_switch=False,
            names=False,
            response_formats=frozenset({"json_schema"}),
            stream_options=False,
            efforts=("minimal", "low", "medium", "high"),
            media=_IMAGES,
        ),
    ),
    _host(
        "nvidia",
        key_pattern=r"nvapi-.+",
        # The list of models asks nobody for a key; what NGC has for keys wants them in a body, and is not documented.
        probe_path="-",
        base_url="https://integrate.api.nvidia.com/v1",
        default_model="meta/llama-3.3-70b-instruct",
        quirks=replace(OPEN, unsupported=frozenset({"top_k"}), efforts=("low", "medium", "high")),
    ),
    _host(
        "huggingface",
        status_url="https://status.huggingface.co",
        unlisted="callable",
        key_pattern=r"hf_.+",
        # The list of models asks nobody for a key.
        probe_path="https://huggingface.co/api/whoami-v2",
        base_url="https://router.huggingface.co/v1",
        key_env="HF_TOKEN",
        default_model="openai/gpt-oss-20b",
        quirks=replace(OPEN, unsupported=frozenset({"top_k"}), max_stop_sequences=4, media=_IMAGES),
    ),
    # Its own variable: a GITHUB_TOKEN is there for other things, and would be sent to the models' host unasked.
    _host(
        "github_models",
        status_url="https://www.githubstatus.com",
        key_pattern=r"(ghp|gho|ghu|ghs|github_pat)_.+",
        # The catalogue of models asks nobody for a key. This does not count against the account's own limit, and a
        # token that is none is refused: https://docs.github.com/en/rest/rate-limit/rate-limit
        probe_path="https://api.github.com/rate_limit",
        lists_models=False,
        base_url="https://models.github.ai/inference",
        default_model="openai/gpt-4.1-mini",
        capabilities=_TOOLS,
        quirks=Quirks(
            max_tokens_field="max_tokens",
            unsupported=frozenset({"top_k", "top_logprobs"}),
            allowed_tools=False,
            efforts=("low", "medium", "high"),
            media=frozenset({"image", "audio"}),
        ),
    ),
    _host(
        "sambanova",
        status_url="https://status.sambanova.ai",
        # The list of models asks nobody for a key, and its API reference has nothing else that is free.
        probe_path="-",
        base_url="https://api.sambanova.ai/v1",
        default_model="Meta-Llama-3.3-70B-Instruct",
        capabilities=_TOOLS,
        quirks=Quirks(
            max_tokens_field="max_tokens",
            unsupported=frozenset({"presence_penalty", "frequency_penalty", "seed", "top_logprobs"}),
            allowed_tools=False,
            efforts=("low", "medium", "high"),
            reasoning_field="reasoning",
            media=_IMAGES,
        ),
    ),
    _host(
        "moonshot",
        status_url="https://status.moonshot.cn",
        base_url="https://api.moonshot.ai/v1",
        default_model="kimi-k2.6",
        capabilities=_TOOLS,
        quirks=Quirks(
            max_tokens_field="max_tokens",
            unsupported=frozenset({"top_k", "seed", "top_logprobs"}),
            highest={"temperature": 1.0},
            max_stop_sequences=5,
            allowed_tools=False,
            parallel_switch=False,
            thinking="switch",
            thinks_by_itself=True,
            reasoning_field="reasoning_content",
            media=frozenset({"image", "video"}),
        ),
    ),
    _host(
        "zai",
        base_url="https://api.z.ai/api/paas/v4",
        default_model="glm-4.6",
        capabilities=(*_TOOLS, CAPABILITY_REASONING),
        quirks=Quirks(
            max_tokens_field="max_tokens",
            unsupported=frozenset({"top_k", "seed", "presence_penalty", "frequency_penalty", "top_logprobs"}),
            highest={"temperature": 1.0},
            max_stop_sequences=1,
            allowed_tools=False,
            parallel_switch=False,
            names=False,
            response_formats=_OBJECTS_ONLY,
            thinking="switch",
            reasoning_field="reasoning_content",
            media=frozenset({"image", "file_url", "video"}),
        ),
    ),
    # DashScope's compatible mode, outside China.
    _host(
        "qwen",
        status_url="https://status.alibabacloud.com",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env="DASHSCOPE_API_KEY",
        base_url_env="DASHSCOPE_BASE_URL",
        default_model="qwen-plus",
        quirks=replace(
            OPEN,
            unsupported=frozenset({"frequency_penalty"}),
            highest={"top_logprobs": 5},
            thinking="budget",
            media=frozenset({"image", "audio", "video"}),
            cache_control=True,
        ),
    ),
    # A LiteLLM proxy: its key, if it wants one, and the names of its own configuration.
    _host(
        "litellm",
        unlisted="callable",
        key_required=False,
        base_url="http://localhost:4000/v1",
        quirks=replace(OPEN, efforts=("none", "minimal", "low", "medium", "high", "xhigh"), cache_control=True),
    ),
    _host(
        "vllm",
        key_required=False,
        local=True,
        base_url="http://localhost:8000/v1",
        quirks=replace(OPEN, efforts=("none", "low", "medium", "high"), reasoning_field="reasoning"),
    ),
    _host(
        "llamacpp",
        unlisted="callable",
        key_required=False,
        local=True,
        base_url="http://localhost:8080/v1",
        # The server has one, and takes any name for it.
        default_model="default",
        quirks=replace(OPEN, efforts=("low", "medium", "high"), media=frozenset({"image", "audio"})),
    ),
    _host(
        "lmstudio",
        key_required=False,
        local=True,
        base_url="http://localhost:1234/v1",
        quirks=replace(OPEN, efforts=("low", "medium", "high"), media=_IMAGES),
    ),
    # Any other server that speaks OpenAI's chat API, a vendor that has no row yet.
    Row(
        name="openai_compatible",
        dialect="openai_chat",
        auth="bearer",
        open=True,
        capabilities=CHAT,
        quirks=OPEN,
    ),
)
