"""What the configuration says of how a vendor is talked to, as typed values."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from trunkline_server.sections import Section

SettingName = Literal[
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop_sequences",
    "top_logprobs",
    "thinking",
]


_Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$", description="the name of a JSON member")]


class QuirkSettings(Section, frozen=True, kw_only=True):
    """How a vendor strays from its dialect (dialects/dialect.py), in place of the row's. Unset = as the row has it."""

    path: Annotated[str, Meta(pattern=r"^/[!-~]*$", description="a path such as /chat/completions")] | None = None
    model_prefix: str | None = None
    max_tokens_field: _Key | None = None
    seed_field: _Key | None = None
    unsupported: tuple[SettingName, ...] | None = None
    highest: dict[SettingName, Annotated[float, Meta(ge=-2)]] | None = None
    max_stop_sequences: Annotated[int, Meta(ge=0, le=16)] | None = None
    allowed_tools: bool | None = None
    required_word: str | None = None
    parallel_switch: bool | None = None
    tool_call_id: str | None = None
    names: bool | None = None
    tool_result_names: bool | None = None
    response_formats: tuple[Literal["json_object", "json_schema"], ...] | None = None
    stream_options: bool | None = None
    thinking: Literal["", "effort", "object", "switch", "budget", "deepseek"] | None = None
    efforts: tuple[Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"], ...] | None = None
    thinks_by_itself: bool | None = None
    reasoning_field: Literal["", "reasoning_content", "reasoning", "content"] | None = None
    reasoning_details: bool | None = None
    media: tuple[Literal["image", "audio", "file", "file_url", "video"], ...] | None = None
    document: Literal["file", "document_url"] | None = None
    sound: Literal["object", "text"] | None = None
    refusals: bool | None = None
    cache_control: bool | None = None
    breakpoints: bool | None = None


class GenerationDefaults(Section, frozen=True, kw_only=True):
    """What is said where the caller is silent. Unset = what the row of the provider says, if it says anything."""

    max_output_tokens: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0.000001, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
