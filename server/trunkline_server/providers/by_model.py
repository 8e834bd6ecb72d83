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


def by_model(row: Row, handlers: Mapping[str, Handler]) -> Handler:
    """By dialect. A request that carries provider_options for the Responses API asks for it, whatever the model."""
    if not row.responses_models:
        return handlers[row.dialect]
    wants_responses = re.compile(row.responses_models)

    def handle(call: Call) -> Events:
        asked = RESPONSES in call.request.provider_options
        return handlers[RESPONSES if asked or wants_responses.fullmatch(call.target.model) else row.dialect](call)

    return handle
