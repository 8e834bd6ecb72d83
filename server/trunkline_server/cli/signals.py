"""How a process is asked to end: SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds. What starts us may pass one signal on twice: GNU timeout sends it to us and then to all of its group.
_ECHO = 0.5


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. The next such signal, unless it is an echo, ends the process at once."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if not asked.is_set():
            asked.set()
            loop.call_later(_ECHO, _obey_the_next, loop)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    return asked


def _obey_the_next(loop: asyncio.AbstractEventLoop) -> None:
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
