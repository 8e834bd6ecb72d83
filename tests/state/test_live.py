"""What was learned and decided since the start: any order of it keeps what calls rely on."""

from __future__ import annotations

import io
from typing import Any

from asked import resolve_model
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from make import playing

from trunkline.v1 import call_pb2
from trunkline_server.core import Chain, Current
from trunkline_server.errors import ModelGone, NoCandidate, UnknownModel, UpstreamError
from trunkline_server.listed import Listed
from trunkline_server.logs import build_log
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.names import find_targets
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.snapshot import Snapshot
from trunkline_server.state.live import Live

PROVIDERS = {
    "free": ProviderSettings(kind="openai_compatible", default_model="a"),
    "written": ProviderSettings(kind="openai_compatible", models=("a", "b")),
    "local": ProviderSettings(kind="ollama", default_model="a"),
}
HANDLER = playing([])
DOWN = UpstreamError(call_pb2.OUTCOME_NOT_CONNECTED)
MODELS = st.lists(st.sampled_from("abcdef"), unique=True).map(lambda ids: [Listed(id_) for id_ in ids])
NAMES = st.sampled_from(sorted(PROVIDERS))


def new() -> tuple[Current, Live]:
    settings = Settings(providers=PROVIDERS, aliases={"alias": "free/c"})
    current = Current(Chain(Snapshot("v", settings, build_offers(settings, ROWS, {})), HANDLER))
    return current, Live(
        current, {name: ROWS[each.kind] for name, each in PROVIDERS.items()}, build_log(io.BytesIO()), clock=lambda: 7.0
    )


class Interleavings(RuleBasedStateMachine):
    """Lists, failures and switches in any order, against a model of what should be known."""

    @initialize()
    def begin(self) -> None:
        self.current, self.live = new()
        self.first = self.current.chain
        self.frozen = [(self.first.snapshot, repr(self.first.snapshot))]
        self.off: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}

    @rule(name=NAMES, models=MODELS)
    def told(self, name: str, models: list[Listed]) -> None:
        self.live.told(name, models)
        if models or name == "local":
            self.lists[name] = [model.id for model in models]

    @rule(name=NAMES)
    def failed(self, name: str) -> None:
        before = self.current.chain
        self.live.failed(name, DOWN)
        assert self.current.chain is before, "what was told stands"

    @rule(name=NAMES, reason=st.sampled_from(["one", "two"]))
    def disable(self, name: str, reason: str) -> None:
        changed = self.live.set_enabled(name, reason)
        assert changed is (self.off.get(name) != reason)
        self.off[name] = reason

    @rule(name=NAMES)
    def enable(self, name: str) -> None:
        assert self.live.set_enabled(name, "") is (self.off.pop(name, None) is not None)

    @precondition(lambda self: self.lists)
    @rule(data=st.data())
    def told_the_same_again(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.lists)))
        before = self.current.chain
        self.live.told(name, [Listed(id_) for id_ in self.lists[name]])
        assert self.current.chain is before, "nothing has changed"

    @rule()
    def a_call_begins(self) -> None:
        self.frozen.append((self.current.chain.snapshot, repr(self.current.chain.snapshot)))

    @invariant()
    def calls_that_run_keep_what_they_began_with(self) -> None:
        assert all(repr(snapshot) == before for snapshot, before in self.frozen)
        assert self.current.chain.handler is HANDLER
        assert self.current.chain.snapshot.version == "v"

    @invariant()
    def switched_off_is_switched_off_and_nothing_else_is(self) -> None:
        for name, offer in self.current.chain.snapshot.offers.items():
            assert offer.unavailable_reason == self.off.get(name, "")
            assert self.live.disabled_reason(name) == self.off.get(name, "")

    @invariant()
    def what_is_listed_can_be_called_and_what_resolves_is_not_gone(self) -> None:
        snapshot = self.current.chain.snapshot
        for name, ids in self.lists.items():
            offer = snapshot.offers[name]
            assert not set(ids) & set(offer.gone)
            if name != "written":
                assert set(ids) <= {*offer.models, *offer.discovered}
        for model in "abcdef":
            for asked in (model, *(f"{name}/{model}" for name in PROVIDERS)):
                try:
                    targets = resolve_model(snapshot, asked)
                except (ModelGone, NoCandidate, UnknownModel):
                    continue
                for target in targets:
                    assert not snapshot.offers[target.provider].hindrance(target.model)

    @invariant()
    def the_configuration_keeps_its_names(self) -> None:
        snapshot = self.current.chain.snapshot
        for name in ("a", "b", "alias", "free", "written", "local"):
            assert find_targets(snapshot, name) == find_targets(self.first.snapshot, name)

    @invariant()
    def models_say_the_same_as_their_offers(self) -> None:
        for offer in self.current.chain.snapshot.offers.values():
            assert not set(offer.models) & set(offer.discovered)
            for id_, model in (*offer.models.items(), *offer.discovered.items()):
                assert model.unavailable_reason == offer.hindrance(id_)
                assert model.available is not bool(model.unavailable_reason)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = hypothesis_settings(deadline=None, max_examples=50, stateful_step_count=20)


def test_what_became_of_asking() -> None:
    _, live = new()
    assert live.discovery("free") is None
    live.follow("free")
    told = live.discovery("free")
    assert told is not None
    assert (told.outcome, told.HasField("attempt_time"), told.stale) == (call_pb2.OUTCOME_UNSPECIFIED, False, False)
    live.failed("free", UpstreamError(call_pb2.OUTCOME_AUTH, "my secret", status=401, code="bad_key"))
    told = live.discovery("free")
    assert told is not None
    assert told.reason == "it did not tell its models (AUTH, status 401, bad_key): the configured models stand"
    assert (told.stale, told.HasField("success_time")) == (False, False)
    live.told("free", [Listed("a"), Listed("w", generates=False)])
    told = live.discovery("free")
    assert told is not None
    assert (told.outcome, told.model_count, told.reason, told.stale) == (call_pb2.OUTCOME_SUCCESS, 1, "", False)
    assert told.success_time.ToSeconds() == 7
    live.failed("free", DOWN)
    told = live.discovery("free")
    assert told is not None
    assert (told.model_count, told.stale) == (1, True)
    assert told.reason == "it did not tell its models (NOT_CONNECTED): what it told before stands"


def test_an_empty_list_is_believed_only_where_models_come_and_go_by_hand() -> None:
    current, live = new()
    live.told("free", [Listed("a"), Listed("c")])
    live.told("free", [])
    told = live.discovery("free")
    assert told is not None
    assert (told.outcome, told.stale) == (call_pb2.OUTCOME_PROTOCOL_ERROR, True)
    assert "its list is empty: what it told before stands" in told.reason
    assert not current.chain.snapshot.offers["free"].gone
    live.told("local", [])
    assert set(current.chain.snapshot.offers["local"].gone) == {"a", "llama3.2"}
