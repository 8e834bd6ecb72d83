"""What a configuration says of models, checked for what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.config.check import A_NAME, Problem, did_you_mean, is_name, join
from trunkline_server.providers.table import configured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.settings.models import ModelSettings


def model_problems(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """What is wrong with model_data whose fields are right one by one."""
    for name, own in settings.model_data.items():
        path = join("model_data", name)
        provider, _, model = name.partition("/")
        if provider not in settings.providers:
            yield Problem(path, '"provider/model"' + did_you_mean(provider, settings.providers))
        elif not is_name(model):
            yield Problem(path, f"after the provider the model: {A_NAME}")
        elif (row := rows.get(settings.providers[provider].kind)) is not None:
            yield from _unlisted(path, settings, provider, model, row)
            yield from _own(path, name, own)


def measured_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """What is wrong with what was measured."""
    for name in settings.measured:
        provider, _, model = name.partition("/")
        if provider not in settings.providers or not is_name(model):
            yield Problem(join("measured", name), '"provider/model"' + did_you_mean(provider, settings.providers))


def _unlisted(path: str, settings: Settings, provider: str, model: str, row: Row) -> Iterator[Problem]:
    """A provider that takes only its own models gets no other by being told of one."""
    own = tuple(settings.providers[provider].scripts) or row.models
    if not configured(row, settings.providers[provider]).open and model not in own:
        yield Problem(path, "a model of this provider" + did_you_mean(model, own))


def _own(path: str, name: str, own: ModelSettings) -> Iterator[Problem]:
    if own.deprecation is not None and own.retirement is not None and own.deprecation > own.retirement:
        yield Problem(f"{path}.deprecation", "no later than retirement")
    if own.replacement and not is_name(own.replacement):
        yield Problem(f"{path}.replacement", A_NAME)
    elif own.replacement and own.replacement in (name, name.partition("/")[2]):
        yield Problem(f"{path}.replacement", "another model")
    window, output = own.context_window, own.max_output_tokens
    if window is not None and output is not None and output > window:
        yield Problem(f"{path}.max_output_tokens", "at most context_window")
