"""What providers list, joined with what is configured."""

from __future__ import annotations

from typing import Any

import pytest
from asked import get_model, list_models, resolve_model

from trunkline.v1.call_pb2 import ERROR_REASON_MODEL_NOT_FOUND, Target
from trunkline.v1.model_pb2 import CAPABILITY_STREAMING, CAPABILITY_TOOLS, CAPABILITY_VISION
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline_server.errors import ModelGone, NoCandidate, UnknownModel
from trunkline_server.listed import Listed
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.discovered import MAX_VANISHED, join, learn, shown
from trunkline_server.routing.names import find_targets
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.settings.models import ModelSettings
from trunkline_server.snapshot import Snapshot

KEY = Secret("k")
OPENAI = ProviderSettings(kind="openai", api_key=KEY)


def configured(aliases: dict[str, str] | None = None, **providers: ProviderSettings) -> Snapshot:
    settings = Settings(providers=providers, aliases=aliases or {})
    return Snapshot("v", settings, build_offers(settings, ROWS, {}))


def joined(base: Snapshot, off: dict[str, str] | None = None, **lists: Any) -> Snapshot:
    """The snapshot once each provider has told its list, or several (tuples) one after the other."""
    offers = base.offers
    for name in {**lists, **(off or {})}:
        told, known = lists.get(name, []), None
        for telling in told if told and isinstance(told[0], tuple) else filter(None, (told,)):
            known = learn(known, [Listed(each) if isinstance(each, str) else each for each in telling])
        row = ROWS[base.settings.providers[name].kind]
        offers = join(offers, base, row, name, known, (off or {}).get(name, ""))
    return Snapshot("v", base.settings, offers)


def listed(snapshot: Snapshot, provider: str) -> dict[str, str]:
    """Why each model that ListModels shows cannot be called; empty = it can."""
    models = list_models(snapshot, ListModelsRequest(provider=provider)).models
    assert all(model.available is not bool(model.unavailable_reason) for model in models)
    return {model.provider_model: model.unavailable_reason for model in models}


def said(targets: tuple[Target, ...]) -> list[str]:
    return [f"{target.provider} {target.model}" for target in targets]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_what_a_provider_lists_stands_beside_what_its_row_has() -> None:
    there = joined(configured(openai=OPENAI), openai=["gpt-4o-mini", "gpt-4o", "gpt-6", Listed("w", generates=False)])
    models = listed(there, "openai")
    assert [name for name, reason in models.items() if not reason] == ["gpt-4o", "gpt-4o-mini", "gpt-6"]
    assert "does not list gpt-4.1" in models["gpt-4.1"]
    assert "w" not in models, "it generates no text"
    assert get_model(there, "gpt-6").discovered
    assert not get_model(there, "gpt-4o").discovered


def test_who_writes_down_the_models_sees_no_others() -> None:
    written = ProviderSettings(kind="openai", api_key=KEY, models=("gpt-4o", "mine"))
    there = joined(configured(openai=written), openai=["gpt-4o", "omega"])
    assert list(listed(there, "openai")) == ["gpt-4o", "mine"]
    assert listed(there, "openai")["mine"]
    with pytest.raises(UnknownModel):
        find_targets(there, "omega")
    assert said(resolve_model(there, "openai/omega")) == ["openai omega"], "an open provider takes any"


def test_the_list_says_what_a_model_can_do() -> None:
    says: dict[str, Any] = {
        "context_window": 9000,
        "can": frozenset({CAPABILITY_VISION}),
        "cannot": frozenset({CAPABILITY_TOOLS}),
    }
    there = joined(configured(openai=OPENAI), openai=[Listed("gpt-4o", **says), Listed("new", **says), "gpt-4.1"])
    assert get_model(there, "gpt-4o").context_window == 9000
    assert CAPABILITY_VISION in get_model(there, "gpt-4o").capabilities
    assert CAPABILITY_TOOLS not in get_model(there, "gpt-4o").capabilities
    assert list(get_model(there, "new").capabilities) == [CAPABILITY_STREAMING, CAPABILITY_VISION]
    assert CAPABILITY_TOOLS in get_model(there, "gpt-4.1").capabilities, "of it the list says nothing"


def test_what_is_configured_of_a_model_goes_before_what_the_list_says() -> None:
    settings = Settings(
        providers={"openai": OPENAI}, model_data={"openai/gpt-4o": ModelSettings(context_window=7, capabilities=())}
    )
    base = Snapshot("v", settings, build_offers(settings, ROWS, {}))
    there = joined(base, openai=[Listed("gpt-4o", context_window=9000, can=frozenset({CAPABILITY_VISION}))])
    for each in (base, there):
        model = get_model(each, "gpt-4o")
        assert (model.context_window, list(model.capabilities)) == (7, [])


