from __future__ import annotations

import base64
import contextlib

import pytest
from asked import get_model, list_models, resolve_model
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import Target
from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_REASONING,
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
    CAPABILITY_UNSPECIFIED,
    CAPABILITY_VISION,
    MODALITY_TEXT,
    Capability,
    Model,
)
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline_server.errors import InvalidRequest, NoCandidate, UnknownModel
from trunkline_server.providers.table import ROWS, SCRIPTS
from trunkline_server.routing.catalogue import build_offers, sold_as
from trunkline_server.routing.names import LONGEST, find_targets
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.settings.models import MeasuredSettings
from trunkline_server.snapshot import Snapshot

KEY = Secret("k")
LLAMA = "meta-llama/Llama-3.3-70B"

# One of everything: a closed provider, open ones, one without its key, and ids with slashes and colons.
PROVIDERS = {
    "mock": ProviderSettings(kind="scripted", scripts=dict(SCRIPTS)),
    "embedded": ProviderSettings(kind="embedded"),
    "my-vllm": ProviderSettings(kind="openai_compatible", models=(LLAMA, "shared")),
    "openai": ProviderSettings(kind="openai", api_key=KEY),
    "openai-eu": ProviderSettings(kind="openai", models=("shared", "only-eu")),
    "off": ProviderSettings(kind="openai", api_key=KEY, enabled=False),
}
ALIASES = {
    "fast": "openai/gpt-4.1-mini",
    "llama": LLAMA,
    "tiny": "embedded",
    "both": "shared",
    "eu": "openai-eu/only-eu",
    "team/tuned": "openai/ft:gpt-4o:acme",
    "broken": "nowhere/x",
}


def snapshot(
    providers: dict[str, ProviderSettings] = PROVIDERS,
    *,
    default_model: str = "",
    aliases: dict[str, str] = ALIASES,
    **reasons: str,
) -> Snapshot:
    settings = Settings(providers=providers, aliases=aliases, default_model=default_model)
    return Snapshot("v", settings, build_offers(settings, ROWS, reasons))


SNAPSHOT = snapshot()


def said(targets: tuple[Target, ...]) -> list[str]:
    return [f"{target.provider} {target.model}" for target in targets]


# --- what a name means ------------------------------------------------------------------------------------------------

NAMES = {
    # 1. provider/model: an open provider takes any id, with its slashes and colons
    "openai/gpt-4o": "openai gpt-4o",
    "openai/gpt-9": "openai gpt-9",
    "openai/ft:gpt-4o:acme::1": "openai ft:gpt-4o:acme::1",
    "openai/openai/gpt-oss-20b": "openai openai/gpt-oss-20b",
    "openai/accounts/fireworks/models/x": "openai accounts/fireworks/models/x",
    "openai/a b": "openai a b",
    "openai//": "openai /",
    f"my-vllm/{LLAMA}": f"my-vllm {LLAMA}",
    "my-vllm/llama3:8b": "my-vllm llama3:8b",
    "mock/mock-slow": "mock mock-slow",
    "OpenAI/gpt-4o": "openai gpt-4o",
    # 2. a provider's name alone
    "openai": "openai gpt-4o-mini",
    "my-vllm": f"my-vllm {LLAMA}",
    "mock": "mock mock-fast",
    "embedded": "embedded smollm2-135m-instruct",
    # 3. an alias
    "fast": "openai gpt-4.1-mini",
    "llama": f"my-vllm {LLAMA}",
    "tiny": "embedded smollm2-135m-instruct",
    "both": "my-vllm shared",
    "team/tuned": "openai ft:gpt-4o:acme",
    # 4. an id alone
    "gpt-4o": "openai gpt-4o",
    LLAMA: f"my-vllm {LLAMA}",
    "shared": "my-vllm shared",
    "mock-fast": "mock mock-fast",
}


@pytest.mark.parametrize(("name", "target"), NAMES.items())
def test_a_name_means(name: str, target: str) -> None:
    assert said(resolve_model(SNAPSHOT, name)) == [target]


