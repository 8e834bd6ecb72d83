"""Random numbers that a seed gives: the same ones each time. Pure."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


class Draws:
    """SplitMix64: numbers from 0 to 1, 1 excluded. Much sooner ready than random.Random, which decisions wait for."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        """`seed`: 64 bits."""
        self._state = seed & _MASK

    def __call__(self) -> float:
        """The next one."""
        self._state = z = (self._state + _STEP) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * (1.0 / (1 << 53))
