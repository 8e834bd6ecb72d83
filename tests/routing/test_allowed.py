"""No spelling of a name gets a caller to what it may not use, or tells it of that."""

from __future__ import annotations

import pytest
from asked import get_model, list_models, resolve_model
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import Target
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline_server.core import ANYBODY, Identity
from trunkline_server.errors import ModelNotAllowed, NoCandidate, UnknownModel
from trunkline_server.providers.table import ROWS, SCRIPTS
from trunkline_server.routing.allowed import may_use, may_use_model
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.names import find_targets
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.snapshot import Snapshot

PROVIDERS = {
    "mock": ProviderSettings(kind="scripted", scripts=dict(SCRIPTS)),
    "embedded": ProviderSettings(kind="embedded"),
    "my-vllm": ProviderSettings(kind="openai_compatible", models=("meta-llama/Llama-3.3-70B", "shared")),
    "openai": ProviderSettings(kind="openai", api_key=Secret("k")),
    "openai-eu": ProviderSettings(
        kind="openai", api_key=Secret("k"), models=("shared", "gpt-4.1-mini", "eu-2024-08-06")
    ),
    "anthropic": ProviderSettings(kind="anthropic", api_key=Secret("k")),
}
ALIASES = {"fast": "openai/gpt-4.1-nano", "both": "shared", "tiny": "embedded", "team/tuned": "openai/ft:gpt-4o:acme"}


def snapshot(default_model: str = "") -> Snapshot:
    settings = Settings(providers=PROVIDERS, aliases=ALIASES, default_model=default_model)
    return Snapshot("v", settings, build_offers(settings, ROWS, {}))


SNAPSHOT = snapshot()
IDS = [f"{offer.provider}/{model}" for offer in SNAPSHOT.offers.values() for model in offer.models]
MODELS = [model for offer in SNAPSHOT.offers.values() for model in offer.models]
BASES = [
    *IDS,
    *MODELS,
    *ALIASES,
    *PROVIDERS,
    "claude",
    "claude/x",
    "openai/anything",
    "openai/GPT-4o",
    "my-vllm/openai/gpt-4o",
    "mock/zzzzzzzz",
]


@st.composite
def names(draw: st.DrawFn) -> str:
    """What people write: other letters, dots for dashes, dates, blanks, or nothing at all."""
    name = draw(st.sampled_from(["", *BASES]))
    for change in draw(
        st.lists(st.sampled_from(["upper", "dots", "dashes", "dated", "latest", "blank", "cut"]), max_size=3)
    ):
        name = {
            "upper": name.upper(),
            "dots": name.replace("-", "."),
            "dashes": name.replace(".", "-").replace("_", "-"),
            "dated": f"{name}-2024-08-06",
            "latest": f"{name}-latest",
            "blank": f"{name} ",
            "cut": name.partition("/")[2] or name,
        }[change]
    return name


PATTERNS = st.sampled_from(
    [*IDS, *MODELS, "openai/*", "*/shared", "gpt-4*", "*", "*mini*", "my-vllm/meta-llama/*", "x[a]?"]
)
IDENTITIES = st.builds(
    Identity,
    role=st.just("caller"),
    models=st.lists(PATTERNS, max_size=3).map(tuple),
    providers=st.lists(st.sampled_from([*PROVIDERS, "none"]), max_size=3).map(tuple),
)


