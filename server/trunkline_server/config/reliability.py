"""What the configuration says of failures and limits of providers, checked beyond its single fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.config.check import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.settings import Settings


def reliability_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """All that is wrong with `retry` and `breaker` of every provider."""
    for name, provider in settings.providers.items():
        path, retry = f"providers.{name}", provider.retry
        if retry.cap < retry.base:
            yield Problem(f"{path}.retry.cap", f"at least {path}.retry.base")
        usual = provider.usual_latency
        if usual is not None and usual.most < usual.least:
            yield Problem(f"{path}.usual_latency.most", f"at least {path}.usual_latency.least")
        for setting, seconds in (
            ("retry.attempt_timeout", retry.attempt_timeout),
            ("breaker.recovery", provider.breaker.recovery),
        ):
            if seconds is not None and not seconds:
                yield Problem(f"{path}.{setting}", "more than 0")
