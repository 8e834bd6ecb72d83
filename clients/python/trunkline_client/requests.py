"""What callers write becomes the contract's requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from trunkline.v1 import content_pb2
from trunkline.v1.call_pb2 import CallContext, Routing
from trunkline.v1.content_pb2 import Message, Part, ResponseFormat, Tool, ToolChoice
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, StreamOptions, Thinking

if TYPE_CHECKING:
    from trunkline.v1.model_pb2 import Capability
    from trunkline.v1.model_service_pb2 import RecommendModelsRequest

# One user message, a conversation (roles of tuples: system, user, assistant), or the whole request.
Prompt: TypeAlias = str | Sequence[Message | tuple[str, str]] | GenerateRequest

_ROLES: Mapping[str, content_pb2.Role.ValueType] = {
    "system": content_pb2.ROLE_SYSTEM,
    "user": content_pb2.ROLE_USER,
    "assistant": content_pb2.ROLE_ASSISTANT,
}
# Of Routing: what is told in seconds.
_SPANS = frozenset({"attempt_timeout", "max_time_to_first_token", "max_expected_total_time"})


class Settings(TypedDict, total=False):
    """What a call may set beside its prompt: GenerateRequest and GenerationConfig tell what each means.

    None is the same as not given.
    """

    model: str | None
    system: str | None
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    stop_sequences: Sequence[str] | None
    thinking: Thinking | None
    top_logprobs: int | None
    tools: Sequence[Tool] | None
    tool_choice: ToolChoice | None
    response_format: ResponseFormat | None
    strict_params: bool | None
    # How the target is chosen, and what it must be: Routing tells what each means.
    strategy: str | None
    chain: str | None
    allowed_providers: Sequence[str] | None
    denied_providers: Sequence[str] | None
    # Values of Capability.
    required_capabilities: Sequence[int] | None
    min_context_window: int | None
    min_quality: float | None
    max_cost_nano_usd: int | None
    # Seconds.
    max_time_to_first_token: float | None
    max_expected_total_time: float | None
    local_only: bool | None
    prefer_open_weights: bool | None
    # A value of Complexity.
    complexity: int | None
    sticky_key: str | None
    fallback_models: Sequence[str] | None
    disable_fallback: bool | None
    # Seconds.
    attempt_timeout: float | None
    max_attempts: int | None
    # A value of OnInterruption.
    on_interruption: int | None
    allow_hedging: bool | None
    # A value of Priority.
    priority: int | None
    # For statistics and the ledger.
    task: str | None
    agent: str | None
    end_user_id: str | None
    labels: Mapping[str, str] | None
    stream_options: StreamOptions | None
    # By dialect or provider: settings that the contract has no word for.
    provider_options: Mapping[str, Mapping[str, Any]] | None


class ModelFilters(TypedDict, total=False):
    """Which models to list: ListModelsRequest tells what each means."""

    provider: str
    required_capabilities: Sequence[Capability.ValueType]
    max_input_pico_usd_per_token: int
    max_output_pico_usd_per_token: int
    max_call_cost_nano_usd: int
    call_input_tokens: int
    call_output_tokens: int
    min_context_window: int
    min_quality: float
    min_speed: float
    max_time_to_first_token: Duration
    open_weights_only: bool
    available_only: bool


class ModelWishes(TypedDict, total=False):
    """What a model is wanted for: RecommendModelsRequest tells what each means."""

    required_capabilities: Sequence[Capability.ValueType]
    max_call_cost_nano_usd: int
    call_input_tokens: int
    call_output_tokens: int
    max_time_to_first_token: Duration
    min_quality: float
    min_context_window: int
    prefer_open_weights: bool
    local_only: bool
    objective: RecommendModelsRequest.Objective.ValueType
    max_results: int


def build_request(prompt: Prompt, settings: Settings) -> GenerateRequest:
    """A new request: the prompt, and the settings in place of what it says itself. The prompt is not changed.

    Raises TypeError for a setting that does not exist, ValueError for a role that does not.
    """
    if unknown := settings.keys() - Settings.__annotations__.keys():
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    request = _request_of(prompt)
    for name, value in settings.items():
        if value is not None:
            _set(request, name, value)
    return request


def _request_of(prompt: Prompt) -> GenerateRequest:
    if isinstance(prompt, GenerateRequest):
        request = GenerateRequest()
        request.CopyFrom(prompt)
        return request
    if isinstance(prompt, str):
        return GenerateRequest(prompt=prompt)
    return GenerateRequest(messages=[_message_of(turn) for turn in prompt])


def _message_of(turn: Message | tuple[str, str]) -> Message:
    if isinstance(turn, Message):
        return turn
    role, text = turn
    if role not in _ROLES:
        raise ValueError(f"no such role: {role!r}; there are {', '.join(_ROLES)}. What a tool returned is a Message")
    return Message(role=_ROLES[role], parts=[Part(text=text)])


def _set(request: GenerateRequest, name: str, value: object) -> None:
    owner: Any = request
    if name in GenerationConfig.DESCRIPTOR.fields_by_name:
        owner = request.config
    elif name in Routing.DESCRIPTOR.fields_by_name:
        owner = request.routing
        if name in _SPANS and isinstance(value, int | float):
            value = Duration(nanos=round(value * 1e9) % 10**9, seconds=round(value * 1e9) // 10**9)
    elif name in CallContext.DESCRIPTOR.fields_by_name:
        owner = request.context
    elif name == "system":
        name = "system_instruction"
    elif name == "provider_options" and isinstance(value, Mapping):
        value = {of: _struct(options) for of, options in value.items()}
    owner.ClearField(name)
    owner.MergeFrom(type(owner)(**{name: value}))


def _struct(options: Mapping[str, Any]) -> Struct:
    struct = Struct()
    struct.update(options)
    return struct
