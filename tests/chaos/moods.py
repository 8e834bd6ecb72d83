"""How a provider behaves: moods are odds of scripts, and a script is what one request gets. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from chaos.answers import say

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    Script = Sequence["bytes | Pause | End"]
    Behaviour = Callable[["Asked", random.Random], Script]

USED = (11, 7)


class Asked(NamedTuple):
    """A request as far as it matters here."""

    number: str
    provider: str
    streaming: bool


class Pause(NamedTuple):
    """Nothing for so many seconds, or until the peer is gone."""

    seconds: float


class End(NamedTuple):
    """How the connection ends: reset, closed, or held until the peer is gone."""

    how: str


def _answer(asked: Asked, dice: random.Random) -> Script:
    return _stream(asked, dice) if asked.streaming else [_whole(_body(asked, dice))]


def _slow(asked: Asked, dice: random.Random) -> Script:
    pieces = _answer(asked, dice)
    if len(pieces) == 1:
        pieces = _broken(bytes(pieces[0]), dice, 5)  # type: ignore[arg-type]
    pause = Pause(dice.uniform(0.01, 0.08))
    return [step for piece in pieces for step in (piece, pause)]


def _lazy(asked: Asked, dice: random.Random) -> Script:
    """A late first byte."""
    return [Pause(dice.uniform(0.1, 0.8)), *_answer(asked, dice)]


def _silent(_: Asked, __: random.Random) -> Script:
    return [End("held")]


def _stalls(asked: Asked, dice: random.Random) -> Script:
    sent = _flat(_answer(asked, dice))
    return [sent[: dice.randrange(1, len(sent))], End("held")]


def _cut(asked: Asked, dice: random.Random) -> Script:
    """At any byte, the first and the last included; whether the client can see it is another matter."""
    answer = _answer(asked, dice) if dice.random() < 0.7 else _to_the_end(asked, dice)
    sent = _flat(answer)
    return [sent[: dice.randrange(len(sent))], Pause(dice.choice((0, 0.01))), End(dice.choice(("reset", "closed")))]


def _limited(_: Asked, dice: random.Random) -> Script:
    wait = dice.choice(((), (), ("retry-after: 1",), ("retry-after: 0",)))
    return [_failure("429 Too Many Requests", "rate_limit_exceeded", wait)]


def _failing(_: Asked, dice: random.Random) -> Script:
    return [_failure(dice.choice(("500 Oh", "502 Oh", "503 Oh", "529 Oh")), "server_error")]


def _garbled(asked: Asked, dice: random.Random) -> Script:
    """What is no answer, however one reads it."""
    head = _head(asked.streaming) if asked.streaming else b""
    half = b'data: {"id":"x","choices":[{"index":0,"del\n\n'
    lies: tuple[bytes, ...] = (
        b"SSH-2.0-OpenSSH_9.6\r\n",
        _whole(b"<html>It works!</html>"),
        _whole(b'{"choices":[{"index'),
    )
    if asked.streaming:
        lies += (head + _chunk(half), head + b"zz\r\n" + half, head + _chunk(b"\xff\xfe\x00" * 20))
    return [dice.choice(lies), End("closed")]


def _error_within(asked: Asked, dice: random.Random) -> Script:
    """Status 200, and then an error in the place of the rest."""
    error = json.dumps({"error": {"message": "the engine died", "type": "server_error", "code": 500}}).encode()
    if not asked.streaming:
        return [_whole(error)]
    pieces = _stream(asked, dice)[:-4]
    kept = pieces[: dice.randrange(1, len(pieces) + 1)]
    return [*kept, _chunk(b"data: " + error + b"\n\n"), b"0\r\n\r\n"]


def _endless(asked: Asked, _: random.Random) -> Script:
    """Longer than anybody listens."""
    piece = _chunk(b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"and "}}]}\n\n')
    return [_head(asked.streaming), piece, *[step for _ in range(600) for step in (Pause(1.0), piece)]]


BEHAVIOURS: Mapping[str, Behaviour] = {
    "answer": _answer,
    "slow": _slow,
    "lazy": _lazy,
    "silent": _silent,
    "stalls": _stalls,
    "cut": _cut,
    "limited": _limited,
    "failing": _failing,
    "garbled": _garbled,
    "error within": _error_within,
    "endless": _endless,
}

MOODS: Mapping[str, Mapping[str, float]] = {
    "well": {"answer": 1},
    "slow": {"slow": 3, "lazy": 2, "answer": 1},
    "hung": {"silent": 1},
    "stalling": {"stalls": 2, "answer": 1},
    "cutting": {"cut": 3, "answer": 1},
    "limiting": {"limited": 3, "answer": 1},
    "failing": {"failing": 3, "answer": 1},
    "garbling": {"garbled": 2, "error within": 2, "answer": 1},
    "endless": {"endless": 1},
    "erratic": dict.fromkeys(BEHAVIOURS.keys() - {"endless"}, 1.0),
}


def script_for(asked: Asked, mood: Mapping[str, float], dice: random.Random) -> Script:
    """What this request gets."""
    (name,) = dice.choices(list(mood), list(mood.values()))
    return BEHAVIOURS[name](asked, dice)


# --- bytes ------------------------------------------------------------------------------------------------------------


def _said(asked: Asked, dice: random.Random) -> list[str]:
    return say(asked.number, asked.provider, 1500 if dice.random() < 0.02 else dice.randrange(3, 40))


def _body(asked: Asked, dice: random.Random) -> bytes:
    message = {"role": "assistant", "content": "".join(_said(asked, dice))}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"id": "x", "choices": [choice], "usage": _usage()}).encode()


def _stream(asked: Asked, dice: random.Random) -> list[bytes]:
    return [_head(asked.streaming), *(_chunk(event) for event in _events(asked, dice)), b"0\r\n\r\n"]


def _to_the_end(asked: Asked, dice: random.Random) -> list[bytes]:
    """An answer that goes on to the end of the connection: where that comes early, nothing in HTTP says so."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n\r\n"
    if not asked.streaming:
        return [head % b"application/json", _body(asked, dice)]
    return [head % b"text/event-stream", *_events(asked, dice)]


def _events(asked: Asked, dice: random.Random) -> list[bytes]:
    deltas: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in _said(asked, dice)
    ]
    last: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": _usage()},
    ]
    return [b"data: " + json.dumps({"id": "x", **event}).encode() + b"\n\n" for event in [*deltas, *last]] + [
        b"data: [DONE]\n\n"
    ]


def _head(streaming: bool) -> bytes:
    kind = b"text/event-stream" if streaming else b"application/json"
    return b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"


def _whole(body: bytes, status: str = "200 OK", headers: Sequence[str] = ()) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", "content-type: application/json", *headers))
    return f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def _failure(status: str, kind: str, headers: Sequence[str] = ()) -> bytes:
    return _whole(json.dumps({"error": {"message": "not now", "type": kind, "code": kind}}).encode(), status, headers)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage() -> dict[str, int]:
    return {"prompt_tokens": USED[0], "completion_tokens": USED[1], "total_tokens": sum(USED)}


def _flat(script: Script) -> bytes:
    return b"".join(step for step in script if isinstance(step, bytes))


def _broken(data: bytes, dice: random.Random, pieces: int) -> list[bytes]:
    cuts = sorted(dice.randrange(len(data)) for _ in range(pieces))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
