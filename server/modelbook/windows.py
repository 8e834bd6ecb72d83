"""Settles on one context window where two sources know one, and knows which of their disagreements are decided."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DECIDED = Path(__file__).parent / "decided.toml"
# One source rounds: 1,000,000 for 1,048,576. Within a twentieth they mean the same, and the exact figure is taken.
ROUNDING = 0.05


@dataclass
class Windows:
    """One comparison of all models that both know."""

    # By table: how many tokens go in, as the source has it, and how many go in and out together.
    input_share: dict[str, dict[str, int]]
    agreed: int = 0
    disagreements: list[str] = field(default_factory=list)
    decided: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what is decided: by line, whom to follow."""
        for decision in tomllib.loads(DECIDED.read_text())["decision"]:
            self.decided |= dict.fromkeys(decision["models"], decision["follow"])

    def settle(self, name: str, draft: dict[str, Any]) -> int | None:
        """How many tokens go in and come out together. genai-prices says just that; litellm, how many go in."""
        told, into, out = draft.get("told"), draft.get("input"), draft.get("output") or 0
        if into is not None:
            into = self.input_share.get(name.partition("/")[0], {}).get(str(into), into)
        if told is None or into is None:
            return into if told is None else int(told)
        for each in (into, into + out):
            if abs(each - told) <= ROUNDING * max(each, told):
                self.agreed += 1
                return int(told) if each != into else int(into)
        line = f"{name}: {told} | {into}"
        self.disagreements.append(line)
        return int(told) if self.decided.get(line) == "genai" else int(into)

    def finish(self) -> None:
        """Tell how it went. Raises ValueError if something is undecided, or decided without need."""
        found = set(self.disagreements)
        undecided, stale = sorted(found - set(self.decided)), sorted(set(self.decided) - found)
        print(f"windows: {self.agreed} agree, {len(found)} disagree, {len(found) - len(undecided)} of them decided")
        if undecided or stale:
            raise ValueError("\n  ".join(["not decided:", *undecided, "decided, but no longer so:", *stale]))