UNKNOWN = {
    "mock/mock-fest": "did you mean mock/mock-fast",
    "mock/other": "mock has mock-fast, mock-slow",
    "opnai/gpt-4o": "did you mean openai/gpt-4o",
    "GPT-4O-mini-": "did you mean gpt-4o-mini",
    "fst": "did you mean fast",
    "xyzzy": 'say "provider/model"; the providers are openai, openai-eu, my-vllm, embedded, mock',
    "off/gpt-4o": "",
    "off": "",
    "broken": "",
    "openai/": "",
    "mock/": "",
    "/": "",
    "/gpt-4o": "",
    "openai/ gpt-4o": "",
    " gpt-4o": "no blank at its ends",
    "gpt-4o ": "no blank at its ends",
    " ": "no blank at its ends",
    "openai/gpt\n4o": "printable characters",
    "openai/\u202egpt": "printable characters",
    "openai/" + "x" * LONGEST: "at most 256",
}


@pytest.mark.parametrize(("name", "remedy"), UNKNOWN.items())
def test_nothing_answers_to(name: str, remedy: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        resolve_model(SNAPSHOT, name)
    assert remedy in caught.value.message
    assert len(caught.value.message) < 600, "it travels in a header"
    assert name.startswith(caught.value.resource)


def test_the_remedy_stays_short() -> None:
    many = snapshot({f"p{index}": PROVIDERS["openai"] for index in range(99)}, aliases={})
    with pytest.raises(UnknownModel, match=r"the providers are p0, p1, .*, p19$"):
        resolve_model(many, "xyzzy")


UNAVAILABLE = {
    "openai-eu": "openai-eu cannot be called: openai-eu: set OPENAI_API_KEY or providers.openai-eu.api_key",
    "openai-eu/any": "openai-eu/any cannot be called: openai-eu: set OPENAI_API_KEY or providers.openai-eu.api_key",
    "only-eu": "only-eu cannot be called: openai-eu: set OPENAI_API_KEY or providers.openai-eu.api_key",
    "eu": "eu cannot be called: openai-eu: set OPENAI_API_KEY or providers.openai-eu.api_key",
}


@pytest.mark.parametrize(("name", "message"), UNAVAILABLE.items())
def test_known_but_not_to_be_called(name: str, message: str) -> None:
    with pytest.raises(NoCandidate) as caught:
        resolve_model(SNAPSHOT, name)
    assert caught.value.message == message


def test_an_id_that_two_list_means_both_in_the_order_of_preference() -> None:
    assert said(find_targets(SNAPSHOT, "shared")) == ["openai-eu shared", "my-vllm shared"]
    with_key = PROVIDERS | {"openai-eu": ProviderSettings(kind="openai", api_key=KEY, models=("shared",))}
    assert said(resolve_model(snapshot(with_key), "shared")) == ["openai-eu shared", "my-vllm shared"]


def test_all_that_list_it_are_named_when_none_can_be_called() -> None:
    without = {name: ProviderSettings(kind="openai") for name in ("a", "b")}
    with pytest.raises(NoCandidate, match=r"a: set .*\.a\.api_key; b: set .*\.b\.api_key"):
        resolve_model(snapshot(without), "gpt-4o")


def test_an_alias_goes_before_an_id_and_a_provider_before_an_alias() -> None:
    hiding = snapshot(aliases={"gpt-4o": "mock", "openai": "mock", "openai/x": "mock"})
    assert said(resolve_model(hiding, "gpt-4o")) == ["mock mock-fast"]
    assert said(resolve_model(hiding, "openai")) == ["openai gpt-4o-mini"]
    assert said(resolve_model(hiding, "openai/x")) == ["openai x"]


def test_an_alias_of_an_alias_means_nothing() -> None:
    with pytest.raises(UnknownModel):
        resolve_model(snapshot(aliases={"a": "b", "b": "a"}), "a")


# --- no name ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "default_model", "target"),
    [
        (["mock", "embedded", "my-vllm", "openai"], "", "openai gpt-4o-mini"),
        (["mock", "openai-eu", "embedded", "my-vllm"], "", f"my-vllm {LLAMA}"),
        (["mock", "embedded"], "", "embedded smollm2-135m-instruct"),
        (["mock", "embedded", "openai"], "mock", "mock mock-fast"),
        (["mock", "openai"], "openai/gpt-9", "openai gpt-9"),
        (["mock", "openai"], "fast", "openai gpt-4.1-mini"),
    ],
)
def test_no_name_means(names: list[str], default_model: str, target: str) -> None:
    there = snapshot({name: PROVIDERS[name] for name in names}, default_model=default_model)
    assert said(resolve_model(there, "")) == [target]


