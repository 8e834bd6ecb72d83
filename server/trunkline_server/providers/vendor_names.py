"""What people call the models of each row, beyond what the catalogue has (models/data.py). Data."""

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

    # What people call the vendor's own models otherwise, and the id.
    called: Mapping[str, str] = field(default_factory=dict)
    # All ids that are the vendor's own, in lower case (a regular expression). Empty = it has none of its own.
    family: str = ""
    # Models of others that it hosts: what people call them, and the id here. An empty id: the default model.
    hosted: Mapping[str, str] = field(default_factory=dict)
    # How many tokens go in and come out together, by id; of what packages bring.
    windows: Mapping[str, int] = field(default_factory=dict)


NO_NAMES = Names()
# Names of the older systems for whatever runs on one's own machines.
_LOCAL = {"local": "", "local-models": "", "local-security-model": ""}
_FIREWORKS = "accounts/fireworks/models/"

NAMES: Mapping[str, Names] = {
    "openai": Names(
        family=rf"(gpt-\d|chatgpt-|codex-|o\d-){_ID}|gpt-\d|o\d",
    ),
    "anthropic": Names(
        family=rf"claude-{_ID}",
    ),
    "gemini": Names(
        family=rf"(gemini|gemma|learnlm|(text|chat)-bison)-{_ID}|(text|chat)-bison|palm-?2",
    ),
    "vertex": Names(
        family=rf"gemini-{_ID}|(text|chat)-bison(@\d+)?|palm-?2",
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
            "llama3-1": "llama3.1",
            "llama-3-1": "llama3.1",
            "llama-3-1-8b": "llama3.1:8b",
            "llama-3-1-70b": "llama3.1:70b",
            "codellama": "codellama",
            "code-llama": "codellama",
            "codellama-70b": "codellama:70b",
            "mixtral": "mixtral",
            "qwen": "qwen2.5",
            "qwen-coder": "qwen2.5-coder",
            "qwen-2-5-coder": "qwen2.5-coder",
            "deepseek": "deepseek-r1",
            "deepseek-coder": "deepseek-coder",
        },
    ),
    "mistral": Names(
        called={"mixtral": "open-mixtral-8x7b"},
        family=rf"(open-)?(mistral|mixtral|codestral|ministral|magistral|devstral|pixtral|voxtral)-{_ID}",
    ),
    "together": Names(
        hosted={
            "llama": "",
            "llama-2": "meta-llama/Llama-2-70b-chat-hf",
            "llama-3": "meta-llama/Llama-3-70b-chat-hf",
            "llama-3-70b": "meta-llama/Llama-3-70b-chat-hf",
            "llama-3-1": "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo",
            "llama-3-1-8b": "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
            "llama-3-1-70b": "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo",
            "codellama": "codellama/CodeLlama-34b-Instruct-hf",
            "code-llama": "codellama/CodeLlama-34b-Instruct-hf",
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
            "llama-3-1-70b": f"{_FIREWORKS}llama-v3p1-70b-instruct",
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
            "llama-3-1-70b": "meta-llama/llama-3.1-70b-instruct",
            "qwen-coder": "qwen/qwen-2.5-coder-32b-instruct",
            "qwen-2-5-coder": "qwen/qwen-2.5-coder-32b-instruct",
        },
    ),
    "groq": Names(hosted={"llama": "", "llama-3-70b": "llama3-70b-8192"}),
    "deepseek": Names(family=rf"deepseek-{_ID}"),
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
