"""What a listing lets through, against the same said in plain Python; and recommendations."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from asked import DAY
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.model_pb2 import CAPABILITY_TOOLS, CAPABILITY_VISION, Capability, Model
from trunkline.v1.model_service_pb2 import ListModelsRequest, RecommendModelsRequest
from trunkline_server.errors import InvalidRequest
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.table import ROWS, SCRIPTS
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.filters import Known, quality_of
from trunkline_server.routing.listing import all_models, list_models
from trunkline_server.routing.recommend import recommend
from trunkline_server.routing.signal import UNKNOWN, Signal
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.settings.models import ModelSettings
from trunkline_server.settings.prices import PriceSettings, TokenPrice
from trunkline_server.snapshot import Snapshot

KEY = Secret("k")
PROVIDERS = {
    "openai": ProviderSettings(kind="openai", api_key=KEY, models=("gpt-4o", "gpt-6-luna", "gpt-4.1-nano", "o3")),
    "anthropic": ProviderSettings(kind="anthropic", models=("claude-opus-5-5", "claude-3-5-sonnet-20241022")),
    "mine": ProviderSettings(kind="openai_compatible", models=("a", "b", "c", "d")),
    "embedded": ProviderSettings(kind="embedded"),
    "also-mine": ProviderSettings(kind="openai_compatible", models=("x",)),
    "mock": ProviderSettings(kind="scripted", scripts=dict(SCRIPTS)),
    "ollama": ProviderSettings(kind="ollama", models=("llama3.1", "qwen2.5-coder")),
}
MODEL_DATA = {
    "mine/a": ModelSettings(context_window=8192, scores={"quality": 0.5, "speed": 0.9}, open_weights=True),
    "mine/b": ModelSettings(context_window=1 << 20, scores={"coding": 0.4, "reasoning": 0.8}, open_weights=False),
    "mine/c": ModelSettings(scores={"speed": 0.1, "quality": 1.0}),
}
PRICES = (
    PriceSettings(model="mine/a", input=TokenPrice(100_000), output=TokenPrice(400_000)),
    PriceSettings(model="mine/b", input=TokenPrice(0), output=TokenPrice(0)),
    PriceSettings(model="mine/c", input=TokenPrice(5_000_000), output=TokenPrice(25_000_000)),
)
FIRST = {("mine", "a"): 0.2, ("mine", "b"): 2.0, ("openai", "gpt-4o"): 0.5}


def snapshot(order: int = 0) -> Snapshot:
    providers = list(PROVIDERS.items())
    Random(order).shuffle(providers)
    settings = Settings(providers=dict(providers), model_data=MODEL_DATA, prices=PRICES)
    kinds = {name: each.kind for name, each in PROVIDERS.items()}
    return Snapshot("v", settings, build_offers(settings, ROWS, {}), PriceBook(kinds, PRICES))


THERE = snapshot()
KNOWN = Known(DAY, THERE.prices, lambda *of: Signal(base=FIRST[of], samples=20) if of in FIRST else UNKNOWN)
MODELS = list(all_models(THERE, KNOWN))


# --- the oracle: each filter said once more, in the plainest words ----------------------------------------------------


def rates(model: Model) -> Any:
    found = THERE.prices.find(model.provider, model.provider_model, DAY)
    return found.rates if found else {}


def unit(model: Model, name: str) -> float:
    return rates(model)[name].pico_usd if name in rates(model) else float("inf")


def cost(model: Model, into: int, out: int) -> float:
    """Of models without steps or other units: rounded up to a whole nano-USD."""
    return -(-(into * unit(model, "input") + out * unit(model, "output")) // 1000) if rates(model) else float("inf")


def quality(model: Model) -> float | None:
    scores = {score.name: score.value for score in model.scores}
    if "quality" in scores:
        return scores["quality"]
    parts = [scores[name] for name in ("coding", "reasoning", "long_context") if name in scores]
    return sum(parts) / len(parts) if parts else None


def speed(model: Model) -> float | None:
    return {score.name: score.value for score in model.scores}.get("speed")


def let_through(model: Model, f: dict[str, Any]) -> bool:
    first = FIRST.get((model.provider, model.provider_model))
    checks: dict[str, Any] = {
        "provider": lambda want: model.provider == want,
        "required_capabilities": lambda want: all(each in model.capabilities for each in want),
        "max_input_pico_usd_per_token": lambda want: unit(model, "input") <= want,
        "max_output_pico_usd_per_token": lambda want: unit(model, "output") <= want,
        "max_call_cost_nano_usd": lambda want: (
            cost(model, f.get("call_input_tokens", 1000), f.get("call_output_tokens", 500)) <= want
        ),
        "min_context_window": lambda want: model.HasField("context_window") and model.context_window >= want,
        "min_quality": lambda want: (value := quality(model)) is not None and value >= want,
        "min_speed": lambda want: (value := speed(model)) is not None and value >= want,
        "max_time_to_first_token": lambda want: first is None or first <= want.seconds + want.nanos / 1e9,
        "open_weights_only": lambda want: not want or model.open_weights,
        "available_only": lambda want: not want or model.available,
        "call_input_tokens": lambda _: True,
        "call_output_tokens": lambda _: True,
    }
    return all(checks[name](want) for name, want in f.items())


prices = st.sampled_from([0, 1, 100_000, 150_000, 400_000, 2_500_000, 1 << 60])
FILTERS: dict[str, Any] = {
    "provider": st.sampled_from([*PROVIDERS, "nobody"]),
    "required_capabilities": st.lists(st.sampled_from([each for each in Capability.values() if each]), max_size=2),
    "max_input_pico_usd_per_token": prices,
    "max_output_pico_usd_per_token": prices,
    "max_call_cost_nano_usd": st.sampled_from([0, 1, 300_000, 7_500_000, 10**12]),
    "call_input_tokens": st.integers(0, 5000),
    "call_output_tokens": st.integers(0, 5000),
    "min_context_window": st.sampled_from([0, 8192, 8193, 128_000, 1 << 20, 1 << 40]),
    "min_quality": st.sampled_from([0.0, 0.5, 0.6, 0.516, 1.0]),
    "min_speed": st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    "max_time_to_first_token": st.sampled_from([Duration(), Duration(nanos=500_000_000), Duration(seconds=2)]),
    "open_weights_only": st.booleans(),
    "available_only": st.booleans(),
}


def test_every_filter_has_its_oracle() -> None:
    fields = {field.name for field in ListModelsRequest.DESCRIPTOR.fields}
    assert set(FILTERS) == fields - {"page_size", "page_token"}


def ids(filters: dict[str, Any]) -> list[str]:
    return [model.id for model in list_models(THERE, ListModelsRequest(page_size=1000, **filters), KNOWN).models]


def expected(filters: dict[str, Any]) -> list[str]:
    return sorted(model.id for model in MODELS if let_through(model, filters))


@pytest.mark.parametrize("name", FILTERS)
@given(data=st.data())
def test_a_filter_alone(name: str, data: st.DataObject) -> None:
    filters = {name: data.draw(FILTERS[name])}
    assert ids(filters) == expected(filters)


@given(st.fixed_dictionaries({}, optional=FILTERS))
def test_filters_together(filters: dict[str, Any]) -> None:
    assert ids(filters) == expected(filters)


def test_filters_tell_models_apart() -> None:
    """Else the two above would prove nothing."""
    for name, some in {
        "max_input_pico_usd_per_token": 150_000,
        "max_call_cost_nano_usd": 300_000,
        "min_quality": 0.5,
        "min_speed": 0.5,
        "min_context_window": 200_000,
        "max_time_to_first_token": Duration(seconds=1),
        "open_weights_only": True,
        "required_capabilities": [CAPABILITY_VISION],
    }.items():
        assert 0 < len(ids({name: some})) < len(MODELS), name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_quality", 1.1),
        ("min_quality", float("nan")),
        ("min_speed", -0.1),
        ("max_call_cost_nano_usd", -1),
        ("call_input_tokens", -1),
        ("call_output_tokens", 1 << 50),
        ("max_time_to_first_token", Duration(seconds=-1)),
    ],
)
def test_what_is_out_of_range_is_named(field: str, value: Any) -> None:
    for ask in (
        lambda: list_models(THERE, ListModelsRequest(**{field: value}), KNOWN),
        lambda: recommend(THERE, RecommendModelsRequest(**{field: value}), KNOWN),
    )[: 1 if field == "min_speed" else 2]:
        with pytest.raises(InvalidRequest) as raised:
            ask()
        assert [violation.field for violation in raised.value.violations] == [field]


def test_quality_is_the_mean_of_what_makes_it_up() -> None:
    found = {model.id: quality_of(model) for model in MODELS}
    assert (found["mine/a"], found["mine/d"]) == (0.5, None)
    assert found["mine/b"] == pytest.approx(0.6)
    assert found["openai/o3"] == 0.769


# --- recommendations --------------------------------------------------------------------------------------------------


def best(where: Snapshot = THERE, **wishes: Any) -> list[str]:
    told = recommend(where, RecommendModelsRequest(**wishes), KNOWN)
    return [each.model.id for each in told.recommendations]


def test_the_cheapest_that_can_do_it() -> None:
    cheapest = RecommendModelsRequest.OBJECTIVE_CHEAPEST
    found = best(objective=cheapest, required_capabilities=[CAPABILITY_TOOLS], max_results=100)
    assert found[0] in ("mine/b", "ollama/llama3.1", "ollama/qwen2.5-coder"), "they are free"
    paid = [name for name in found if name.startswith("openai/")]
    assert paid[0] == "openai/gpt-4.1-nano" or paid[0] == "openai/gpt-6-luna"
    assert found.index("openai/gpt-6-luna") < found.index("openai/gpt-4o")
    assert found[-2:] == ["also-mine/x", "mine/d"], "nobody knows what they cost"


def test_the_fastest_and_the_best() -> None:
    assert best(objective=RecommendModelsRequest.OBJECTIVE_FASTEST)[0] == "mine/a"
    assert best(objective=RecommendModelsRequest.OBJECTIVE_BEST)[:2] == ["mine/c", "openai/o3"]


def test_what_cannot_be_called_and_what_only_plays_is_nobodys_recommendation() -> None:
    found = best(max_results=100)
    assert not any(name.startswith(("anthropic/", "mock/")) for name in found)


def test_local_and_open() -> None:
    assert {name.partition("/")[0] for name in best(local_only=True)} <= {"embedded", "ollama"}
    open_first = best(prefer_open_weights=True, objective=RecommendModelsRequest.OBJECTIVE_CHEAPEST)
    assert open_first[:2] == ["embedded/smollm2-135m-instruct", "ollama/llama3.1"]


def test_each_says_why() -> None:
    told = recommend(THERE, RecommendModelsRequest(max_results=100), KNOWN)
    reasons = {each.model.id: list(each.reasons) for each in told.recommendations}
    assert reasons["mine/a"] == [
        "a call costs 0.000300 USD",
        "quality 0.500 (configuration)",
        "its first token takes 0.200 s (measured)",
    ]
    assert reasons["mine/d"] == ["its price is not known", "its quality is not known", "its speed is not known"]
    assert "Aider polyglot" in reasons["openai/o3"][1]


def test_of_equal_ones_the_cheaper_comes_first_then_the_order_of_their_ids() -> None:
    told = recommend(THERE, RecommendModelsRequest(objective=RecommendModelsRequest.OBJECTIVE_BEST), KNOWN)
    unknown = [each for each in told.recommendations if each.score == 0]
    costs = [each.call_cost_nano_usd if each.HasField("call_cost_nano_usd") else 1 << 62 for each in unknown]
    keys = list(zip(costs, (each.model.id for each in unknown), strict=True))
    assert len(keys) > 2
    assert keys == sorted(keys)


def test_the_order_of_the_offers_does_not_matter() -> None:
    assert len({tuple(best(snapshot(order), max_results=100)) for order in range(8)}) == 1


@given(st.sampled_from(RecommendModelsRequest.Objective.values()), st.booleans(), st.integers(0, 20))
def test_scores_come_in_order_and_no_more_than_asked(objective: Any, prefer: bool, most: int) -> None:
    request = RecommendModelsRequest(objective=objective, prefer_open_weights=prefer, max_results=most)
    told = recommend(THERE, request, KNOWN)
    scores = [each.score for each in told.recommendations]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1.1 for score in scores)
    assert len(scores) <= (most or 10)


def test_fewer_wishes_never_find_less() -> None:
    for wish in ({"min_quality": 0.5}, {"min_context_window": 8192}, {"max_call_cost_nano_usd": 300_000}):
        assert set(best(max_results=100, **wish)) < set(best(max_results=100))


def test_bad_wishes_are_named() -> None:
    with pytest.raises(InvalidRequest) as raised:
        recommend(THERE, RecommendModelsRequest(max_results=-1, objective=99), KNOWN)  # type: ignore[arg-type]
    assert [violation.field for violation in raised.value.violations] == ["max_results", "objective"]