def test_no_name_never_means_the_mock() -> None:
    with pytest.raises(NoCandidate, match="embedded: the engine is not installed"):
        resolve_model(
            snapshot({n: PROVIDERS[n] for n in ("mock", "embedded")}, embedded="the engine is not installed"), ""
        )
    with pytest.raises(NoCandidate, match="no provider can be called: none is configured"):
        resolve_model(snapshot({"mock": PROVIDERS["mock"]}), "")


def test_a_default_that_cannot_be_called_is_not_replaced() -> None:
    with pytest.raises(NoCandidate, match="the default model cannot be called: openai-eu: set OPENAI_API_KEY"):
        resolve_model(snapshot(default_model="openai-eu"), "")


# --- any name at all --------------------------------------------------------------------------------------------------

SEGMENTS = st.one_of(
    st.sampled_from([*PROVIDERS, *ALIASES, "gpt-4o", "shared", "", " ", "/", ":"]), st.text(max_size=4)
)
ANY_NAME = st.one_of(
    st.text(), st.lists(SEGMENTS, max_size=4).map("/".join), st.lists(SEGMENTS, max_size=3).map("".join)
)


@given(ANY_NAME)
def test_any_name_has_one_answer(name: str) -> None:
    """Targets that can be called, or one of the two errors; the same every time; a target's own name means itself."""
    answers = []
    for _ in range(2):
        try:
            answers.append(said(resolve_model(SNAPSHOT, name)))
        except (UnknownModel, NoCandidate) as error:
            answers.append([str(error)])
    assert answers[0] == answers[1]
    with contextlib.suppress(UnknownModel, NoCandidate):
        for target in resolve_model(SNAPSHOT, name):
            assert not SNAPSHOT.offers[target.provider].unavailable_reason
            assert resolve_model(SNAPSHOT, f"{target.provider}/{target.model}") == (target,)


@given(ANY_NAME)
def test_a_name_that_is_known_has_a_model(name: str) -> None:
    try:
        targets = find_targets(SNAPSHOT, name)
    except UnknownModel:
        return
    model = get_model(SNAPSHOT, name)
    assert (model.provider, model.provider_model) in [(target.provider, target.model) for target in targets]
    assert model.id == f"{model.provider}/{model.provider_model}"


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_the_catalogue_is_in_order_of_preference() -> None:
    assert list(SNAPSHOT.offers) == ["openai", "openai-eu", "my-vllm", "embedded", "mock"]
    assert {name: offer.builtin for name, offer in SNAPSHOT.offers.items() if offer.builtin} == {
        "embedded": True,
        "mock": True,
    }


def test_what_the_catalogue_knows_of_a_model() -> None:
    embedded = Model(
        id="embedded/smollm2-135m-instruct",
        provider="embedded",
        provider_model="smollm2-135m-instruct",
        aliases=["tiny"],
        display_name="SmolLM2 135M Instruct",
        family="smollm",
        context_window=2048,
        input_modalities=[MODALITY_TEXT],
        output_modalities=[MODALITY_TEXT],
        capabilities=ROWS["embedded"].capabilities,
        open_weights=True,
        local=True,
        available=True,
    )
    eu = Model(
        id="openai-eu/shared",
        provider="openai-eu",
        provider_model="shared",
        aliases=["both"],
        capabilities=ROWS["openai"].capabilities,
        unavailable_reason="set OPENAI_API_KEY or providers.openai-eu.api_key",
    )
    assert SNAPSHOT.offers["embedded"].models["smollm2-135m-instruct"] == embedded
    assert SNAPSHOT.offers["openai-eu"].models["shared"] == eu


