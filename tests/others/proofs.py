"""What servers of others prove of a provider: each feature asked for through the whole gateway, whole and streamed.

A proof is a coroutine that raises AssertionError where the feature does not work. What it can look at is what the
servers do with a request: aimock plays the answers of aimock.json, llmock follows schemas and says back what it
understood, llm-katan says back what it understood. llama.cpp's server has a model, which is held to what it says by
grammars; LiteLLM's proxy stands in front of three of the others.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import grpc
from gateway import gateway, settings_of
from make import kinds, text_of
from others.servers import KEY, tell
from serving import details

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Any

    from gateway import Gateway

# Where a server has the API of which kind of provider: the end of the base URL.
_VERTEX = "/v1/projects/p/locations/l/publishers/google"
PATHS: Mapping[str, Mapping[str, str]] = {
    "aimock": {
        "openai": "/v1",
        "openai_compatible": "/v1",
        "azure_openai": "",
        "openrouter": "/api/v1",
        "openai_responses": "/v1",
        "anthropic": "",
        "gemini": "/v1beta",
        "vertex": _VERTEX,
        "cohere": "",
        "ollama": "",
        "bedrock": "",
    },
    "llmock": {
        "openai": "/v1",
        "openai_compatible": "/v1",
        "openai_responses": "/v1",
        "anthropic": "/anthropic",
        "gemini": "/gemini/v1beta",
        "cohere": "/cohere",
        "mistral": "/mistral/v1",
        "groq": "/groq/openai/v1",
        "together": "/together/v1",
        "perplexity": "/perplexity/v1",
        "xai": "/xai/v1",
    },
    "llamacpp": {"openai_compatible": "/v1"},
    "litellm": {"litellm": "/v1"},
    "katan": {
        "openai": "/v1",
        "openai_compatible": "/v1",
        "azure_openai": "",
        "anthropic": "",
        "vertex": _VERTEX,
        "bedrock": "",
    },
}
WEATHER = content_pb2.FunctionTool(
    name="get_weather",
    description="What the weather is like",
    parameters_json_schema=json.dumps(
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        }
    ),
)
PLACE = json.dumps(
    {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bergen"]}}, "required": ["city"]}
)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def asking(tmp_path: Path, kind: str, base_url: str, **provider: Any) -> AbstractAsyncContextManager[Gateway]:
    """A gateway whose provider `up` is the server."""
    # However often it fails, it is asked again at once.
    calm = {"breaker": {"recovery": 1e-9}}
    up = {"kind": kind, "base_url": base_url, "api_key": "env:KEY", "default_model": "m", **calm, **provider}
    environ = {"KEY": KEY, "WRONG": "wrong-key", "SECRET": "secret"}
    return gateway(settings_of(tmp_path, {"providers": {"up": up}}, environ))


def request(text: str, **more: Any) -> pb.GenerateRequest:
    # With a limit, or some providers are asked for a stream where the caller wants none. Tried once: what the provider
    # answers is looked at.
    config = pb.GenerationConfig(max_output_tokens=200)
    return pb.GenerateRequest(model="up", prompt=text, config=config, routing=call_pb2.Routing(max_attempts=1), **more)


async def whole(running: Gateway, asked: pb.GenerateRequest) -> pb.GenerateResponse:
    response: pb.GenerateResponse = await running.stub.Generate(asked, timeout=30)
    return response


async def streamed(running: Gateway, asked: pb.GenerateRequest) -> list[pb.StreamGenerateResponse]:
    """Its events; it is whole."""
    events = [event async for event in running.stub.StreamGenerate(asked, timeout=30)]
    assert (kinds(events)[0], kinds(events)[-1]) == ("started", "completed")
    return events


async def plain(running: Gateway) -> None:
    response = await whole(running, request("Say hello"))
    assert "hello" in response.message.parts[-1].text
    assert response.finish_reason == content_pb2.FINISH_REASON_STOP
    assert response.usage.HasField("input_tokens")
    assert response.usage.HasField("output_tokens")


async def stream(running: Gateway) -> None:
    events = await streamed(running, request("Say hello"))
    assert "hello" in text_of(events)
    assert events[-1].completed.response.finish_reason == content_pb2.FINISH_REASON_STOP


async def tools(running: Gateway) -> None:
    """A call, its arguments in pieces where it is streamed; then its result is sent back."""
    asked = request("What is the weather like?", tools=[content_pb2.Tool(function=WEATHER)])
    call = calls_of((await whole(running, asked)).message)[0]
    assert json.loads(call.arguments_json).keys() == {"city", "days"}
    events = await streamed(running, asked)
    assert json.loads(arguments_of(events)[0]) == json.loads(call.arguments_json)
    answered = pb.GenerateRequest(model="up", tools=asked.tools)
    answered.messages.add(role=content_pb2.ROLE_USER).parts.add(text="What is the weather like?")
    answered.messages.add(role=content_pb2.ROLE_ASSISTANT).parts.add(tool_call=call)
    result = answered.messages.add(role=content_pb2.ROLE_TOOL).parts.add().tool_result
    result.tool_call_id, result.name = call.id, call.name
    result.parts.add(text="21 degrees")
    assert (await whole(running, answered)).message.parts[-1].text


async def parallel_tools(running: Gateway) -> None:
    asked = request("What is the weather like?", tools=[content_pb2.Tool(function=WEATHER)])
    wanted = [{"city": "Tromsø", "days": 3}, {"city": "Oslo", "days": 1}]
    calls = calls_of((await whole(running, asked)).message)
    assert [json.loads(call.arguments_json) for call in calls] == wanted
    assert len({call.id for call in calls}) == 2
    assert [json.loads(text) for text in arguments_of(await streamed(running, asked))] == wanted


async def schema(running: Gateway) -> None:
    form = content_pb2.ResponseFormat(kind=content_pb2.ResponseFormat.KIND_JSON_SCHEMA, name="place", json_schema=PLACE)
    asked = request("Name a place", response_format=form)
    assert json.loads((await whole(running, asked)).message.parts[-1].text) == {"city": "Bergen"}
    assert json.loads(text_of(await streamed(running, asked))) == {"city": "Bergen"}


async def vision(running: Gateway) -> None:
    """The server says that it was shown an image."""
    asked = pb.GenerateRequest(model="up", config=pb.GenerationConfig(max_output_tokens=200))
    parts = asked.messages.add(role=content_pb2.ROLE_USER).parts
    parts.add(text="What is it?")
    parts.add(media=content_pb2.Media(mime_type="image/png", data=PNG))
    assert "[image" in (await whole(running, asked)).message.parts[-1].text


async def reasoning(running: Gateway) -> None:
    asked = request("Think")
    asked.config.thinking.effort = pb.Thinking.EFFORT_LOW
    thought, said = (await whole(running, asked)).message.parts
    assert (thought.reasoning.text, said.text) == ("First one thing, then the other.", "Both.")
    events = await streamed(running, asked)
    told = "".join(event.part_started.part.reasoning.text + event.part_delta.reasoning_text for event in events)
    assert told == "First one thing, then the other."
    assert text_of(events) == "Both."


async def logprobs(running: Gateway) -> None:
    """Each token of the answer with the likeliest ones in its place."""
    asked = request("Say hello")
    asked.config.max_output_tokens, asked.config.temperature, asked.config.top_logprobs = 8, 0, 2
    response = await whole(running, asked)
    events = await streamed(running, asked)
    streamed_tokens = [token for event in events for token in event.part_delta.logprobs]
    told = ((response.logprobs, response.message.parts[-1].text), (streamed_tokens, text_of(events)))
    for tokens, said in told:
        assert said.strip()
        assert "".join(token.token for token in tokens).strip() == said.strip()
        assert all(token.logprob <= 0 and len(token.top) == 2 for token in tokens)


async def cache_usage(running: Gateway) -> None:
    """The same prompt again is read from the cache, and counts as input all the same."""
    asked = request("Say hello. " * 50)
    first = (await whole(running, asked)).usage
    again = (await whole(running, asked)).usage
    assert first.input_tokens == again.input_tokens
    assert again.input_tokens < 2 * again.cache_read_input_tokens <= 2 * again.input_tokens


async def held_to_reasoning(running: Gateway) -> None:
    """A model that a grammar makes think: its server tells the thoughts from the answer."""
    asked = request("Why?")
    grammar = 'root ::= "<think>\\n" [a-z ]{10,30} "\\n</think>\\n\\n" "Because."'
    asked.provider_options["openai_chat"].update({"grammar": grammar})
    thought, said = (await whole(running, asked)).message.parts
    assert thought.reasoning.text.strip()
    assert said.text.strip() == "Because."
    events = await streamed(running, asked)
    told = "".join(event.part_started.part.reasoning.text + event.part_delta.reasoning_text for event in events)
    assert told.strip()
    assert text_of(events).strip() == "Because."


async def errors(opened: Callable[[], AbstractAsyncContextManager[Gateway]], address: str) -> None:
    """Refused keys, rate limits with the time to wait, overload: each is what it is, whole and streamed.

    Each in a gateway of its own, which knows nothing of the others: who was told to wait would not be asked.
    """
    expected = {
        401: call_pb2.OUTCOME_AUTH,
        429: call_pb2.OUTCOME_RATE_LIMITED,
        503: call_pb2.OUTCOME_OVERLOADED,
    }
    for status, outcome in expected.items():
        if address:
            tell(address, "/_llmock/scenario", {"behaviors": [fail(status), fail(status)]})
        for ask in (whole, streamed):
            async with opened() as running:
                failed = await failure(ask(running, request(f"Fail with {status}")))
            attempt = failed["trunkline.v1.CallFailure"].served.attempts[0]
            assert (attempt.provider_status, attempt.outcome) == (status, outcome)
            if status == 429:
                assert failed["google.rpc.RetryInfo"].retry_delay.seconds == 7


def fail(status: int) -> dict[str, Any]:
    """What llmock is told in order to fail once."""
    return {"type": "fail", "status": status} | ({"retry_after": 7} if status == 429 else {})


async def failure(asked: Awaitable[Any]) -> dict[str, Any]:
    """The typed details of the error that it ends in."""
    try:
        await asked
    except grpc.aio.AioRpcError as error:
        return details(error)
    raise AssertionError("it did not fail")


def calls_of(message: content_pb2.Message) -> list[content_pb2.ToolCall]:
    return [part.tool_call for part in message.parts if part.HasField("tool_call")]


def arguments_of(events: list[pb.StreamGenerateResponse]) -> list[str]:
    """The arguments of each call, put together from their pieces."""
    whole: dict[int, str] = {}
    for event in events:
        if event.part_started.part.HasField("tool_call"):
            whole[event.part_started.part_index] = event.part_started.part.tool_call.arguments_json
        elif event.part_delta.part_index in whole:
            whole[event.part_delta.part_index] += event.part_delta.tool_arguments_json
    return list(whole.values())


PROOFS: Mapping[str, Callable[[Gateway], Awaitable[None]]] = {
    "plain": plain,
    "stream": stream,
    "tools": tools,
    "parallel tools": parallel_tools,
    "schema": schema,
    "vision": vision,
    "reasoning": reasoning,
    "logprobs": logprobs,
    "cache usage": cache_usage,
}
# Of a server that would not say what the proof above waits for.
OF_SERVER: Mapping[tuple[str, str], Callable[[Gateway], Awaitable[None]]] = {
    ("llamacpp", "reasoning"): held_to_reasoning
}
# Which of the servers behind it LiteLLM's proxy is asked for.
BEHIND: Mapping[str, str] = {"schema": "llmock", "vision": "llmock", "logprobs": "llamacpp", "cache usage": "llamacpp"}


async def prove(server: str, provider: str, feature: str, address: str, folder: Path) -> None:
    """Raises AssertionError, or whatever a call fails with, where the feature does not work."""
    model = BEHIND.get(feature, "aimock") if server == "litellm" else "m"
    opened = partial(asking, folder, provider, address + PATHS[server][provider], default_model=model)
    if feature == "errors":
        await errors(opened, address if server == "llmock" else "")
        return
    async with opened() as running:
        await OF_SERVER.get((server, feature), PROOFS[feature])(running)