def test_a_discovered_model_is_what_the_catalogue_says_unless_the_list_does() -> None:
    there = joined(
        configured(openai=OPENAI), openai=["gpt-6-sol", Listed("gpt-5.6-sol", context_window=9000), "nobody"]
    )
    known, told, unknown = (get_model(there, f"openai/{name}") for name in ("gpt-6-sol", "gpt-5.6-sol", "nobody"))
    assert known.discovered
    assert (known.context_window, known.max_output_tokens, known.display_name) == (1_050_000, 128_000, "GPT-6 Sol")
    assert {CAPABILITY_TOOLS, CAPABILITY_VISION} < set(known.capabilities)
    assert (told.context_window, told.max_output_tokens) == (9000, 128_000)
    assert (unknown.HasField("context_window"), list(unknown.capabilities)) == (False, [CAPABILITY_STREAMING])


def test_what_a_request_has_no_words_for_a_model_cannot_do() -> None:
    deepseek = ProviderSettings(kind="deepseek", api_key=KEY)
    there = joined(configured(p=deepseek), p=["deepseek-v4-flash-vision-exp", "deepseek-v4-flash"])
    assert CAPABILITY_VISION not in get_model(there, "p/deepseek-v4-flash-vision-exp").capabilities


def test_the_configuration_is_not_changed() -> None:
    base = configured({"a": "openai/gpt-4o"}, openai=OPENAI)
    before = base.offers["openai"].models["gpt-4o"].SerializeToString(deterministic=True)
    there = joined(base, {"openai": "off"}, openai=[Listed("gpt-4o", context_window=9)])
    assert base.offers["openai"].models["gpt-4o"].SerializeToString(deterministic=True) == before
    assert list(there.offers["openai"].models["gpt-4o"].aliases) == ["a"]
    assert there.offers["openai"].models["gpt-4o"].unavailable_reason == "off"


def test_an_alias_is_told_of_what_it_means() -> None:
    there = joined(configured({"newest": "openai/gpt-6"}, openai=OPENAI), openai=["gpt-4o", "gpt-6"])
    assert list(get_model(there, "gpt-6").aliases) == ["newest"]


def test_what_another_lists_may_change_whom_an_alias_means_and_nothing_else() -> None:
    groq = ProviderSettings(kind="groq", api_key=KEY)
    base = configured({"q": "qwen-3"}, openai=OPENAI, groq=groq)
    first = joined(base, groq=["Qwen.3"])
    assert list(get_model(first, "groq/Qwen.3").aliases) == ["q"]
    kept = first.offers["groq"]
    then = Snapshot(
        "v", base.settings, join(first.offers, base, ROWS["openai"], "openai", learn(None, [Listed("qwen-3")]), "")
    )
    assert list(get_model(then, "openai/qwen-3").aliases) == ["q"]
    assert not get_model(then, "groq/Qwen.3").aliases
    assert list(kept.discovered["Qwen.3"].aliases) == ["q"], "what was given is not changed"
    known = learn(None, [Listed("qwen-3"), Listed("x")])
    later = join(then.offers, base, ROWS["openai"], "openai", known, "")
    assert later["groq"] is then.offers["groq"]


# --- what is gone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "telling", "gone"),
    [
        # Of those we know it has others: this one is not there.
        (ProviderSettings(kind="openai_compatible", models=("a", "b")), ("a", "c"), {"b"}),
        # None of them: behind the address is a server that has other names, or takes any.
        (ProviderSettings(kind="openai_compatible", models=("a", "b")), ("c",), set()),
        (ProviderSettings(kind="llamacpp", models=("a", "b")), ("a",), set()),
        (ProviderSettings(kind="openrouter", api_key=KEY, models=("x/y", "x/y:online")), ("x/y",), set()),
        # What is not pulled cannot be called.
        (ProviderSettings(kind="ollama"), ("qwen3:4b",), {"llama3.2"}),
        (ProviderSettings(kind="ollama"), (Listed("llama3.2:latest", ("llama3.2",)),), set()),
        # The list has dates, the row has not.
        (ProviderSettings(kind="anthropic", api_key=KEY, models=("claude-a-4-5",)), ("claude-a-4-5-20250929",), set()),
        # Not for text, but there.
        (ProviderSettings(kind="openai", api_key=KEY, models=("a", "b")), ("a", Listed("b", generates=False)), set()),
    ],
)
def test_a_configured_model_that_is_not_listed(
    provider: ProviderSettings, telling: tuple[str | Listed, ...], gone: set[str]
) -> None:
    there = joined(configured(p=provider), p=list(telling))
    assert set(there.offers["p"].gone) == gone
    for model in there.offers["p"].models:
        assert bool(listed(there, "p")[model]) is (model in gone)


