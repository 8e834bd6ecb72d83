"""What people call the models of each row, beyond the ids that it lists, and how large some of them are. Data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The end of an id: so that what only begins like one is none.
_ID = r"[a-z0-9._-]*[a-z0-9]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one row's models. Keys are plain: see `plain` in snapshot.py."""

    # Ids that the vendor knows and that are not listed: older models, mostly.
    known: tuple[str, ...] = ()
    # What people call the vendor's own models otherwise, and the id.
    called: Mapping[str, str] = field(default_factory=dict)
    # All ids that are the vendor's own, in lower case (a regular expression). Empty = it has none of its own.
    family: str = ""
    # Models of others that it hosts: what people call them, and the id here. An empty id: the default model.
    hosted: Mapping[str, str] = field(default_factory=dict)
    # How many tokens go in and come out together, by id; as the vendors' documentation has it.
    windows: Mapping[str, int] = field(default_factory=dict)


NO_NAMES = Names()
# Names of the older systems for whatever runs on one's own machines.
_LOCAL = {"local": "", "local-models": "", "local-security-model": ""}
_FIREWORKS = "accounts/fireworks/models/"

NAMES: Mapping[str, Names] = {
    "openai": Names(
        known=(
            "gpt-4-turbo",
            "gpt-4",
            "gpt-3.5-turbo",
            "chatgpt-4o-latest",
            "o1",
            "o3",
            "o3-mini",
            "o4-mini",
            "gpt-5",
            "gpt-5-mini",
            "gpt-5-nano",
        ),
        family=rf"(gpt-\d|chatgpt-|codex-|o\d-){_ID}|gpt-\d|o\d",
        windows={
            "gpt-4o-mini": 128_000,
            "gpt-4o": 128_000,
            "gpt-4-turbo": 128_000,
            "gpt-4": 8_192,
            "gpt-3.5-turbo": 16_385,
            "gpt-4.1": 1_047_576,
            "gpt-4.1-mini": 1_047_576,
            "gpt-4.1-nano": 1_047_576,
        },
    ),
    # Of one name without its date the first is meant.
    "anthropic": Names(
        known=(
            "claude-opus-4-1-20250805",
            "claude-opus-4-20250514",
            "claude-sonnet-4-20250514",
            "claude-3-7-sonnet-20250219",
            "claude-3-5-sonnet-20241022",
            "claude-3-5-sonnet-20240620",
            "claude-3-5-haiku-20241022",
            "claude-3-opus-20240229",
            "claude-3-sonnet-20240229",
            "claude-3-haiku-20240307",
        ),
        family=rf"claude-{_ID}",
        windows={
            "claude-sonnet-4-5": 200_000,
            "claude-opus-4-5": 200_000,
            "claude-haiku-4-5": 200_000,
            "claude-3-5-sonnet-20241022": 200_000,
            "claude-3-5-sonnet-20240620": 200_000,
            "claude-3-5-haiku-20241022": 200_000,
            "claude-3-opus-20240229": 200_000,
            "claude-3-sonnet-20240229": 200_000,
            "claude-3-haiku-20240307": 200_000,
        },
    ),
    "gemini": Names(
        known=("gemini-1.5-pro", "gemini-1.5-flash", "gemini-2.0-flash", "gemini-2.0-flash-lite", "gemini-pro"),
        family=rf"(gemini|gemma|learnlm)-{_ID}",
        windows={
            "gemini-2.5-flash": 1_048_576,
            "gemini-2.5-flash-lite": 1_048_576,
            "gemini-2.5-pro": 1_048_576,
            "gemini-1.5-pro": 2_097_152,
        },
    ),
    "vertex": Names(
        known=("gemini-1.5-pro", "gemini-1.5-flash", "gemini-2.0-flash"),
        family=rf"gemini-{_ID}",
        windows={"gemini-2.5-flash": 1_048_576, "gemini-2.5-pro": 1_048_576, "gemini-1.5-pro": 2_097_152},
    ),
    "cohere": Names(family=rf"(command|c4ai)-{_ID}|command"),
    "bedrock": Names(
        family=r"((us|eu|apac|global)\.)?(ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen|writer)\."
        rf"{_ID}(:\d+)?"
    ),
    "ollama": Names(
        hosted={
            **_LOCAL,
            "mistral": "mistral",
            "llama": "",
            "llama2": "llama2",
            "llama-2": "llama2",
            "llama3": "llama3",
            "llama-3": "llama3",
            "llama-3-70b": "llama3:70b",
            "codellama": "codellama",
            "codellama-70b": "codellama:70b",
            "qwen": "qwen2.5",
            "qwen-coder": "qwen2.5-coder",
            "qwen-2-5-coder": "qwen2.5-coder",
            "deepseek": "deepseek-r1",
            "deepseek-coder": "deepseek-coder",
        },
    ),
    "mistral": Names(
        known=(
            "mistral-large-latest",
            "mistral-medium-latest",
            "mistral-small-latest",
            "mistral-tiny",
            "codestral-latest",
            "ministral-8b-latest",
            "ministral-3b-latest",
            "pixtral-large-latest",
            "open-mistral-7b",
            "open-mistral-nemo",
            "open-mixtral-8x7b",
            "open-mixtral-8x22b",
        ),
        called={"mixtral-8x7b": "open-mixtral-8x7b", "mixtral-8x22b": "open-mixtral-8x22b"},
        family=rf"(open-)?(mistral|mixtral|codestral|ministral|magistral|devstral|pixtral|voxtral)-{_ID}",
    ),
    "together": Names(
        hosted={
            "llama": "",
            "llama-3-70b": "meta-llama/Llama-3-70b-chat-hf",
            "codellama": "codellama/CodeLlama-34b-Instruct-hf",
            "codellama-34b": "codellama/CodeLlama-34b-Instruct-hf",
            "codellama-70b": "codellama/CodeLlama-70b-Instruct-hf",
            "qwen": "Qwen/Qwen2.5-Coder-32B-Instruct",
            "qwen-coder": "Qwen/Qwen2.5-Coder-32B-Instruct",
            "qwen-2-5-coder": "Qwen/Qwen2.5-Coder-32B-Instruct",
            "deepseek-coder": "deepseek-ai/deepseek-coder-33b-instruct",
        },
    ),
    "fireworks": Names(
        hosted={
            "llama": "",
            "llama-3-70b": f"{_FIREWORKS}llama-v3-70b-instruct",
            "codellama-70b": f"{_FIREWORKS}llama-v2-70b-code-instruct",
            "qwen": f"{_FIREWORKS}qwen3-coder-480b-a35b-instruct",
            "qwen-coder": f"{_FIREWORKS}qwen3-coder-480b-a35b-instruct",
            "qwen3-coder-480b-a35b-instruct": f"{_FIREWORKS}qwen3-coder-480b-a35b-instruct",
            "qwen-2-5-coder": f"{_FIREWORKS}qwen2p5-coder-32b-instruct",
        },
    ),
    "openrouter": Names(
        hosted={
            "llama-3-70b": "meta-llama/llama-3-70b-instruct",
            "qwen-coder": "qwen/qwen-2.5-coder-32b-instruct",
            "qwen-2-5-coder": "qwen/qwen-2.5-coder-32b-instruct",
        },
    ),
    "groq": Names(hosted={"llama": "", "llama-3-70b": "llama3-70b-8192"}),
    "deepseek": Names(known=("deepseek-coder",), family=rf"deepseek-{_ID}"),
    "xai": Names(family=rf"grok-{_ID}"),
    "perplexity": Names(family=rf"sonar-{_ID}|sonar"),
    "moonshot": Names(family=rf"(kimi|moonshot)-{_ID}"),
    "zai": Names(family=rf"glm-{_ID}"),
    "qwen": Names(
        called={"qwen-2-5-coder": "qwen2.5-coder-32b-instruct", "qwen-coder": "qwen3-coder-plus"},
        family=rf"(qwen|qwq|qvq){_ID}",
    ),
    "vllm": Names(hosted=_LOCAL),
    "llamacpp": Names(hosted=_LOCAL),
    "lmstudio": Names(hosted=_LOCAL),
    "embedded": Names(hosted=_LOCAL),
}