@pytest.mark.parametrize(
    ("provider", "default_model", "models"),
    [
        (ProviderSettings(), "gpt-4o-mini", ROWS["openai"].models),
        (ProviderSettings(models=("a", "b")), "a", ("a", "b")),
        (ProviderSettings(models=("a", "b"), default_model="b"), "b", ("a", "b")),
        (ProviderSettings(models=("a",), default_model="c"), "c", ("c", "a")),
        (ProviderSettings(default_model="c"), "c", ("c", *ROWS["openai"].models)),
    ],
)
def test_which_models_a_provider_lists(provider: ProviderSettings, default_model: str, models: tuple[str, ...]) -> None:
    offer = snapshot({"openai": provider}).offers["openai"]
    assert offer.default_model == default_model
    assert tuple(offer.models) == models


# --- GetModel ---------------------------------------------------------------------------------------------------------


def test_get_model_by_any_of_its_names() -> None:
    listed = SNAPSHOT.offers["openai"].models["gpt-4.1-mini"]
    assert list(listed.aliases) == ["fast"]
    for name in ("openai/gpt-4.1-mini", "gpt-4.1-mini", "fast"):
        assert get_model(SNAPSHOT, name) == listed


def test_of_several_the_one_that_can_be_called() -> None:
    assert get_model(SNAPSHOT, "shared").id == "my-vllm/shared"
    assert not get_model(SNAPSHOT, "only-eu").available


def test_a_model_that_is_not_listed_has_its_names_and_whether_it_can_be_called() -> None:
    assert get_model(SNAPSHOT, "openai/gpt-9") == Model(
        id="openai/gpt-9",
        provider="openai",
        provider_model="gpt-9",
        capabilities=[CAPABILITY_STREAMING],
        available=True,
    )
    assert get_model(SNAPSHOT, "openai-eu/x").unavailable_reason.startswith("set OPENAI_API_KEY")


def test_a_model_that_is_not_listed_is_where_its_provider_is_and_as_fast_as_was_measured() -> None:
    there = ProviderSettings(kind="ollama", base_url="http://gpu.example:11434", allow_plain_http=True)
    providers = {"ollama": ProviderSettings(), "far": there, "lmstudio": ProviderSettings()}
    settings = Settings(
        providers=providers,
        measured={"ollama/llama2": MeasuredSettings(first_token=Seconds(1.0), tokens_per_second=10.0)},
    )
    found = Snapshot("v", settings, build_offers(settings, ROWS, {}))
    models = [get_model(found, f"{name}/llama2") for name in providers]
    assert [model.local for model in models] == [True, False, True]
    assert [[score.source for score in model.scores] for model in models] == [["measured"], [], []]
    assert get_model(found, "ollama").local
    assert not get_model(found, "far").local, "its prompts leave this machine"


def test_an_id_without_the_path_that_its_provider_puts_before_it_is_the_same_model() -> None:
    settings = Settings(providers={"fireworks": ProviderSettings(api_key=KEY)})
    found = Snapshot("v", settings, build_offers(settings, ROWS, {}))
    short = get_model(found, "fireworks/qwen3-coder-480b-a35b-instruct")
    assert short == get_model(found, "fireworks/accounts/fireworks/models/qwen3-coder-480b-a35b-instruct")
    assert short.context_window == 262_144
    assert get_model(found, "fireworks/llama-v3p3-70b-instruct") == get_model(found, "fireworks")


def test_the_model_that_comes_with_the_gateway_has_open_weights() -> None:
    settings = Settings(providers={"embedded": ProviderSettings(context_window=1024)})
    model = get_model(Snapshot("v", settings, build_offers(settings, ROWS, {})), "embedded")
    assert (model.open_weights, model.local, model.context_window) == (True, True, 1024)


def test_a_model_tells_its_other_names_each_of_which_means_it() -> None:
    settings = Settings(
        providers={"anthropic": ProviderSettings(api_key=KEY), "mistral": ProviderSettings(api_key=KEY)},
        aliases={"mine": "anthropic/claude-3-opus"},
    )
    found = Snapshot("v", settings, build_offers(settings, ROWS, {}))
    opus, small = get_model(found, "claude-3-opus"), get_model(found, "mistral")
    assert {*opus.aliases} >= {"mine", "claude-3-opus", "claude-3-opus-latest"}
    assert list(small.aliases) == ["mistral-small"]
    for model in (opus, small):
        assert all(get_model(found, alias).id == model.id for alias in model.aliases)