@pytest.mark.parametrize("kind", ["openai", "openrouter"])
def test_a_model_that_disappears_is_shown_with_the_reason_and_cannot_be_called(kind: str) -> None:
    base = configured(p=ProviderSettings(kind=kind, api_key=KEY, default_model="a"))
    there = joined(base, p=[("a", "b", "c"), ("c",)])
    assert "no longer lists a" in listed(there, "p")["a"]
    assert "no longer lists b" in listed(there, "p")["b"]
    for name in ("p", "p/a", "a", "p/b", "b", "p/B"):
        with pytest.raises(ModelGone, match=r"no longer lists [ab].*such as p/c") as raised:
            resolve_model(there, name)
        assert (raised.value.reason, raised.value.resource) == (ERROR_REASON_MODEL_NOT_FOUND, name)
    assert said(resolve_model(there, "c")) == ["p c"]
    assert shown(there.offers["p"]) & {"p/a", "p/b", "p/c"} == {"p/c"}
    again = joined(base, p=[("a", "b"), ("c",), ("a", "b")])
    assert said(resolve_model(again, "b")) == ["p b"]


def test_one_that_is_listed_under_another_name_from_now_on_is_not_gone() -> None:
    there = joined(configured(openai=OPENAI), openai=[("x",), (Listed("y", ("x",)),)])
    assert not there.offers["openai"].gone.get("x")


def test_not_everything_that_ever_was_is_remembered() -> None:
    known = learn(None, [Listed(f"m{index}") for index in range(MAX_VANISHED + 7)])
    assert len(learn(known, [Listed("x")]).vanished) == MAX_VANISHED


def test_a_call_without_a_model_passes_over_a_default_that_is_gone() -> None:
    ollama = ProviderSettings(kind="ollama")
    base = configured(openai=ProviderSettings(kind="openai", api_key=KEY), ollama=ollama)
    assert said(resolve_model(joined(base, {"openai": "off"}), "")) == ["ollama llama3.2"]
    with pytest.raises(NoCandidate, match=r"openai: off; ollama: ollama does not list "):
        resolve_model(joined(base, {"openai": "off"}, ollama=["qwen3:4b"]), "")


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_list_never_takes_a_name_from_the_configuration() -> None:
    base = configured({"fast": "mine/m"}, openai=OPENAI, mine=ProviderSettings(kind="vllm", models=("m", "big-2.5")))
    there = joined(base, openai=["gpt-4o", "m", "big-2.5", "big-2-5-20250101", "fast", "mine"])
    for name in ("m", "big-2.5", "BIG_2-5", "big-2.5-latest", "fast", "mine", "mine/m"):
        assert said(find_targets(there, name)) == said(find_targets(base, name)), name


def test_an_id_that_only_lists_have() -> None:
    there = joined(configured(openai=OPENAI, groq=ProviderSettings(kind="groq", api_key=KEY)), groq=["qwen/qwen3-32b"])
    assert said(resolve_model(there, "qwen/qwen3-32b")) == ["groq qwen/qwen3-32b"]
    assert said(resolve_model(there, "groq/Qwen/Qwen3-32B")) == ["groq qwen/qwen3-32b"]


def test_a_name_without_a_date_means_the_one_without_or_the_newest() -> None:
    anthropic = ProviderSettings(kind="anthropic", api_key=KEY)
    base = configured(anthropic=anthropic)
    dated = ["claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022", "claude-sonnet-4-5-20250929"]
    there = joined(base, anthropic=dated)
    assert said(resolve_model(there, "claude-3.5-sonnet")) == ["anthropic claude-3-5-sonnet-20241022"]
    assert said(resolve_model(there, "claude-3-5-sonnet-20240620")) == ["anthropic claude-3-5-sonnet-20240620"]
    assert said(resolve_model(there, "anthropic/claude-sonnet-4.5")) == ["anthropic claude-sonnet-4-5"]


def test_the_remedy_knows_what_is_listed() -> None:
    there = joined(configured(openai=OPENAI), openai=["gpt-4o", "omega-turbo"])
    with pytest.raises(UnknownModel, match="did you mean omega-turbo"):
        find_targets(there, "omega-trubo")
