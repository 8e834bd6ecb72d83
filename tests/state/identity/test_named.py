"""A key that the configuration names and nobody has is told of: its budget pays for nothing, its limit holds nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway import gateway, settings_of

from trunkline.v1.identity_pb2 import CreateApiKeyRequest
from trunkline_server.cli.keeping import keeping
from trunkline_server.state.audit import COMMAND_LINE
from trunkline_server.state.identity.issuing import Issuer
from trunkline_server.state.identity.store import KeyStore

if TYPE_CHECKING:
    from pathlib import Path


def document(folder: Path, key: str) -> dict[str, Any]:
    (folder / "pepper").write_text("p" * 32)
    day = {"limit": 1, "period": "daily", "time_zone": "UTC"}
    return {
        "server": {"admin_listen": "", "pepper": f"file:{folder}/pepper"},
        "ledger": {"url": f"sqlite:///{folder}/ledger.sqlite3"},
        "providers": {"mock": {}},
        "prices": [{"model": "mock/*", "input": 1, "output": 1}],
        "budgets": {"known": {**day, "key": key}, "mistyped": {**day, "key": "nobody"}, "each": {**day, "key": "*"}},
        "caller_limits": {"keys": {key: {"concurrency": 5}, "noone": {"concurrency": 5}}},
    }


async def test_keys_that_were_never_made_are_named_at_the_start(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, document(tmp_path, "nobody-yet"))
    async with keeping(settings) as kept:
        issuer = Issuer(KeyStore(kept.database), kept.pepper)
        made = await issuer.create(CreateApiKeyRequest(name="one"), COMMAND_LINE)
    async with gateway(settings_of(tmp_path, document(tmp_path, made.api_key.id))) as running:
        told = [(line["where"], line["key"]) for line in running.lines("no_such_key")]
    assert told == [("budgets.mistyped.key", "nobody"), ("caller_limits.keys.noone", "noone")]
