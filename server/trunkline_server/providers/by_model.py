"""Which of a row's dialects a call is asked in: some models are offered by one of a provider's APIs only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.providers.row import Row

RESPONSES = "openai_responses"


def dialects_of(row: Row) -> tuple[str, ...]:
    """The row's own dialect, and the Responses API where it has models that want it."""
    return (row.dialect, RESPONSES) if row.responses_models else (row.dialect,)


def base_of(row: Row, dialect: str) -> str:
    """Where the provider is asked in one of the row's dialects."""
    return row.base_url + (row.responses_base if dialect != row.dialect else "")


def by_model(row: Row, handlers: Mapping[str, Handler], base_models: Mapping[str, str]) -> Handler:
    """By dialect. A request that carries provider_options for the Responses API asks for it, whatever the model.

    `base_models` says of models that are named otherwise, as deployments are, what they are made of.
    """
    if not row.responses_models:
        return handlers[row.dialect]
    wants_responses = re.compile(row.responses_models)

    def handle(call: Call) -> Events:
        asked, model = RESPONSES in call.request.provider_options, call.target.model
        wanted = asked or wants_responses.fullmatch(base_models.get(model, model))
        return handlers[RESPONSES if wanted else row.dialect](call)

    return handle