# --- what a model is made of ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["team/tuned", "openai/ft:gpt-4o:acme::1", "ft:gpt-4o-2024-08-06:acme::1"])
def test_a_fine_tuned_model_has_what_its_base_has(name: str) -> None:
    tuned, base = get_model(SNAPSHOT, name), get_model(SNAPSHOT, "gpt-4o")
    assert tuned.base_model in ("gpt-4o", "gpt-4o-2024-08-06")
    assert tuned.provider_model.startswith("ft:gpt-4o")
    assert (tuned.context_window, tuned.capabilities) == (128_000, base.capabilities)
    assert tuned.available
    assert list(tuned.aliases) == (["team/tuned"] if name == "team/tuned" else [])


def test_a_fine_tuned_model_of_an_unknown_base_has_nothing_of_it() -> None:
    tuned = get_model(SNAPSHOT, "my-vllm/ft:secret:acme::1")
    assert (tuned.base_model, tuned.HasField("context_window"), list(tuned.capabilities)) == (
        "secret",
        False,
        [CAPABILITY_STREAMING],
    )


def test_what_is_fine_tuned_is_not_sold_at_the_price_of_its_base() -> None:
    settings = ProviderSettings(base_models={"ft:gpt-4o:acme::1": "gpt-4o", "chat": "gpt-4o"})
    assert sold_as(settings) == {"chat": "gpt-4o"}


BASED = snapshot(
    {
        "azure": ProviderSettings(
            kind="azure_openai",
            api_key=KEY,
            models=("chat", "plain"),
            base_models={"chat": "gpt-4.1", "other": "nobody"},
        ),
        "lora": ProviderSettings(
            kind="openai_compatible", models=("m",), base_models={"sql": "anthropic/claude-3.5-sonnet"}
        ),
    },
    aliases={},
)


@pytest.mark.parametrize(
    ("name", "base", "window", "row", "differs"),
    [
        ("azure/chat", "gpt-4.1", 1_047_576, "openai", {CAPABILITY_VISION}),
        ("azure/plain", "", None, "azure_openai", set()),
        ("azure/other", "nobody", None, "azure_openai", set()),
        ("lora/m", "", None, "openai_compatible", set()),
        # The row has what the vendor's current models can do.
        (
            "lora/sql",
            "anthropic/claude-3.5-sonnet",
            200_000,
            "anthropic",
            {CAPABILITY_REASONING, CAPABILITY_JSON_SCHEMA},
        ),
    ],
)
def test_a_deployment_or_a_lora_has_what_its_configured_base_has(
    name: str, base: str, window: int | None, row: str, differs: set[Capability.ValueType]
) -> None:
    listed = {model.id: model for model in list_models(BASED, ListModelsRequest()).models}
    assert get_model(BASED, name) == listed[name]
    model = listed[name]
    assert model.base_model == base
    assert (model.context_window if model.HasField("context_window") else None) == window
    assert set(ROWS[row].capabilities) ^ set(model.capabilities) == differs


def test_a_model_with_a_base_is_listed_and_found_without_its_provider() -> None:
    assert said(find_targets(BASED, "sql")) == ["lora sql"]


def test_get_model_of_nothing() -> None:
    with pytest.raises(InvalidRequest) as caught:
        get_model(SNAPSHOT, "")
    assert [violation.field for violation in caught.value.violations] == ["id"]
    with pytest.raises(UnknownModel):
        get_model(SNAPSHOT, "nowhere/x")


# --- ListModels -------------------------------------------------------------------------------------------------------


def ids(request: ListModelsRequest, there: Snapshot = SNAPSHOT) -> list[str]:
    return [model.id for model in list_models(there, request).models]


