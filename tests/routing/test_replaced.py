"""Models that are gone, and what answers in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asked import DAY, get_model, list_models
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import ERROR_REASON_MODEL_NOT_FOUND, Target
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline_server.core import Identity
from trunkline_server.errors import ModelGone, ModelNotAllowed, NoCandidate
from trunkline_server.listed import Listed
from trunkline_server.providers.table import ROWS, configured
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.discovered import join, learn
from trunkline_server.routing.replaced import gone_reason, replacement_of, targets_of
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.settings.models import ModelSettings
from trunkline_server.settings.prices import Moment
from trunkline_server.snapshot import Snapshot

if TYPE_CHECKING:
    from trunkline_server.routing.replaced import Meant

KEY = Secret("k")
# 2026-11-28T00:00:00Z: gpt-4 retired on 2026-10-23, gpt-4o will on 2027-01-14.
AFTER = DAY + 58 * 86400
OPENAI = ProviderSettings(kind="openai", api_key=KEY)
PROXY = ProviderSettings(kind="openai", api_key=KEY, base_url="https://proxy.example/v1")


def snapshot(
    model_data: dict[str, ModelSettings] | None = None, aliases: dict[str, str] | None = None, **providers: Any
) -> Snapshot:
    settings = Settings(providers=providers, model_data=model_data or {}, aliases=aliases or {})
    return Snapshot("v", settings, build_offers(settings, ROWS, {}))


def told(base: Snapshot, **lists: list[str]) -> Snapshot:
    offers = base.offers
    for name, ids in lists.items():
        provider = base.settings.providers[name]
        row = configured(ROWS[provider.kind], provider)
        offers = join(offers, base, row, name, learn(None, map(Listed, ids)), "")
    return Snapshot("v", base.settings, offers)


def said(plan: Meant) -> list[str]:
    return [f"{target.provider}/{target.model}" for target in plan.targets]


# --- at the vendor's own address --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["gpt-4", "openai/gpt-4", "GPT-4", "openai/GPT-4", "gpt-4-2023-06-13", "my-four", "openai/gpt-4-0613"]
)
def test_a_retired_model_is_served_by_its_replacement_under_every_name(name: str) -> None:
    there = snapshot(aliases={"my-four": "openai/gpt-4"}, openai=OPENAI)
    plan = targets_of(there, name, AFTER)
    assert said(plan) == ["openai/gpt-5.6-sol"]
    warning = plan.replaced["openai", "gpt-5.6-sol"]
    assert (warning.kind, warning.field) == (CallWarning.KIND_MODEL_REPLACED, "model")
    assert "openai/gpt-4" in warning.message
    assert "openai retired it on 2026-10-23" in warning.message
    assert "openai/gpt-5.6-sol answers in its place" in warning.message


def test_before_its_day_it_is_served_itself() -> None:
    plan = targets_of(snapshot(openai=OPENAI), "gpt-4", DAY)
    assert (said(plan), dict(plan.replaced)) == (["openai/gpt-4"], {})


def test_the_day_itself_counts() -> None:
    there = snapshot({"openai/m": ModelSettings(retirement=Moment(DAY), replacement="n")}, openai=OPENAI)
    assert said(targets_of(there, "openai/m", DAY - 1)) == ["openai/m"]
    assert said(targets_of(there, "openai/m", DAY)) == ["openai/n"]


@pytest.mark.parametrize(
    ("provider", "name", "other"),
    [
        ("anthropic", "claude-3-opus", "claude-opus-5-5"),
        ("anthropic", "claude-3.5-sonnet", "claude-sonnet-5-5"),
        ("anthropic", "claude-3-haiku-20240307", "claude-haiku-4-5"),
        ("gemini", "gemini-1.5-pro", "gemini-3.8-flash"),
        ("gemini", "palm-2", "gemini-3.5-flash-lite"),
        ("mistral", "mistral-tiny", "ministral-8b-latest"),
        ("mistral", "mixtral-8x7b", "mistral-small-latest"),
        ("cohere", "command-light", "command-r7b-12-2024"),
        ("deepseek", "deepseek-coder", "deepseek-v4-flash"),
        ("groq", "llama3-70b-8192", "openai/gpt-oss-120b"),
    ],
)
def test_what_the_older_systems_name_is_answered(provider: str, name: str, other: str) -> None:
    providers: dict[str, Any] = {provider: ProviderSettings(kind=provider, api_key=KEY)}
    there = snapshot(**providers)
    for written in (f"{provider}/{name}", *([name] if provider != "groq" else [])):
        assert said(targets_of(there, written, AFTER)) == [f"{provider}/{other}"]


def test_strictly_it_is_an_error_that_names_the_replacement() -> None:
    with pytest.raises(ModelGone, match=r"gpt-4 is gone: .*openai/gpt-5.6-sol replaces it") as raised:
        targets_of(snapshot(openai=OPENAI), "gpt-4", AFTER, strict=True)
    assert (raised.value.reason, raised.value.resource) == (ERROR_REASON_MODEL_NOT_FOUND, "gpt-4")
    assert said(targets_of(snapshot(openai=OPENAI), "gpt-4o", AFTER, strict=True)) == ["openai/gpt-4o"]


def test_without_a_replacement_another_is_named() -> None:
    there = snapshot({"openai/old": ModelSettings(retirement=Moment(DAY))}, openai=OPENAI)
    with pytest.raises(ModelGone, match=r"openai/old is gone: .*such as openai/gpt-4o-mini"):
        targets_of(there, "openai/old", AFTER)


def test_a_replacement_of_a_replacement() -> None:
    chain = {
        "openai/a": ModelSettings(retirement=Moment(DAY), replacement="b"),
        "openai/b": ModelSettings(retirement=Moment(DAY), replacement="openai/c"),
        "openai/c": ModelSettings(),
    }
    assert said(targets_of(snapshot(chain, openai=OPENAI), "openai/a", AFTER)) == ["openai/c"]
    chain["openai/c"] = ModelSettings(retirement=Moment(DAY), replacement="a")
    with pytest.raises(ModelGone):
        targets_of(snapshot(chain, openai=OPENAI), "openai/a", AFTER)


def test_another_provider_may_replace_it() -> None:
    other = {"openai/gpt-4": ModelSettings(replacement="claude/claude-sonnet-5-5")}
    claude = ProviderSettings(kind="anthropic", api_key=KEY)
    plan = targets_of(snapshot(other, openai=OPENAI, claude=claude), "gpt-4", AFTER)
    assert said(plan) == ["claude/claude-sonnet-5-5"]
    keyless = snapshot(other, openai=OPENAI, claude=ProviderSettings(kind="anthropic"))
    with pytest.raises(ModelGone):
        targets_of(keyless, "openai/gpt-4", AFTER)


def test_a_caller_gets_no_replacement_that_he_may_not_use() -> None:
    there = snapshot(openai=ProviderSettings(kind="openai", api_key=KEY, models=("gpt-4", "gpt-4o", "gpt-5.6-sol")))
    with pytest.raises(ModelGone) as raised:
        targets_of(there, "gpt-4", AFTER, Identity(models=("gpt-4", "gpt-4o")))
    assert "such as openai/gpt-4o" in raised.value.message
    assert "gpt-5.6-sol" not in raised.value.message
    assert said(targets_of(there, "gpt-4", AFTER, Identity(models=("gpt-*",)))) == ["openai/gpt-5.6-sol"]
    with pytest.raises(ModelNotAllowed):
        targets_of(there, "gpt-4", AFTER, Identity(models=("gpt-5.6-sol",)))
    seen = get_model(there, "gpt-4", Identity(models=("gpt-4",)), when=AFTER)
    assert "gpt-5.6-sol" not in str(seen)


def test_a_configuration_may_keep_it() -> None:
    later = snapshot({"openai/gpt-4": ModelSettings(retirement=Moment(AFTER + 1))}, openai=OPENAI)
    assert said(targets_of(later, "gpt-4", AFTER)) == ["openai/gpt-4"]


def test_a_provider_that_cannot_be_called_is_no_reason_to_replace() -> None:
    with pytest.raises(NoCandidate, match="OPENAI_API_KEY"):
        targets_of(snapshot(openai=ProviderSettings(kind="openai")), "gpt-4", AFTER)


def test_one_that_still_has_it_is_asked_for_it() -> None:
    there = told(snapshot(openai=OPENAI, eu=PROXY), eu=["gpt-4"])
    assert said(targets_of(there, "gpt-4", AFTER)) == ["eu/gpt-4"]


# --- what is listed goes before ---------------------------------------------------------------------------------------


def test_a_provider_that_still_lists_it_serves_it() -> None:
    there = told(snapshot(openai=OPENAI), openai=["gpt-4", "gpt-5.6-sol"])
    plan = targets_of(there, "gpt-4", AFTER)
    assert (said(plan), dict(plan.replaced)) == (["openai/gpt-4"], {})


def test_a_model_that_is_missing_from_the_list_is_gone_before_its_day() -> None:
    there = told(snapshot(openai=OPENAI), openai=["gpt-5.6-sol"])
    plan = targets_of(there, "gpt-4", DAY)
    assert said(plan) == ["openai/gpt-5.6-sol"]
    assert "openai does not list it" in plan.replaced["openai", "gpt-5.6-sol"].message


def test_a_replacement_that_is_not_listed_is_none() -> None:
    there = told(snapshot(openai=OPENAI), openai=["gpt-6-sol"])
    with pytest.raises(ModelGone):
        targets_of(there, "gpt-4", AFTER)


def test_elsewhere_names_mean_what_that_server_says() -> None:
    assert said(targets_of(snapshot(p=PROXY), "p/gpt-4", AFTER)) == ["p/gpt-4"], "nobody knows what it means there"
    neither = told(snapshot(p=PROXY), p=["llama"])
    assert said(targets_of(neither, "p/gpt-4", AFTER)) == ["p/gpt-4"]
    both = told(snapshot(p=PROXY), p=["gpt-5.6-sol"])
    assert said(targets_of(both, "p/gpt-4", AFTER)) == ["p/gpt-5.6-sol"]
    own = snapshot({"p/gpt-4": ModelSettings(retirement=Moment(DAY), replacement="x")}, p=PROXY)
    assert said(targets_of(own, "p/gpt-4", AFTER)) == ["p/x"]


@pytest.mark.parametrize(
    ("kind", "url", "home"),
    [
        ("vertex", "https://us-central1-aiplatform.googleapis.com/v1/projects/p", True),
        ("vertex", "https://aiplatform.googleapis.com/v1/projects/p", True),
        ("vertex", "https://gateway.example/v1", False),
        ("vertex", "https://evil.example/?https://aiplatform.googleapis.com/", False),
        ("bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com", True),
        ("bedrock", "http://localhost:1", False),
        ("openai", "", True),
        ("openai", "https://proxy.example", False),
        ("ollama", "", False),
    ],
)
def test_where_a_vendor_is_at_home(kind: str, url: str, home: bool) -> None:
    assert snapshot(p=ProviderSettings(kind=kind, api_key=KEY, base_url=url)).offers["p"].at_home is home


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_retired_model_says_so() -> None:
    model = get_model(snapshot(openai=OPENAI), "gpt-4", when=AFTER)
    assert not model.available
    assert "retired it on 2026-10-23: openai/gpt-5.6-sol answers in its place" in model.unavailable_reason
    assert model.replacement == "openai/gpt-5.6-sol"
    assert model.retirement_time.ToDatetime().date().isoformat() == "2026-10-23"
    assert get_model(snapshot(openai=OPENAI), "gpt-4", when=DAY).available


def test_a_listing_of_what_is_available_leaves_it_out() -> None:
    there = snapshot(openai=ProviderSettings(kind="openai", api_key=KEY, models=("gpt-4", "gpt-4o")))
    ids = [model.id for model in list_models(there, ListModelsRequest(available_only=True), when=AFTER).models]
    assert ids == ["openai/gpt-4o"]
    assert len(list_models(there, ListModelsRequest(), when=AFTER).models) == 2


# --- whatever is configured and listed --------------------------------------------------------------------------------

MODELS = st.sampled_from("abcd")
DATA = st.dictionaries(
    MODELS.map("p/{}".format),
    st.builds(
        ModelSettings,
        retirement=st.none() | st.sampled_from([Moment(DAY), Moment(AFTER)]),
        replacement=st.none() | MODELS,
    ),
)


@given(DATA, st.none() | st.lists(MODELS, min_size=1), MODELS, st.sampled_from([DAY - 1, DAY, AFTER]), st.booleans())
def test_whoever_answers_is_there(
    data: dict[str, ModelSettings], listed: list[str] | None, model: str, when: int, strict: bool
) -> None:
    data = {name: own for name, own in data.items() if own.replacement != name[2:]}
    base = snapshot(data, p=PROXY)
    there = base if listed is None else told(base, p=listed)
    try:
        plan = targets_of(there, f"p/{model}", when, strict=strict)
    except ModelGone:
        target = Target(provider="p", model=model)
        assert gone_reason(there, target, when)
        assert strict or replacement_of(there, target, when) is None
        return
    (target,) = plan.targets
    assert not there.offers["p"].hindrance(target.model)
    assert bool(plan.replaced) is (target.model != model)
    assert not plan.replaced or not strict
    if listed is not None and model in listed:
        assert target.model == model, "what is listed is never replaced"
