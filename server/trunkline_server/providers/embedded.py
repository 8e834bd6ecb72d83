"""The embedded provider: a small language model that runs in this process, on llama.cpp by way of `xllamacpp`.

The engine speaks the wire format of `openai_chat`, so requests and answers go through that dialect.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import secrets
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.content_pb2 import FINISH_REASON_CONTEXT_LENGTH, FINISH_REASON_MAX_TOKENS, ROLE_SYSTEM
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, StreamGenerateResponse
from trunkline_server.dialects import openai_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import NoCandidate, UnsupportedCapability, UpstreamError, Violation
from trunkline_server.providers.weights import SMOLLM2, Weights, find

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from trunkline_server.core import Call, Events
    from trunkline_server.settings import ProviderSettings

MODEL = "smollm2-135m-instruct"

# What so small a model needs where the caller says nothing. With its own default instructions it drifts into French.
INSTRUCTIONS = "You are a concise, factual assistant. Answer in English."
DEFAULTS = GenerationConfig(max_output_tokens=512, temperature=0.2, top_p=0.9)
REPEAT_PENALTY = 1.1
QUIRKS = Quirks(max_tokens_field="max_tokens", max_stop_sequences=16)

# Tokens that the engine works on between two looks at whether a call is still wanted: 40 ms of reading a prompt on two
# cores. With 64 it would be 260 ms, and reading a third faster.
BATCH = 8
# Rounds that an engine's thread spins before it sleeps.
SPIN_COUNT = "1000"
# The longest token of the vocabulary is 81 bytes. A prompt that must be too long is not even cut into tokens, which
# could not be cancelled and takes 2 s a megabyte.
MAX_TOKEN_BYTES = 81
# Beyond these the engine needs many seconds to compile a schema, in which it does nothing else; far beyond, it crashes.
MAX_SCHEMA_BYTES = 8192
MAX_SCHEMA_DEPTH = 64
# The engine's seeds are below this number, which itself means "any".
ANY_SEED = 0xFFFF_FFFF
# Seconds that a call which is not wanted any more waits for the engine to let go of it.
STOP_LIMIT = 1.0
# Characters of a Unix socket's path that every system takes.
MAX_SOCKET_PATH = 100

_FIELDS = Decoder(dict[str, msgspec.Raw])


class Engine(Protocol):
    """What is used of xllamacpp's Server."""

    def handle_chat_completions(self, prompt: bytes, callback: Callable[[bytes], bool]) -> None:
        """Answer, telling each piece as JSON to `callback`, until that returns True. Blocks; lets go of the GIL."""


