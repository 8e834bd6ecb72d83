"""A sample of `make fuzz`, and that it finds what is there to be found."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from event_streams import event
from fuzz.__main__ import main
from fuzz.checks import CHECKS, check_stream, dialect_named, framed
from fuzz.mutations import damaged, pieces_of
from fuzz.run import Run, again
from fuzz.seeds import NAMES, Seeds, seeds_of

from trunkline_server.dialects import ollama_chat
from trunkline_server.wire.sse import SseFramer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.errors import UpstreamError


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_typed_errors_comes_out_of_a_decoder(name: str) -> None:
    run = Run(name, dialect_named(name), seeds_of(name, None), seed=7)
    run.go(executions=400)
    assert not [failure.why for failure in run.failures.values()]
    assert len(run.outcomes) > 20


class Careless:
    """Ollama's dialect, but for errors that it makes as it likes."""

    stream_decoder = staticmethod(ollama_chat.stream_decoder)
    encode_request = staticmethod(ollama_chat.encode_request)

    def decode_response(self, body: bytes) -> list[StreamGenerateResponse]:
        if b"\xff" in body:
            raise KeyError("message")
        return ollama_chat.decode_response(body)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        error = ollama_chat.decode_error(status, headers, body)
        error.retry_after = -1
        return error


def test_what_fails_is_saved_and_can_be_tried_again(tmp_path: Path) -> None:
    run = Run("ollama_chat", Careless(), Seeds(answers=[b'{"message":{"content":"Hi"},"done":true}']), seed=1)
    run.go(executions=3000)
    kinds = {failure.kind: failure for failure in run.failures.values()}
    assert kinds.keys() == {"answers", "errors"}
    assert "KeyError" in kinds["answers"].why
    saved = kinds["answers"].save(tmp_path)
    assert b"\xff" in saved.read_bytes()
    # Ollama's own dialect is not careless.
    assert again(saved).startswith("OUTCOME_")


def test_another_cut_that_tells_something_else_is_found() -> None:
    """A decoder that looks at what it is given at once, and not at the whole."""

    class Hasty(type(ollama_chat.stream_decoder())):  # type: ignore[misc]
        def feed(self, data: bytes) -> list[StreamGenerateResponse]:
            events: list[StreamGenerateResponse] = super().feed(data)
            return events[: len(data)]

    class Dialect(Careless):
        stream_decoder = staticmethod(Hasty)

    (stream,) = [each for each in seeds_of("ollama_chat", None).streams if each.count(b"\n") == 3][:1]
    for seed in range(50):
        try:
            check_stream(Dialect(), stream, Random(seed))
        except AssertionError:
            return
    pytest.fail("it was not found")


def test_damage_is_of_many_kinds_and_the_same_for_the_same_numbers() -> None:
    stream = b"".join(event("contentBlockDelta", {"delta": {"text": word}}) for word in ("one", "two"))
    sse = b'data: {"a": {"b": [1, 2]}}\n\ndata: [DONE]\n\n'
    for body in (stream, sse, b'{"a": 1}\n{"a": 2}\n', b'{"a": 1}', b""):
        many = [damaged(body, [body], Random(seed)) for seed in range(200)]
        assert many == [damaged(body, [body], Random(seed)) for seed in range(200)]
        assert len(set(many)) > 15
    for seed in range(50):
        assert b"".join(pieces_of(sse, Random(seed))) == sse
    assert framed(SseFramer, [sse]) == framed(SseFramer, pieces_of(sse, Random(1)))
    assert [*CHECKS] == ["streams", "answers", "errors"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.2", "--dialect", "ollama_chat", "--save", str(tmp_path)]) == 0
    assert "ollama_chat" in capsys.readouterr().out
