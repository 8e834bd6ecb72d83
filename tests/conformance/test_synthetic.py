"""The golden cases that stand in for recordings, with what is special about the provider that they stand in for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance.expectations import expectations
from decoding import decoded
from google.protobuf.json_format import ParseDict

from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerateResponse
from trunkline_server.fold import fold
from trunkline_server.formats import DIALECTS
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parents[1]
CELLS = [
    (provider, feature, TESTS / cell["test"])
    for provider, cells in expectations().synthetic.items()
    for feature, cell in cells.items()
    if cell["test"].startswith("golden/")
]
EACH = pytest.mark.parametrize(
    ("provider", "feature", "case"), CELLS, ids=lambda value: value.name if isinstance(value, Path) else str(value)
)
# What a request has to say for its feature, whatever else the provider leaves out.
SAYS: dict[str, Callable[[str, Any], bool]] = {
    "plain": lambda _, body: bool(body["messages"]),
    "stream": lambda _, body: body["stream"] is True,
    "tools": lambda _, body: bool(body["tools"]),
    "parallel tools": lambda _, body: bool(body["tools"]),
    "schema": lambda text, body: '"json_schema"' in text or isinstance(body.get("format"), dict),
    "vision": lambda text, _: '"image_url"' in text or '"images"' in text,
    "logprobs": lambda text, _: "logprobs" in text.lower(),
    "reasoning": lambda text, _: "reasoning_effort" in text or "think" in text,
    "cache usage": lambda _, body: bool(body["messages"]),
}
# What an answer has to show of it. The others are asked for only.
SHOWS: dict[str, Callable[[GenerateResponse], bool]] = {
    "plain": lambda answer: bool(answer.message.parts),
    "stream": lambda answer: bool(answer.message.parts),
    "tools": lambda answer: any(part.HasField("tool_call") for part in answer.message.parts),
    "parallel tools": lambda answer: sum(part.HasField("tool_call") for part in answer.message.parts) > 1,
    "logprobs": lambda answer: bool(answer.logprobs),
    "reasoning": lambda answer: any(part.reasoning.text for part in answer.message.parts),
    "cache usage": lambda answer: 0 < answer.usage.cache_read_input_tokens <= answer.usage.input_tokens,
}


@EACH
def test_the_provider_is_asked_for_the_feature(provider: str, feature: str, case: Path) -> None:
    row = ROWS[provider]
    assert case.parent.name == row.dialect
    request = ParseDict(json.loads((case / "request.json").read_text()), GenerateRequest())
    encoded = DIALECTS[row.dialect].encode_request(request, "m", stream=feature == "stream", quirks=row.quirks)
    text = encoded.body.decode()
    assert SAYS[feature](text, json.loads(text))


@EACH
def test_its_answer_shows_the_feature(provider: str, feature: str, case: Path) -> None:
    if feature not in SHOWS:
        pytest.skip("an answer does not show it")
    dialect = DIALECTS[ROWS[provider].dialect]
    whole = dialect.decode_response((case / "response.json").read_bytes())
    assert SHOWS[feature](fold([*whole]))
    streams = [*case.glob("stream.*")]
    assert streams
    for stream in streams:
        events, error = decoded(dialect.stream_decoder(), [stream.read_bytes()])
        assert error is None
        assert SHOWS[feature](fold(events))