class Embedded:
    """The model, loaded with the first call that wants it, and its worker threads: one for each stream at a time.

    A call that finds all of them at work waits for its turn, in order.
    """

    def __init__(self, settings: ProviderSettings, folder: Path, weights: Weights = SMOLLM2) -> None:
        """`folder` is the one that `weights.pull` pulled into."""
        self._settings = settings
        self._folder = folder
        self._weights = weights
        self._workers = ThreadPoolExecutor(settings.slots, thread_name_prefix="embedded")
        self._loading = threading.Lock()
        self._engine: Engine | None = None
        self._stops: set[threading.Event] = set()

    def unavailable_reason(self) -> str:
        """Why the model cannot be called, and what to do about it. Empty = it can. Nothing is loaded for that."""
        if importlib.util.find_spec("xllamacpp") is None:
            return "its engine is not installed: pip install 'trunkline[embedded]'"
        if find(self._folder, self._weights) is None:
            return "its weights are not on this machine: trunkline model pull"
        return ""

    async def load(self) -> None:
        """Load the model, unless it is loaded. Raises NoCandidate."""
        await asyncio.wrap_future(self._workers.submit(self._loaded))

    async def handle(self, call: Call) -> Events:
        """Answer with the model. This is a Handler.

        The same seed and request give the same text, unless other calls are answered at the same time: the engine then
        calculates with other roundings. A character that takes several tokens counts as one in the logprobs.
        Raises UnsupportedCapability, UpstreamError. However it ends, the engine soon stops working on it.
        """
        warnings = [*_warnings(call)]
        if refused := [*_refused(call.request), *(_strictly(warnings) if call.request.routing.strict_params else ())]:
            raise UnsupportedCapability(refused)
        request = _with_defaults(call.request)
        body = _encode(request, self._settings.context_window)
        decoder = openai_chat.stream_decoder()
        async with aclosing(self._pieces(body)) as pieces:
            async for piece in pieces:
                for event in decoder.feed(b"data: %b\n\n" % piece):
                    yield _as_asked(event, call.request)
        for event in decoder.finish():
            yield _completed(event, request, warnings) if event.HasField("completed") else event

    async def aclose(self) -> None:
        """End the calls that still run (they fail as INTERRUPTED or NOT_SENT) and free the model's memory."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        for stop in self._stops:
            stop.set()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._workers.shutdown()
        self._engine = None

    async def _pieces(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The engine's events. Not bounded: a whole answer is small."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()

        def take(piece: bytes) -> bool:
            loop.call_soon_threadsafe(queue.put_nowait, piece)
            return stop.is_set()

        work = self._submit(body, take)
        done = asyncio.wrap_future(work)
        done.add_done_callback(lambda _: queue.put_nowait(_failure_of(done)))
        self._stops.add(stop)
        try:
            while isinstance(piece := await queue.get(), bytes):
                yield piece
            if piece is not None:
                raise piece
        finally:
            stop.set()
            self._stops.discard(stop)
            if not work.cancel():
                await asyncio.wait([done], timeout=STOP_LIMIT)

    def _submit(self, body: bytes, take: Callable[[bytes], bool]) -> Future[None]:
        try:
            return self._workers.submit(lambda: self._loaded().handle_chat_completions(body, take))
        except RuntimeError:  # it was closed
            raise UpstreamError(call_pb2.OUTCOME_NOT_SENT, code="closed") from None

    def _loaded(self) -> Engine:
        """In a worker thread: the engine, loaded by whoever comes first. Raises NoCandidate."""
        with self._loading:
            if self._engine is None:
                if reason := self.unavailable_reason():
                    raise NoCandidate(f"the embedded model cannot be called: {reason}")
                self._engine = _open_engine(self._folder / self._weights.file_name, self._settings)
            return self._engine


def _failure_of(done: asyncio.Future[None]) -> UpstreamError | None:
    """How a worker failed, without the engine's words: they may quote the request."""
    if done.cancelled():
        return UpstreamError(call_pb2.OUTCOME_NOT_SENT, code="closed")
    error = done.exception()
    if isinstance(error, NoCandidate):
        return UpstreamError(call_pb2.OUTCOME_NOT_CONNECTED, error.message, code="not_loaded")
    if isinstance(error, ValueError):
        # What the engine finds wrong with a request before it begins; all but schemas is checked before.
        return UpstreamError(call_pb2.OUTCOME_INVALID, "the engine cannot follow the JSON schema", code="bad_schema")
    if error is not None:
        return UpstreamError(call_pb2.OUTCOME_SERVER_ERROR, "the engine failed", code="engine_failed")
    return None


def _open_engine(path: Path, settings: ProviderSettings) -> Engine:
    """Load the model: half a second. Raises NoCandidate."""
    if "xllamacpp" not in sys.modules:
        # By default a thread that waits for another one spins, and keeps the core from whoever has work for it: beside
        # two busy processes two threads on two cores made 2-14 tokens a second. With a short spin it was 15-32, and 100
        # as before where nothing else ran. libgomp reads this when it is loaded.
        os.putenv("GOMP_SPINCOUNT", SPIN_COUNT)
    try:
        llama = importlib.import_module("xllamacpp")
        with TemporaryDirectory(prefix="trunkline-") as folder:
            engine: Engine = llama.Server(_params(llama, path, settings, f"{folder}/engine.sock"))
    except (RuntimeError, ValueError, OSError, ImportError, MemoryError) as error:
        remedy = f"memory is short, or {path.name} is damaged: delete it, then: trunkline model pull"
        raise NoCandidate(f"the embedded model cannot be loaded: {remedy}") from error
    return engine


def _params(llama: Any, path: Path, settings: ProviderSettings, socket_path: str) -> Any:
    params = llama.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.n_ctx = settings.slots, settings.slots * settings.context_window
    # Answers that are being written take a token each; as many are left for prompts.
    params.n_batch = params.n_ubatch = max(BATCH, 2 * settings.slots)
    if settings.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.verbosity, params.ui, params.fit_params = 0, False, False
    params.reasoning_format = llama.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    # Prompts are kept where they were read and nowhere else: by default copies of them take up to 8 GiB.
    params.cache_ram_mib, params.cache_idle_slots, params.n_ctx_checkpoints = 0, False, 0
    # The engine insists on an HTTP listener. Nobody has its key, and where there are Unix sockets nobody finds it: its
    # folder is gone once the model is loaded.
    params.api_keys, params.n_threads_http = [secrets.token_urlsafe(32)], 1
    if hasattr(socket, "AF_UNIX") and len(socket_path) <= MAX_SOCKET_PATH:
        params.hostnames = [socket_path]
    return params


# --- the request ------------------------------------------------------------------------------------------------------


