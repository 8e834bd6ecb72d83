"""What it costs to tell how large a request is, and what it costs and takes at each of 25 models.

    python -m bench.estimates

Prints microseconds of CPU time; of seven runs the least.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rows import row

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_USER, Message, Part
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.routing.analysis import analyse
from trunkline_server.routing.candidates import Tariff
from trunkline_server.routing.expected import Size, expected, is_too_dear
from trunkline_server.routing.fit import fit_score
from trunkline_server.routing.tokens import count_tokens
from trunkline_server.routing.window import fits

REPEATS, TIMES = 7, 1000
ENGLISH = "The committee met again on Tuesday (all 12 of them), and decided nothing; why, nobody knows.\n"
JAPANESE = "委員会は火曜日にまた開かれ、何も決まらなかった。"
ROWS = [
    row(
        f"p{number % 5}/m{number}",
        family="claude",
        tariff=Tariff(input=450_000 + number, output=1_800_000, cache_read=45_000, request=0, second=0),
        window=128_000,
        max_output=16_384,
        coding=0.5,
        reasoning=0.7,
        speed=0.4,
        effective_price=3.0,
    )
    for number in range(25)
]


def prompt(text: str, size: int) -> GenerateRequest:
    """A request of so many characters."""
    return GenerateRequest(prompt=(text * (size // len(text) + 1))[:size])


def operations() -> dict[str, Callable[[], object]]:
    """By name, what is done."""
    short, usual, large = prompt(ENGLISH, 1024), prompt(ENGLISH, 2048), prompt(ENGLISH, 1 << 20)
    japanese, much = prompt(JAPANESE, 1024), prompt(JAPANESE, 1 << 20)
    turns = [Message(role=role, parts=[Part(text=ENGLISH * 2)]) for role in (ROLE_USER, ROLE_ASSISTANT)]
    talk = GenerateRequest(messages=turns * 10)
    analysis, size = analyse(usual), Size(1000, 400, most=1000)
    return {
        "count 1 KB": lambda: count_tokens(short),
        "count 1,024 characters of Japanese": lambda: count_tokens(japanese),
        "count 20 messages, 4 KB": lambda: count_tokens(talk),
        "count 1 MiB": lambda: count_tokens(large),
        "count 3 MiB of Japanese": lambda: count_tokens(much),
        "analyse 2 KB, counting included": lambda: analyse(usual),
        "25 models: does it fit": lambda: [fits(1000, each, 1000) for each in ROWS],
        "25 models: fit score": lambda: [fit_score(each, analysis) for each in ROWS],
        "25 models: cost, bound and times": lambda: [expected(each, size) for each in ROWS],
        "25 models: too dear": lambda: [is_too_dear(each, size, 10**6) for each in ROWS],
    }


def least(work: Callable[[], object]) -> float:
    """Microseconds, the loop that repeats it included."""
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(TIMES):
            work()
        spent.append(time.process_time() - began)
    return min(spent) / TIMES * 1e6


def main() -> None:
    """Print all of it."""
    for name, work in operations().items():
        print(f"{least(work):8.2f} us  {name}")


if __name__ == "__main__":
    main()