def test_models_are_listed_in_the_order_of_their_ids() -> None:
    everything = sorted(model.id for offer in SNAPSHOT.offers.values() for model in offer.models.values())
    assert ids(ListModelsRequest()) == everything
    assert len(everything) == 11


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ListModelsRequest(provider="mock"), ["mock/mock-fast", "mock/mock-slow"]),
        (ListModelsRequest(provider="nowhere"), []),
        (ListModelsRequest(provider="openai-eu", available_only=True), []),
        (ListModelsRequest(min_context_window=2048, provider="embedded"), ["embedded/smollm2-135m-instruct"]),
        (ListModelsRequest(min_context_window=0, provider="embedded"), ["embedded/smollm2-135m-instruct"]),
        (ListModelsRequest(min_context_window=2049, provider="embedded"), []),
        (ListModelsRequest(min_context_window=128_001), [f"openai/gpt-4.1{size}" for size in ("", "-mini")]),
        (ListModelsRequest(min_context_window=0, provider="my-vllm"), []),
        (
            ListModelsRequest(
                required_capabilities=[CAPABILITY_TOOLS, CAPABILITY_STREAMING, CAPABILITY_TOOLS],
                available_only=True,
                provider="mock",
            ),
            ["mock/mock-fast", "mock/mock-slow"],
        ),
        (ListModelsRequest(required_capabilities=[CAPABILITY_JSON_SCHEMA], provider="mock"), []),
    ],
)
def test_filters(request_: ListModelsRequest, expected: list[str]) -> None:
    assert ids(request_) == expected


def test_every_filter_leaves_out_only_what_does_not_fit() -> None:
    assert ids(ListModelsRequest(available_only=True)) == [
        model for model in ids(ListModelsRequest()) if not model.startswith("openai-eu/")
    ]


@pytest.mark.parametrize("page_size", [1, 2, 5, 11, 12, 13, 2**31 - 1])
def test_pages_join_to_the_whole(page_size: int) -> None:
    joined, request = [], ListModelsRequest(page_size=page_size)
    for _ in range(13):
        page = list_models(SNAPSHOT, request)
        assert 1 <= len(page.models) <= page_size
        joined += [model.id for model in page.models]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert joined == ids(ListModelsRequest())


def test_page_sizes() -> None:
    many = {"openai": ProviderSettings(models=tuple(f"m{index}" for index in range(1001)))}
    there = snapshot(many, aliases={})
    sizes = {size: len(ids(ListModelsRequest(page_size=size), there)) for size in (0, 1, 100, 1000, 1001, 5000)}
    assert sizes == {0: 100, 1: 1, 100: 100, 1000: 1000, 1001: 1000, 5000: 1000}


def test_a_reload_between_two_pages() -> None:
    request = ListModelsRequest(page_size=3)
    request.page_token = list_models(SNAPSHOT, request).next_page_token
    fewer = snapshot({name: each for name, each in PROVIDERS.items() if name != "embedded"})
    assert ids(request, fewer) == ids(request)


def test_every_bad_field_is_named() -> None:
    request = ListModelsRequest(page_size=-1, page_token="x", min_context_window=-1)
    request.required_capabilities.extend([CAPABILITY_TOOLS, CAPABILITY_UNSPECIFIED, 99])  # type: ignore[list-item]
    with pytest.raises(InvalidRequest) as caught:
        list_models(SNAPSHOT, request)
    assert [violation.field for violation in caught.value.violations] == [
        "page_size",
        "page_token",
        "required_capabilities[1]",
        "required_capabilities[2]",
        "min_context_window",
    ]


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1).map(lambda data: base64.urlsafe_b64encode(data).decode())))
def test_a_page_token_that_is_not_ours(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        list_models(SNAPSHOT, ListModelsRequest(page_token=token))
    assert [violation.field for violation in caught.value.violations] == ["page_token"]


def test_a_page_token_of_another_query() -> None:
    token = list_models(SNAPSHOT, ListModelsRequest(page_size=1, available_only=True)).next_page_token
    assert ids(ListModelsRequest(page_size=7, available_only=True, page_token=token)), "another size is the same query"
    with pytest.raises(InvalidRequest, match="same query"):
        list_models(SNAPSHOT, ListModelsRequest(page_token=token))
    with pytest.raises(InvalidRequest, match="same query"):
        list_models(SNAPSHOT, ListModelsRequest(available_only=True, page_token=f"!{token}"))
