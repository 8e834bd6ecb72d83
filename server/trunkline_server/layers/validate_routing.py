"""Everything that can be wrong with a request's `routing` by itself, all at once. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline.v1.model_pb2 import CAPABILITY_UNSPECIFIED, Capability
from trunkline_server.errors import Violation
from trunkline_server.layers.resume import CONTINUE, cannot_continue
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from trunkline.v1.call_pb2 import Routing
    from trunkline.v1.gateway_service_pb2 import GenerateRequest

    _Limit = Literal["min_context_window", "max_cost_nano_usd"]
    _Span = Literal["max_time_to_first_token", "max_expected_total_time"]

MAX_FALLBACK_MODELS = 8
MAX_PROVIDERS = 64
MAX_ATTEMPTS = 10
# Seconds.
SHORTEST_ATTEMPT = 0.001
# Characters.
LONGEST_STICKY_KEY = 200
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMES = ("strategy", "task", "agent", "chain")
_LIMITS: tuple[_Limit, ...] = ("min_context_window", "max_cost_nano_usd")
_SPANS: tuple[_Span, ...] = ("max_time_to_first_token", "max_expected_total_time")


def routing_violations(request: GenerateRequest) -> Iterator[Violation]:
    """Every bad field of `routing`. Which strategies there are the configuration says: see route."""
    yield from _names(request.routing)
    yield from _constraints(request.routing)
    yield from _attempts(request)


def _names(routing: Routing) -> Iterator[Violation]:
    for name in _NAMES:
        said = getattr(routing, name)
        if said and not _NAME.fullmatch(said):
            yield Violation(f"routing.{name}", "must be at most 64 letters, digits, _ or -")
    if len(routing.sticky_key) > LONGEST_STICKY_KEY:
        yield Violation("routing.sticky_key", f"must be at most {LONGEST_STICKY_KEY} characters")
    if routing.complexity not in call_pb2.Complexity.values():
        yield Violation("routing.complexity", "is not known: use SIMPLE, MODERATE or COMPLEX")


def _constraints(routing: Routing) -> Iterator[Violation]:
    for name, providers in (
        ("allowed_providers", routing.allowed_providers),
        ("denied_providers", routing.denied_providers),
    ):
        if len(providers) > MAX_PROVIDERS:
            yield Violation(f"routing.{name}", f"has {len(providers)}: at most {MAX_PROVIDERS}")
    for index, capability in enumerate(routing.required_capabilities):
        if capability == CAPABILITY_UNSPECIFIED or capability not in Capability.values():
            yield Violation(f"routing.required_capabilities[{index}]", "is not a capability")
    for limit in _LIMITS:
        if routing.HasField(limit) and getattr(routing, limit) < 0:
            yield Violation(f"routing.{limit}", "must be at least 0")
    if routing.HasField("min_quality") and not 0 <= routing.min_quality <= 1:
        yield Violation("routing.min_quality", "must be from 0 to 1")
    for span in _SPANS:
        if routing.HasField(span) and seconds(getattr(routing, span)) <= 0:
            yield Violation(f"routing.{span}", "must be above 0s")


def _attempts(request: GenerateRequest) -> Iterator[Violation]:
    routing = request.routing
    if len(routing.fallback_models) > MAX_FALLBACK_MODELS:
        found = len(routing.fallback_models)
        yield Violation("routing.fallback_models", f"has {found}: at most {MAX_FALLBACK_MODELS}")
    for index, name in enumerate(routing.fallback_models):
        if not name:
            yield Violation(f"routing.fallback_models[{index}]", "is empty: name a model")
    if routing.disable_fallback and routing.fallback_models:
        yield Violation("routing.disable_fallback", "is set together with fallback_models: set one of them")
    if routing.HasField("attempt_timeout") and seconds(routing.attempt_timeout) < SHORTEST_ATTEMPT:
        yield Violation("routing.attempt_timeout", "must be at least 1ms")
    if routing.HasField("max_attempts") and not 1 <= routing.max_attempts <= MAX_ATTEMPTS:
        yield Violation("routing.max_attempts", f"must be from 1 to {MAX_ATTEMPTS}")
    if routing.on_interruption not in call_pb2.OnInterruption.values():
        yield Violation("routing.on_interruption", "is not known: use FAIL, RESTART or CONTINUE")
    elif routing.on_interruption == CONTINUE and (bad := cannot_continue(request)):
        yield Violation("routing.on_interruption", f"no answer can be continued with {bad}: use RESTART or FAIL")
