"""The configuration's file: from YAML to plain values, with everything that is wrong and nothing of its text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from trunkline_server.config.check import Problem, Unfit, join

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FLOAT, _TEXT = "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"


def read_tree(path: Path, problems: list[Problem]) -> dict[str, Any] | None:
    """What the file says. None, and why, if it cannot be read at all."""
    try:
        tree = _parse(read_text(path), problems)
    except Unfit as unfit:
        problems.append(Problem("the file", str(unfit)))
        return None
    if isinstance(tree, dict | None):
        return tree or {}
    problems.append(Problem("the file", "keys with values"))
    return None


def read_text(path: Path) -> str:
    """The text of a file. Raises Unfit."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
    except ValueError:
        reason = "it is not UTF-8 text"
    raise Unfit(f"{path} to be readable: {reason}")


def _parse(text: str, problems: list[Problem]) -> object:
    """The document. Raises Unfit."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        problems += _repeated_keys(node)
        _keep_decimals(node)
        return None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        reason = _place(error.problem_mark or error.context_mark) + _harmless(error.problem or "")
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # PyYAML's constructors fail in these ways on values such as 2026-13-45 and !!int x.
        reason = "it has a value that YAML cannot read"
    raise Unfit(f"YAML: {reason}")


def _place(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _harmless(problem: str) -> str:
    """PyYAML's words, unless they quote more of the file than a character."""
    return problem if re.fullmatch(r"(?:[^'\"]|'(?:\\?.|<[a-z ]+>)')+", problem) else "it cannot be read"


def _keep_decimals(root: yaml.Node | None) -> None:
    """Make text of the numbers under `prices`, as they are written: no price goes through a float."""
    sections = root.value if isinstance(root, yaml.MappingNode) else ()
    pending = [value for key, value in sections if key.value == "prices"]
    visited = set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.ScalarNode) and node.tag == _FLOAT:
            node.tag = _TEXT
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            pending += [value for _, value in node.value]


def _repeated_keys(root: yaml.Node | None) -> Iterator[Problem]:
    pending, visited = [root], {id(None)}
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            pending += [value for _, value in node.value]
            yield from _repeated_in(node)


def _repeated_in(node: yaml.MappingNode) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        mark = key.start_mark
        if key.value in first:
            expected = f"each key once: {join('', key.value)} stands in line {first[key.value]}, too"
            yield Problem(f"line {mark.line + 1}, column {mark.column + 1}", expected)
        first.setdefault(key.value, mark.line + 1)
