"""What providers list of their models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline_server.spelling import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.model_pb2 import Capability


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as its provider's own list has it."""

    id: str
    # Other ids that the provider takes for it.
    aliases: tuple[str, ...] = ()
    # Tokens that go in and come out together. None = the list does not say.
    context_window: int | None = None
    # What the list says that it can do, and cannot. Of everything else it says nothing.
    can: frozenset[Capability.ValueType] = frozenset()
    cannot: frozenset[Capability.ValueType] = frozenset()
    # Whether it answers a prompt with text: lists have models for embeddings, images and speech, too.
    generates: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What a provider's lists have told so far."""

    # By id: the last list.
    listed: Mapping[str, Listed]
    # Ids that generated text in an earlier list and are not in the last one.
    vanished: tuple[str, ...] = ()
    # Every id and alias of the last list, and their plain spellings.
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    spellings: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every model is looked up in."""
        names = frozenset(name for each in self.listed.values() for name in (each.id, *each.aliases))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "spellings", frozenset(map(plain, names)))

    def has(self, model: str) -> bool:
        """Whether the last list has this model, under whatever name it is written."""
        return model in self.names or plain(model) in self.spellings

    def generating(self) -> Iterator[Listed]:
        """Those of the last list that answer with text."""
        return (each for each in self.listed.values() if each.generates)
