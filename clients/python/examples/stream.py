"""Read an answer as it is made, and stop before its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_client import Cancelled

if TYPE_CHECKING:
    from trunkline_client import Answer, Client


def stream(client: Client, model: str) -> tuple[str, Answer]:
    """The text piece by piece, and the whole answer once it has come to its end."""
    said = ""
    with client.stream("Say hello", model=model, timeout=10) as answer:
        for text in answer.text:
            said += text
    return said, answer.response


def cancel(client: Client, model: str) -> str:
    """Close a stream after its first piece: the work stops, at the provider too. The status that it ends with."""
    answer = client.stream("cancel me", model=model)
    try:
        for _ in answer.text:
            answer.close()  # leaving the loop, or a with block, does the same
    except Cancelled as error:
        return error.code.name
    return "OK"