def _refused(request: GenerateRequest) -> Iterator[Violation]:
    """What this model cannot do."""
    if request.tools:
        yield Violation("tools", f"{MODEL} cannot call tools: choose another model")
    for index, message in enumerate(request.messages):
        if any(part.HasField("tool_call") or part.HasField("tool_result") for part in message.parts):
            yield Violation(f"messages[{index}].parts", f"{MODEL} does not know tools: choose another model")
    schema = request.response_format.json_schema
    if len(schema.encode()) > MAX_SCHEMA_BYTES:
        yield Violation("response_format.json_schema", f"{MODEL} takes at most {MAX_SCHEMA_BYTES} bytes")
    elif schema and _is_deep(schema):
        yield Violation("response_format.json_schema", f"{MODEL} takes at most {MAX_SCHEMA_DEPTH} levels")


def _is_deep(schema: str) -> bool:
    try:
        level = [json.loads(schema)]
    except RecursionError:
        return True
    for _ in range(MAX_SCHEMA_DEPTH):
        level = [child for node in level for child in _children(node)]
    return bool(level)


def _children(node: object) -> list[object]:
    if isinstance(node, dict):
        return [*node.values()]
    return node if isinstance(node, list) else []


def _warnings(call: Call) -> Iterator[CallWarning]:
    for index, message in enumerate(call.request.messages):
        if message.name:
            yield CallWarning(
                kind=CallWarning.KIND_PARAMETER_DROPPED,
                field=f"messages[{index}].name",
                message=f"left out: {MODEL} knows speakers by their roles only",
                target=call.target,
            )


def _strictly(warnings: list[CallWarning]) -> list[Violation]:
    return [Violation(warning.field, warning.message) for warning in warnings]


def _with_defaults(given: GenerateRequest) -> GenerateRequest:
    """The request as the engine takes it, with instructions for the model where there are none."""
    request = GenerateRequest()
    request.CopyFrom(given)
    if not given.system_instruction and all(message.role != ROLE_SYSTEM for message in given.messages):
        request.system_instruction = INSTRUCTIONS
    for message in request.messages:
        for part in message.parts:
            if part.HasField("refusal"):
                part.text = part.refusal
    config = request.config
    config.CopyFrom(DEFAULTS)
    config.MergeFrom(given.config)
    if config.HasField("seed"):
        config.seed %= ANY_SEED
    if config.HasField("top_logprobs"):
        config.top_logprobs = max(1, config.top_logprobs)  # to the engine 0 means none at all
    return request


def _encode(request: GenerateRequest, context_window: int) -> bytes:
    """The request as the engine's JSON. Raises UpstreamError."""
    size = len(request.system_instruction) + sum(message.ByteSize() for message in request.messages)
    if size > MAX_TOKEN_BYTES * context_window:
        raise UpstreamError(call_pb2.OUTCOME_CONTEXT_LENGTH, "the prompt is longer than the window", code="too_long")
    config = request.config
    fields = _FIELDS.decode(openai_chat.encode_request(request, MODEL, stream=True, quirks=QUIRKS).body)
    # A caller's own penalty stands alone; and in JSON, quotes and braces must repeat.
    plain = not config.presence_penalty and not config.frequency_penalty and "response_format" not in fields
    own = {
        "repeat_penalty": REPEAT_PENALTY if plain else 1.0,
        # What the engine still holds of earlier prompts changes its roundings, and with them the text.
        "cache_prompt": not config.HasField("seed"),
        # Without it the engine tells nothing, and cannot be stopped, until it has read the prompt.
        "return_progress": True,
    }
    return msgspec.json.encode(fields | own)


# --- the answer -------------------------------------------------------------------------------------------------------


def _as_asked(event: StreamGenerateResponse, asked: GenerateRequest) -> StreamGenerateResponse:
    """With top_logprobs 0, the tokens without their rivals."""
    if not event.part_delta.logprobs or asked.config.top_logprobs:
        return event
    bare = StreamGenerateResponse()
    bare.CopyFrom(event)
    for token in bare.part_delta.logprobs:
        token.ClearField("top")
    return bare


def _completed(
    event: StreamGenerateResponse, request: GenerateRequest, warnings: list[CallWarning]
) -> StreamGenerateResponse:
    """With the warnings; and with the window as the reason, where that was full before max_output_tokens."""
    final = StreamGenerateResponse()
    final.CopyFrom(event)
    response = final.completed.response
    response.warnings.extend(warnings)
    cut = response.finish_reason == FINISH_REASON_MAX_TOKENS
    if cut and response.usage.output_tokens < request.config.max_output_tokens:
        response.finish_reason = FINISH_REASON_CONTEXT_LENGTH
    return final
