"""One answer of the chat completions API, told in one event or in many."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.content_pb2 import LogprobToken, TopLogprob
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.openai_chat.metadata import ChatMetadata
from trunkline_server.dialects.openai_chat.parts import Parts
from trunkline_server.dialects.openai_chat.sources import citation_of, media_of, sources_of
from trunkline_server.dialects.openai_chat.usage import usage_of
from trunkline_server.dialects.openai_chat.wire import Logprobs
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trunkline_server.dialects.openai_chat.parts import Words
    from trunkline_server.dialects.openai_chat.wire import Choice, Completion, ContentPart, Message, Usage

FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "stop": content_pb2.FINISH_REASON_STOP,
    "eos": content_pb2.FINISH_REASON_STOP,
    "length": content_pb2.FINISH_REASON_MAX_TOKENS,
    "model_length": content_pb2.FINISH_REASON_CONTEXT_LENGTH,
    "tool_calls": content_pb2.FINISH_REASON_TOOL_CALLS,
    "tool_call": content_pb2.FINISH_REASON_TOOL_CALLS,
    "function_call": content_pb2.FINISH_REASON_TOOL_CALLS,
    "content_filter": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "sensitive": content_pb2.FINISH_REASON_CONTENT_FILTER,
}
# Finish reasons by which a provider says that the answer is not whole.
FAILURES: Mapping[str, call_pb2.Outcome.ValueType] = {
    "error": call_pb2.OUTCOME_SERVER_ERROR,
    "network_error": call_pb2.OUTCOME_SERVER_ERROR,
    "insufficient_system_resource": call_pb2.OUTCOME_OVERLOADED,
    "abort": call_pb2.OUTCOME_INTERRUPTED,
}
SEVERAL_CHOICES = "the provider gave several answers: all but the first are left out"


class Answer:
    """What a provider tells of one answer. The first of several choices is kept."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.finish_reason = ""
        self._id = ""
        self._usage: Usage | None = None
        self._refused = False
        self._several = False
        self._metadata = ChatMetadata()
        self._beside: tuple[Any, ...] = ()
        # Citations that wait for a text to belong to, and sources of the whole answer.
        self._citations: list[content_pb2.Citation] = []
        self._sources: list[content_pb2.Citation] = []
        # Kinds of content that are left out, each once.
        self._lost: dict[str, None] = {}

    def add(self, completion: Completion) -> None:
        """Take one event. Raises UpstreamError where it contradicts what came before."""
        if completion.usage is not None:
            self._usage = completion.usage
        elif completion.x_groq is not None:
            self._usage = completion.x_groq.usage or self._usage
        if not self._id:
            self._id = completion.id or ""
        # Most streams say the same in every event, and this runs for each token.
        beside = (completion.service_tier, completion.system_fingerprint, completion.provider)
        if beside != self._beside or completion.prompt_filter_results:
            self._beside = beside
            self._metadata.add_completion(completion)
        if completion.citations or completion.search_results:
            self._sources = sources_of(completion)
        for choice in completion.choices or ():
            if choice.index:
                self._several = True
            else:
                self._add(choice)

    def complete(self) -> None:
        """Take the end. Raises UpstreamError where the provider says that the answer is not whole."""
        if self.finish_reason in FAILURES:
            raise UpstreamError(FAILURES[self.finish_reason], code=self.finish_reason)
        reason = FINISH_REASONS.get(self.finish_reason, content_pb2.FINISH_REASON_OTHER)
        if self._refused and reason == content_pb2.FINISH_REASON_STOP:
            reason = content_pb2.FINISH_REASON_REFUSAL
        self._citations += self._sources
        self._cite()
        response = GenerateResponse(finish_reason=reason, provider_finish_reason=self.finish_reason, usage=self.usage())
        if self._id:
            response.served.provider_response_id = self._id
        self._metadata.add_usage(self._usage)
        if (metadata := self._metadata.struct()) is not None:
            response.provider_metadata.CopyFrom(metadata)
        response.warnings.extend(self._warnings())
        self.parts.complete(response)

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so."""
        return None if self._usage is None else usage_of(self._usage)

    def _add(self, choice: Choice) -> None:
        if choice.native_finish_reason or choice.content_filter_results:
            self._metadata.add_choice(choice)
        if choice.delta is not None:
            tokens = _tokens(choice.logprobs) if isinstance(choice.logprobs, Logprobs) else []
            self._add_message(choice.delta, tokens)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason

    def _add_message(self, delta: Message, tokens: list[LogprobToken]) -> None:
        if thought := delta.reasoning_content or delta.reasoning:
            is_all = not (delta.content or delta.refusal)
            self.parts.say("reasoning", thought, tokens if is_all else ())
            tokens = [] if is_all else tokens
        if delta.reasoning_details:
            self.parts.detail(delta.reasoning_details)
        if content := delta.content:
            for kind, words in _said(content):
                self.parts.say(kind, words, tokens)
                tokens = []
        if delta.refusal:
            self._refused = True
            self.parts.say("refusal", delta.refusal, tokens)
            tokens = []
        if delta.annotations or delta.images or delta.audio or delta.executed_tools:
            self._add_beside(delta)
        for position, piece in enumerate(delta.tool_calls or ()):
            self.parts.call(position if piece.index is None else piece.index, piece)
        if tokens:
            self.parts.tell_tokens(tokens)

    def _add_beside(self, delta: Message) -> None:
        """What comes with the words."""
        for annotation in delta.annotations or ():
            citation = citation_of(annotation)
            if citation is not None:
                self._citations.append(citation)
            else:
                self._lost[annotation.type or "annotation"] = None
        self._cite()
        for image in delta.images or ():
            media = media_of(image)
            if media is not None:
                self.parts.show(media)
            else:
                self._lost["image"] = None
        if delta.audio:
            self._lost["audio"] = None
        self._metadata.add("executed_tools", delta.executed_tools)

    def _cite(self) -> None:
        if self._citations and self.parts.cite(self._citations):
            self._citations = []

    def _warnings(self) -> Iterator[call_pb2.Warning]:
        kind = call_pb2.Warning.KIND_CONTENT_DROPPED
        if self._several:
            yield call_pb2.Warning(kind=kind, message=SEVERAL_CHOICES)
        if self._citations:
            yield call_pb2.Warning(kind=kind, message="citations are left out: there is no text that they belong to")
        for name in self._lost:
            yield call_pb2.Warning(
                kind=kind, message=f"{name[:64]} is left out: the gateway does not know this content"
            )
        for name in self._metadata.left_out:
            yield call_pb2.Warning(kind=kind, message=f"provider_metadata.{name} is left out: it is too large")


def _said(content: str | list[ContentPart | str]) -> Iterable[tuple[Words, str]]:
    return (("text", content),) if isinstance(content, str) else _said_in(content)


def _said_in(parts: Iterable[ContentPart | str]) -> Iterator[tuple[Words, str]]:
    """The words of a list of content, neighbours of a kind as one."""
    said = (("text", part) if isinstance(part, str) else _piece(part) for part in parts)
    for kind, pieces in groupby(said, key=lambda piece: piece[0]):
        if words := "".join(words for _, words in pieces):
            yield kind, words


def _piece(part: ContentPart) -> tuple[Words, str]:
    if part.type == "thinking":
        return "reasoning", part.thinking if isinstance(part.thinking, str) else _text(part.thinking or ())
    return "text", (part.text or "") if part.type == "text" else ""


def _text(parts: Iterable[ContentPart | str]) -> str:
    return "".join(part if isinstance(part, str) else part.text or "" for part in parts)


def _tokens(logprobs: Logprobs) -> list[LogprobToken]:
    told = [*(logprobs.content or ()), *(logprobs.refusal or ())]
    return [
        LogprobToken(
            token=token.token,
            logprob=token.logprob,
            raw_bytes=bytes(token.bytes or ()),
            top=[
                TopLogprob(token=top.token, logprob=top.logprob, raw_bytes=bytes(top.bytes or ()))
                for top in token.top_logprobs or ()
                if top.logprob is not None
            ],
        )
        for token in told
        if token.logprob is not None
    ]
