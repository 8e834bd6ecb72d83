"""Providers that speak a wire format of their own, one row each."""

from __future__ import annotations

from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_PROMPT_CACHE,
    CAPABILITY_REASONING,
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
    CAPABILITY_VISION,
)
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.providers.row import Row

WHOLE = (
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_JSON_MODE,
    CAPABILITY_REASONING,
    CAPABILITY_VISION,
)
# Of projects, service accounts and administrators. What only begins with sk- is a key of many vendors.
OPENAI_KEYS = r"sk-(proj|svcacct|admin)-.+"
# The chat API does not offer these.
RESPONSES_ONLY = r"(o\d|gpt-\d+(\.\d+)?)(-[a-z]+)?-pro\b.*|.*-deep-research\b.*|.*\bcodex\b.*|computer-use.*"

NATIVES = (
    Row(
        name="anthropic",
        dialect="anthropic_messages",
        base_url="https://api.anthropic.com",
        auth="x-api-key",
        key_required=True,
        key_pattern=r"sk-ant-.+",
        key_env="ANTHROPIC_API_KEY",
        base_url_env="ANTHROPIC_BASE_URL",
        model_env="CLAUDE_MODEL",
        spelling="claude",
        stream_above=8192,
        default_model="claude-sonnet-5-5",
        models=("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"),
        open=True,
        capabilities=(*WHOLE, CAPABILITY_PROMPT_CACHE),
        probe_path="/v1/models?limit=1",
        status_url="https://status.claude.com",
    ),
    # Google AI Studio.
    Row(
        name="gemini",
        status_url="https://aistudio.google.com/status",
        dialect="gemini_generate_content",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        auth="x-goog-api-key",
        key_required=True,
        key_pattern=r"AIza.+",
        key_form=r"(AIza|AQ\.).+",
        key_env="GEMINI_API_KEY",
        key_env_too="GOOGLE_API_KEY",
        base_url_env="GEMINI_BASE_URL",
        model_env="GEMINI_MODEL",
        spelling="google",
        default_model="gemini-3.8-flash",
        models=("gemini-3.8-flash", "gemini-3.5-flash-lite"),
        probe_path="/models?pageSize=1",
        open=True,
        capabilities=(*WHOLE, CAPABILITY_LOGPROBS),
        quirks=Quirks(max_stop_sequences=5),
    ),
    # Vertex AI. base_url: https://LOCATION-aiplatform.googleapis.com/v1/projects/P/locations/LOCATION/publishers/google
    Row(
        name="vertex",
        status_url="https://status.cloud.google.com",
        dialect="gemini_generate_content",
        auth="bearer",
        key_required=True,
        tokens="google",
        key_env="VERTEX_ACCESS_TOKEN",
        base_url_env="VERTEX_BASE_URL",
        home=r"https://([a-z0-9-]+\.)?aiplatform\.googleapis\.com/.*|https://[a-z0-9-]+-aiplatform\.googleapis\.com/.*",
        region_in=r"/locations/([a-z0-9-]{1,63})/",
        # Its list stands at another address than its models.
        lists_models=False,
        # Wants the permission that calls want, and is free: "Use the Count Tokens API",
        # https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/get-token-count
        probe_path="/models/{model}:countTokens",
        probe_body=b'{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}',
        model_env="VERTEX_MODEL",
        default_model="gemini-3.8-flash",
        models=("gemini-3.8-flash", "gemini-3.5-flash-lite"),
        open=True,
        capabilities=(*WHOLE, CAPABILITY_LOGPROBS),
        quirks=Quirks(max_stop_sequences=5),
    ),
    Row(
        name="cohere",
        dialect="cohere_chat",
        base_url="https://api.cohere.com",
        auth="bearer",
        key_required=True,
        key_env="COHERE_API_KEY",
        base_url_env="COHERE_BASE_URL",
        model_env="COHERE_MODEL",
        default_model="command-a-03-2025",
        models=("command-a-03-2025", "command-r7b-12-2024"),
        probe_path="/v1/models?page_size=1",
        status_url="https://status.cohere.com",
        open=True,
        capabilities=(
            CAPABILITY_STREAMING,
            CAPABILITY_TOOLS,
            CAPABILITY_JSON_SCHEMA,
            CAPABILITY_JSON_MODE,
            CAPABILITY_LOGPROBS,
        ),
    ),
    # A key or the access key of AWS: see AWS_* in the README. The region stands in the base URL.
    Row(
        name="bedrock",
        status_url="https://health.aws.amazon.com/health/status",
        dialect="bedrock_converse",
        auth="bearer",
        signing="sigv4",
        # It goes on, and bills the whole answer, whoever hangs up.
        read_on=60.0,
        key_required=True,
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        base_url_env="BEDROCK_BASE_URL",
        home=r"https://bedrock-runtime[a-z0-9.-]*\.amazonaws\.com",
        region_in=r"^https://bedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.",
        # So does this one's.
        lists_models=False,
        # Of access keys; nothing is free that looks at a Bedrock key. "No permissions are required to perform this
        # operation": https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        probe_path="https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
        model_env="BEDROCK_MODEL",
        default_model="amazon.nova-lite-v1:0",
        models=("amazon.nova-lite-v1:0", "amazon.nova-pro-v1:0"),
        open=True,
        capabilities=(CAPABILITY_STREAMING, CAPABILITY_TOOLS, CAPABILITY_VISION, CAPABILITY_REASONING),
    ),
    Row(
        name="ollama",
        dialect="ollama_chat",
        base_url="http://localhost:11434",
        auth="bearer",
        key_env="OLLAMA_API_KEY",
        base_url_env="OLLAMA_BASE_URL",
        model_env="OLLAMA_MODEL",
        default_model="llama3.2",
        models=("llama3.2",),
        probe_path="/api/tags",
        unlisted="gone",
        open=True,
        capabilities=(CAPABILITY_STREAMING, CAPABILITY_TOOLS, CAPABILITY_JSON_SCHEMA, CAPABILITY_JSON_MODE),
        local=True,
    ),
    # OpenAI's other API, for any server that has it.
    Row(
        name="openai_responses",
        dialect="openai_responses",
        base_url="https://api.openai.com/v1",
        auth="bearer",
        key_required=True,
        key_env="OPENAI_API_KEY",
        key_pattern=OPENAI_KEYS,
        key_form=r"sk-.+",
        only_configured=True,
        status_url="https://status.openai.com",
        default_model="gpt-5.6-terra",
        models=("gpt-5.6-terra", "gpt-5.6-sol"),
        open=True,
        capabilities=WHOLE,
    ),
)
