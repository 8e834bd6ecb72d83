"""What a dialect is: pure functions between the contract's messages and one provider API's bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse
    from trunkline_server.errors import UpstreamError
    from trunkline_server.listed import Listed


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a vendor strays from its dialect. Data of the provider's row."""

    # Appended to the base URL. "{model}" becomes the model's id, percent-encoded.
    path: str = "/chat/completions"
    # Sent as the query "api-version". Empty = none.
    api_version: str = ""
    # Stands before the id of a model that has no "/" in it.
    model_prefix: str = ""
    # The vendor's name for max_output_tokens.
    max_tokens_field: str = "max_completion_tokens"
    # The vendor's name for seed.
    seed_field: str = "seed"
    # Sampling settings of the contract that the vendor does not know: left out with a warning.
    unsupported: frozenset[str] = frozenset()
    # The highest values of sampling settings: what is higher is lowered with a warning.
    highest: Mapping[str, float] = field(default_factory=dict)
    # How many stop sequences the vendor takes; the rest is left out with a warning.
    max_stop_sequences: int = 4
    # Whether the vendor's tool_choice knows "allowed_tools". If not, only the allowed tools are sent.
    allowed_tools: bool = True
    # The vendor's word for ToolChoice.MODE_REQUIRED.
    required_word: str = "required"
    # Whether the vendor knows parallel_tool_calls.
    parallel_switch: bool = True
    # What the vendor takes as the id of a tool call (a regular expression); others are replaced, each by the same.
    tool_call_id: str = r".{1,40}"
    # Whether messages may have a name, and whether a tool's result has its function's.
    names: bool = True
    tool_result_names: bool = False
    # Which response formats the vendor knows. Any object is said by a schema, and a schema in the prompt.
    response_formats: frozenset[str] = frozenset({"json_object", "json_schema"})
    # Whether a stream has to be told to report usage.
    stream_options: bool = True
    # How the vendor is told to think: effort = reasoning_effort; object = OpenRouter's "reasoning"; switch =
    # "thinking" of type enabled or disabled; budget = enable_thinking and thinking_budget; deepseek = switch and
    # reasoning_effort. Empty = not at all.
    thinking: Literal["", "effort", "object", "switch", "budget", "deepseek"] = "effort"
    # The words of reasoning_effort that the vendor knows, the least first. xhigh and max are the contract's MAX.
    efforts: tuple[str, ...] = ("none", "minimal", "low", "medium", "high", "xhigh")
    # Its models think unless they are told not to. Then they cannot be made to call a tool, and what they thought has
    # to be sent back in every turn.
    thinks_by_itself: bool = False
    # The field in which the vendor takes back what it thought ("content": as a part of it). Empty = it takes nothing.
    reasoning_field: Literal["", "reasoning_content", "reasoning", "content"] = ""
    # It takes back OpenRouter's reasoning_details.
    reasoning_details: bool = False
    # Kinds of media that the vendor takes: image, audio, file, file_url, video.
    media: frozenset[str] = frozenset({"image", "audio", "file"})
    # How documents are said: as OpenAI's "file" or as Mistral's "document_url".
    document: Literal["file", "document_url"] = "file"
    # How sound is said: as OpenAI's object of data and format, or as the base64 text alone.
    sound: Literal["object", "text"] = "object"
    # Whether messages of the model may have a refusal. If not, it is said as text.
    refusals: bool = True
    # Whether the vendor takes Anthropic's cache_control.
    cache_control: bool = False
    # Whether its models from GPT-5.6 on take OpenAI's prompt_cache_breakpoint.
    breakpoints: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request in the provider's words."""

    # Appended to the provider's base URL.
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    # What could not be said. `target` is filled in by the caller of encode_request.
    warnings: Sequence[CallWarning] = ()


class StreamDecoder(Protocol):
    """Turns the bytes of one streamed answer into events, however they are cut."""

    def feed(self, data: bytes) -> list[StreamGenerateResponse]:
        """Take the next bytes. Raises UpstreamError where the stream carries an error or breaks its wire format.

        Events that came before it in the same bytes are returned first; the next call raises.
        """

    def finish(self) -> list[StreamGenerateResponse]:
        """Take the end of the bytes. Raises UpstreamError (INTERRUPTED) where the terminal marker is missing."""


class Dialect(Protocol):
    """One wire format. A module is one. No I/O, no clock, no environment."""

    def encode_request(self, request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
        """The request for `model`. The request is valid (layers/resolve saw to it)."""

    def decode_response(self, body: bytes) -> list[StreamGenerateResponse]:
        """A whole answer as events: each part started and completed, then completed. Raises UpstreamError."""

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for one streamed answer."""

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What an answer with an error status means. Header names are lower case. Never raises."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a provider's list of its models."""

    models: Sequence[Listed]
    # What asks for the next page. Empty = this was the last one.
    token: str = ""


class ModelList(Protocol):
    """How the providers of one wire format list their models. A module is one. No I/O, no clock, no environment."""

    # Sent beside the credential.
    HEADERS: Mapping[str, str]

    def list_path(self, token: str) -> str:
        """What asks for the page of this token, or for the first one; appended to the provider's base URL."""

    def decode_list(self, body: bytes) -> Page:
        """A page. Entries that are not understood are left out. Raises DecodeError if it is no list at all."""
