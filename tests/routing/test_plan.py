"""The plan: what the model means, then what the caller names, then what the configuration says."""

from __future__ import annotations

import pytest
from asked import resolve_model

from trunkline.v1.call_pb2 import Routing
from trunkline_server.core import ANYBODY, Identity
from trunkline_server.errors import ModelNotAllowed, NoCandidate, UnknownModel
from trunkline_server.routing.plan import Plan, plan_of
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.snapshot import Offer, Snapshot


def snapshot(missing: str = "", **settings: object) -> Snapshot:
    names = ("a", "b", "c")
    providers = {name: ProviderSettings() for name in names}
    offers = {
        name: Offer(
            provider=name,
            models={},
            default_model="m",
            open=True,
            spelling="",
            builtin=False,
            unavailable_reason="set KEY" if name == missing else "",
        )
        for name in names
    }
    return Snapshot("test", Settings(providers=providers, **settings), offers)  # type: ignore[arg-type]


def planned(it: Snapshot, model: str, routing: Routing, identity: Identity = ANYBODY) -> Plan:
    return plan_of(it.settings, model, routing, lambda name: resolve_model(it, name, identity))


def names(it: Snapshot, model: str = "a/x", identity: Identity = ANYBODY, **routing: object) -> list[str]:
    plan = planned(it, model, Routing(**routing), identity)  # type: ignore[arg-type]
    return [f"{target.provider}/{target.model}" for target in plan.targets]


FALLBACKS = {"a/x": ("c/z", "b/y"), "b": ("c",)}


def test_the_order_is_model_then_caller_then_configuration_without_repetition() -> None:
    assert names(snapshot()) == ["a/x"]
    assert names(snapshot(), fallback_models=["b/y", "a/x", "c"]) == ["a/x", "b/y", "c/m"]
    assert names(snapshot(fallbacks=FALLBACKS), fallback_models=["b/y"]) == ["a/x", "b/y", "c/z"]
    assert names(snapshot(fallbacks=FALLBACKS), "b") == ["b/m", "c/m"]
    assert names(snapshot(fallbacks=FALLBACKS), "c") == ["c/m"]


def test_none_but_the_first_where_fallback_is_disabled() -> None:
    assert names(snapshot(fallbacks=FALLBACKS), disable_fallback=True) == ["a/x"]


def test_what_the_caller_names_must_be_known_and_have_a_key() -> None:
    with pytest.raises(UnknownModel, match=r"routing.fallback_models\[1\]"):
        names(snapshot(), fallback_models=["b", "nobody"])
    with pytest.raises(NoCandidate, match=r"routing.fallback_models\[0\]"):
        names(snapshot("b"), fallback_models=["b"])


def test_what_is_configured_may_be_missing_and_may_stand_in() -> None:
    assert names(snapshot("c", fallbacks=FALLBACKS)) == ["a/x", "b/y"]
    assert names(snapshot("a", fallbacks=FALLBACKS), "a/x") == ["c/z", "b/y"]
    with pytest.raises(NoCandidate):
        names(snapshot("a"))


def test_larger_windows_are_kept_apart() -> None:
    plan = planned(snapshot(context_fallbacks={"a/x": ("a/x", "b/long")}), "a/x", Routing())
    assert [target.provider for target in plan.larger] == ["b"]


def test_fallbacks_do_not_get_round_what_a_key_may_use() -> None:
    only_a = Identity(role="caller", providers=("a",))
    both = snapshot(fallbacks=FALLBACKS, context_fallbacks={"a/x": ("b/long",)})
    assert names(both, "a/x", only_a) == ["a/x"]
    assert planned(both, "a/x", Routing(), only_a).larger == ()
    with pytest.raises(ModelNotAllowed, match=r"routing.fallback_models\[0\]"):
        names(both, "a/x", only_a, fallback_models=["b/y"])
    with pytest.raises(ModelNotAllowed):
        names(both, "b", only_a)
