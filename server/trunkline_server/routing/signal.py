"""How a target does now, as a value: what a decision is made of, and from which it can be made again."""

from __future__ import annotations

from typing import NamedTuple


class Signal(NamedTuple):
    """How a target does now. Seconds throughout; nothing in it changes or hangs on the time."""

    # Of what first tokens usually take: the part that every prompt takes, and what each token of a prompt adds.
    base: float = 0.0
    per_prompt_token: float = 0.0
    # The same while it was measured too seldom for a line: medians by the size of prompts, see `size_of`.
    medians: tuple[tuple[int, float], ...] = ()
    # What each token of an answer takes. None = not measured.
    per_token: float | None = None
    # What whole answers usually take that were not asked for as streams: for every one, and for each token. None = not
    # measured often enough.
    whole: tuple[float, float] | None = None
    # What it takes now, of what it usually takes; 1 = as usual.
    residual: float = 1.0
    # The share of the latest calls that failed.
    errors: float = 0.0
    # How much of the scarcest of its provider's limits is in use, from 0 to 1.
    utilisation: float = 0.0
    # First tokens that were measured. 0 = it was never asked for a stream.
    samples: int = 0

    def usual_first_token(self, prompt_tokens: int) -> float | None:
        """How long a prompt of this size usually waits for its first token. None = not measured."""
        return expected(self.medians, self.base, self.per_prompt_token, prompt_tokens) if self.samples else None

    def first_token(self, prompt_tokens: int) -> float | None:
        """How long a prompt of this size waits for its first token now. None = not measured."""
        usual = self.usual_first_token(prompt_tokens)
        return None if usual is None else usual * self.residual

    def total(self, prompt_tokens: int, output_tokens: int) -> float | None:
        """How long the whole answer takes now. None = not measured."""
        first = self.first_token(prompt_tokens)
        if first is not None and self.per_token is not None:
            return first + output_tokens * self.per_token
        return (self.whole[0] + self.whole[1] * output_tokens) * self.residual if self.whole else None


# Nothing is known.
UNKNOWN = Signal()


def expected(medians: tuple[tuple[int, float], ...], base: float, slope: float, tokens: int) -> float:
    """Seconds by the line; while there are medians, by that of the nearest size."""
    if not medians:
        return base + slope * tokens
    size = size_of(tokens)
    return min(medians, key=lambda known: (abs(known[0] - size), known[0]))[1]


def size_of(tokens: int) -> int:
    """A prompt's size, as far as those of one size are compared with each other: a step is four times as long."""
    return (tokens.bit_length() + 1) // 2
