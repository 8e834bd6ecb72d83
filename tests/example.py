"""The example configuration, with everything in it that is commented out."""

from __future__ import annotations

import re
from pathlib import Path

from certificates import Authority

EXAMPLE = Path(__file__).parent.parent / "trunkline.example.yaml"


def whole_example(folder: Path) -> tuple[str, dict[str, str]]:
    """Its text, and an environment in which it is right. The files that it names are made in `folder`."""
    text = re.sub(r"^( *)#(?=\S)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    for name in re.findall(r"file:/run/secrets/([\w.-]+)", text):
        (folder / name).write_text("k")
    text = text.replace("file:/run/secrets/", f"file:{folder}/")
    Authority.new(folder)
    for path, name in {"tls.crt": "server.pem", "tls.key": "server.key", "callers.crt": "ca.pem"}.items():
        text = text.replace(f"/etc/trunkline/{path}", f"{folder}/{name}")
    return text, dict.fromkeys(re.findall(r"\benv:([A-Z_0-9]+)", text), "k" * 32)
