"""Gemini's streams: bytes in, JSON objects out, however the bytes arrive. Sans-I/O.

Three forms are known: server-sent events; one JSON array, which the API sends to those who leave out `alt=sse`; and
server-sent events that are broken off by a bare JSON object, which tells of an error.
"""

from __future__ import annotations

import re

from trunkline_server.wire.sse import MAX_EVENT_BYTES, EventTooLarge, SseFramer

# A line that begins with a bracket is no server-sent event.
_BARE_LINE = re.compile(rb"[\r\n][{\[]")
_OUTSIDE_STRING = re.compile(rb'["{}]')
_INSIDE_STRING = re.compile(rb'["\\]')


class GeminiFramer:
    """Cuts one stream into its JSON objects."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._sse = SseFramer(max_event_bytes)
        self._json: JsonFramer | None = None
        self._last_byte = b"\n"

    @property
    def is_cut_off(self) -> bool:
        """Whether the bytes so far end inside a bare object: more was said, and we do not know what."""
        return self._json is not None and self._json.is_inside

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; returns the objects that they complete. Raises EventTooLarge."""
        if self._json is not None:
            return self._json.feed(data)
        seen = self._last_byte + data
        bare = _BARE_LINE.search(seen)
        if bare is None:
            self._last_byte = seen[-1:]
            return [event.data for event in self._sse.feed(data)]
        self._json = JsonFramer(self._limit)
        # Behind the line's end in `seen` is where that end stands in `data`, which is a byte shorter.
        events = [*self._sse.feed(data[: bare.start()]), *self._sse.finish()]
        return [*(event.data for event in events), *self._json.feed(data[bare.start() :])]

    def finish(self) -> list[bytes]:
        """Take the end of the bytes; returns the object that they end in, if they do."""
        return [event.data for event in self._sse.finish()]


class JsonFramer:
    """Cuts JSON objects apart that follow each other, with anything but braces between them: an array's elements."""

    def __init__(self, max_object_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_object_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def is_inside(self) -> bool:
        """Whether an object is under way."""
        return self._depth > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; returns the objects that they complete. Raises EventTooLarge."""
        objects, start, position = [], 0, 0
        while (position := self._next(data, position)) >= 0:
            byte = data[position : position + 1]
            position += 1
            if byte == b"{":
                if self._depth == 0:
                    start = position - 1
                self._depth += 1
            elif byte == b"}" and self._depth:
                self._depth -= 1
                if self._depth == 0:
                    objects.append(self._take() + data[start:position])
        if self._depth:
            self._keep(data[start:])
        return objects

    def _next(self, data: bytes, position: int) -> int:
        """The next brace that is not in a string, from `position` on. -1 = there is none."""
        while position < len(data):
            if self._escaped:
                self._escaped, position = False, position + 1
                continue
            found = (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).search(data, position)
            if found is None:
                break
            position = found.end()
            match found[0]:
                case b"\\":
                    self._escaped = True
                case b'"':
                    self._in_string = not self._in_string and self._depth > 0
                case _:
                    return found.start()
        return -1

    def _keep(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > self._limit:
            raise EventTooLarge

    def _take(self) -> bytes:
        whole = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return whole
