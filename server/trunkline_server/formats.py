"""The wire formats that are here without a package that brings one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.dialects import (
    anthropic_messages,
    bedrock_converse,
    cohere_chat,
    gemini_generate_content,
    ollama_chat,
    openai_chat,
    openai_responses,
)
from trunkline_server.dialects.anthropic_messages import listing as anthropic_list
from trunkline_server.dialects.cohere_chat import listing as cohere_list
from trunkline_server.dialects.gemini_generate_content import listing as gemini_list
from trunkline_server.dialects.ollama_chat import listing as ollama_list
from trunkline_server.dialects.openai_chat import listing as openai_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.dialects.dialect import Dialect, ModelList

DIALECTS: Mapping[str, Dialect] = {
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "anthropic_messages": anthropic_messages,
    "gemini_generate_content": gemini_generate_content,
    "cohere_chat": cohere_chat,
    "ollama_chat": ollama_chat,
    "bedrock_converse": bedrock_converse,
}

# How providers list their models; those of other dialects do not.
LISTS: Mapping[str, ModelList] = {
    "openai_chat": openai_list,
    "openai_responses": openai_list,
    "anthropic_messages": anthropic_list,
    "gemini_generate_content": gemini_list,
    "cohere_chat": cohere_list,
    "ollama_chat": ollama_list,
}
