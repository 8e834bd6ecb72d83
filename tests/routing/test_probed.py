"""Which models are asked for a token: each that a call can go to, those that matter most first."""

from __future__ import annotations

from typing import Any

from make import snapshot
from msgspec import convert

from trunkline.v1.model_pb2 import Model
from trunkline_server.routing.probed import models_to_ask
from trunkline_server.settings import Settings
from trunkline_server.snapshot import Offer, Snapshot


def offer(provider: str, models: str = "", discovered: str = "", **more: Any) -> Offer:
    named, listed = (
        {name: Model(id=f"{provider}/{name}", provider=provider, provider_model=name) for name in names.split()}
        for names in (models, discovered)
    )
    default = next(iter(named), "")
    known: dict[str, Any] = {
        "default_model": default,
        "open": True,
        "spelling": "",
        "builtin": False,
        "unavailable_reason": "",
    }
    return Offer(provider, named, discovered=listed, **(known | more))


def asked(*offers: Offer, most: int = 64, **settings: Any) -> tuple[list[str], dict[str, int]]:
    held = Snapshot("", convert(settings, Settings), {each.provider: each for each in offers})
    found = models_to_ask(held, 0, most)
    return [f"{target.provider}/{target.model}" for target in found.targets], dict(found.left_out)


def test_defaults_come_first_then_what_is_named_then_what_is_listed_in_turn() -> None:
    found, left_out = asked(
        offer("b", "one two", "listed"),
        offer("a", "one two three", "listed other"),
        aliases={"quick": "a/aliased"},
        fallbacks={"b/two": ["a/after"]},
        chains={"c": {"targets": ["a/in-chain"]}, "t": {"tiers": [["b/in-tier"]]}},
        tasks={"t": {"primary": ["a/first"], "fallback": ["b/then"]}},
        agents={"x": {"model": "b/own"}},
        complexity=[{"use": "a/hard"}],
        last_resort="b/last",
    )
    named = "b/last a/aliased b/two a/after a/in-chain b/in-tier a/first b/then b/own a/hard"
    assert found == f"a/one b/one {named} a/two a/three a/listed b/listed a/other".split()
    assert left_out == {}


def test_too_many_are_left_out_from_the_end_and_counted() -> None:
    found, left_out = asked(offer("a", "one", "x y z"), offer("b", "one", "x"), most=3)
    assert found == ["a/one", "b/one", "a/x"]
    assert left_out == {"a": 2, "b": 1}


def test_what_cannot_be_called_and_what_nobody_offers_is_not_asked() -> None:
    found, left_out = asked(
        offer("off", "one", unavailable_reason="no key"),
        offer("on", "there away", gone={"away": "not listed"}),
        aliases={"lost": "nobody/m"},
    )
    assert (found, left_out) == (["on/there"], {})


def test_a_provider_without_a_default_model_is_asked_for_what_it_lists() -> None:
    assert asked(offer("a", "", "x"))[0] == ["a/x"]
    assert models_to_ask(snapshot(), 0).targets[0].model == "m"