@given(identity=IDENTITIES, name=names(), default=st.sampled_from(["", "fast", "openai", "mock/mock-fast", "shared"]))
def test_no_name_leads_to_what_is_not_allowed(identity: Identity, name: str, default: str) -> None:
    world = snapshot(default)
    try:
        plan = resolve_model(world, name, identity)
    except ModelNotAllowed as refused:
        assert not any(may_use(identity, target) for target in find_targets(world, name or default))
        assert str(refused).count(repr(name) if name else "the default model")  # noqa: PT017
        told = refused.message.partition("it may use:")[2]
    except UnknownModel as unknown:
        with pytest.raises(UnknownModel):
            find_targets(world, name)
        told = unknown.message.partition("': ")[2]
    except NoCandidate as nobody:
        told = nobody.message
    else:
        assert plan
        assert all(may_use(identity, target) for target in plan)
        if name or default:
            assert list(plan) == [t for t in resolve_model(world, name) if may_use(identity, t)]
        return
    hidden = {m for p, m in (i.split("/", 1) for i in IDS) if not may_use_model(identity, p, m)} - {
        m for p, m in (i.split("/", 1) for i in IDS) if may_use_model(identity, p, m)
    }
    words = set(told.replace(",", " ").replace("?", " ").split())
    assert not words & hidden
    assert not words & {i for i in IDS if not may_use_model(identity, *i.split("/", 1))}


def test_a_wrong_name_is_answered_with_what_may_be_used() -> None:
    fast = Identity(models=("mock/mock-fast",))
    for name, told in {"mock/zzzzzzzz": "mock has mock-fast", "zzzzzzzz": "the providers are mock"}.items():
        with pytest.raises(UnknownModel) as raised:
            resolve_model(SNAPSHOT, name, fast)
        assert raised.value.message.endswith(told)


@given(identity=IDENTITIES)
def test_only_what_may_be_used_is_shown(identity: Identity) -> None:
    shown = {model.id for model in list_models(SNAPSHOT, ListModelsRequest(page_size=1000), identity).models}
    assert shown == {name for name in IDS if may_use_model(identity, *name.split("/", 1))}
    for name in IDS:
        if name in shown:
            assert get_model(SNAPSHOT, name, identity).id == name
        else:
            with pytest.raises(ModelNotAllowed):
                get_model(SNAPSHOT, name, identity)


@pytest.mark.parametrize(
    ("pattern", "target", "fits"),
    [
        ("openai/gpt-4o", "openai/gpt-4o", True),
        ("openai/gpt-4o", "openai/gpt-4o-mini", False),
        ("openai/gpt-4o*", "openai/gpt-4o-mini", True),
        ("openai/*", "openai/ft:gpt-4o:acme", True),
        ("openai/*", "openai-eu/gpt-4o", False),
        # A router's own id may look like another provider's name: that is no way round.
        ("openai/*", "openrouter/openai/gpt-4o", False),
        ("*/openai/*", "openrouter/openai/gpt-4o", True),
        ("gpt-4o", "openai-eu/gpt-4o", True),
        ("gpt-4o", "openai/GPT-4o", False),
        ("gpt-4?", "openai/gpt-4o", False),
        ("gpt-4[o]", "openai/gpt-4o", False),
        ("gpt-4[o]", "openai/gpt-4[o]", True),
        ("a*b*c", "p/a-b-c", True),
        ("*" * 30 + "x", "p/" + "a" * 200, False),
    ],
)
def test_patterns(pattern: str, target: str, fits: bool) -> None:
    provider, _, model = target.partition("/")
    assert may_use(Identity(models=(pattern,)), Target(provider=provider, model=model)) is fits


def test_what_two_providers_have_is_named_once() -> None:
    with pytest.raises(ModelNotAllowed) as refused:
        resolve_model(SNAPSHOT, "openai/gpt-4o", Identity(models=("shared",)))
    assert refused.value.message.endswith("may use: both, openai-eu, shared, openai-eu/shared, my-vllm/shared")


def test_the_default_is_the_first_that_may_be_used() -> None:
    assert resolve_model(SNAPSHOT, "")[0].provider == "openai"
    assert resolve_model(SNAPSHOT, "", Identity(providers=("embedded",)))[0].provider == "embedded"
    with pytest.raises(ModelNotAllowed, match="the default model"):
        resolve_model(snapshot("openai"), "", Identity(providers=("embedded",)))
    assert resolve_model(SNAPSHOT, "shared", ANYBODY) == find_targets(SNAPSHOT, "shared")
