"""Keys that are named in a store: AWS Secrets Manager over a real socket, and a package's own scheme."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from credentials import HOUR, ROLE, Given, giving, json_answer, sts
from upstreams import answer
from virtual_time import SkippingLoop, run_skipping

from trunkline_server import config
from trunkline_server.errors import CredentialMissing
from trunkline_server.providers.auth import build_aws_secrets, build_credentials
from trunkline_server.providers.http import HttpRequest
from trunkline_server.providers.stores import LOOK_EVERY
from trunkline_server.providers.table import ROWS
from trunkline_server.settings import SECRETS_GROUP, AwsSecrets, ProviderSettings, Reference, Secret

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.providers.credential import Credential

KEY, NEW = "sk-canary-0123456789abcdef", "sk-canary-0123456789uvwxyz"
ACCESS: dict[str, Any] = {"access_key_id": Secret("AKIDOWN"), "secret_access_key": Secret("own-secret")}


def secret(text: str) -> bytes:
    return json_answer({"ARN": "arn:aws:secretsmanager:us-east-1:1:secret:x", "SecretString": text})


def built(given: Given, reference: str, **settings: Any) -> Credential:
    aws = AwsSecrets(region="us-east-1", url=given.server.base_url + "/", **(settings or ACCESS))
    given.means.stores["aws-sm"] = build_aws_secrets(aws, given.means)  # type: ignore[index]
    (credential,) = build_credentials(ROWS["openai"], ProviderSettings(api_key=Reference(reference)), given.means)
    return credential


async def sent(credential: Credential) -> str:
    assert credential.sign is not None
    return (await credential.sign(HttpRequest("GET", "https://up.example", {}))).headers["authorization"]


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("aws-sm:prod/openai", KEY),
        ("aws-sm:prod/openai", KEY + "\n"),
        ("aws-sm:prod/openai#key", json.dumps({"key": KEY, "port": 5432})),
    ],
)
async def test_a_key_comes_from_the_secrets_manager(reference: str, text: str) -> None:
    async with giving([secret(text)]) as given:
        credential = built(given, reference)
        assert await sent(credential) == f"Bearer {KEY}"
        (request,) = given.server.requests
        assert request.headers["x-amz-target"] == "secretsmanager.GetSecretValue"
        assert request.headers["content-type"] == "application/x-amz-json-1.1"
        assert json.loads(request.body) == {"SecretId": "prod/openai"}
        assert "Credential=AKIDOWN/" in request.headers["authorization"]
        assert "/us-east-1/secretsmanager/aws4_request" in request.headers["authorization"]
        assert credential.look().hint == f"{reference} ...cdef"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (json_answer({"__type": "ResourceNotFoundException", "Message": KEY}, 400), "400 (ResourceNotFoundException)"),
        (json_answer({"SecretBinary": "AAAA"}), "lacks what it must have"),
        (secret("two\nlines"), "the secret is not one line of visible ASCII characters"),
        (secret(json.dumps({"key": 5})), "the secret has no such text in it"),
        (secret(json.dumps({"other": KEY})), "the secret has no such text in it"),
        (secret(KEY), "the secret is no JSON object"),
    ],
    ids=["unknown", "binary", "lines", "number", "no such key", "no json"],
)
async def test_a_secret_that_cannot_be_used_is_told_and_not_shown(reply: bytes, why: str) -> None:
    async with giving([reply]) as given:
        credential = built(given, "aws-sm:x" if "one line" in why else "aws-sm:x#key")
        with pytest.raises(CredentialMissing) as raised:
            await sent(credential)
        assert raised.value.why.endswith(why)
        assert "canary" not in f"{raised.value!r}{given.told}{credential.look()}"
        assert credential.look().hint.startswith("aws-sm:x")


def test_it_is_looked_at_again_and_stays_good_while_the_store_is_away() -> None:
    async def main(loop: SkippingLoop) -> None:
        async with giving([secret(KEY)], [secret(NEW)], [answer(status=503)]) as given:
            credential = built(given, "aws-sm:x")
            assert await sent(credential) == f"Bearer {KEY}"
            await loop.skip(LOOK_EVERY + 1)
            while await sent(credential) == f"Bearer {KEY}":
                await asyncio.sleep(0.005)
            assert credential.look().version == 1, "another key, of which nothing is known"
            await loop.skip(LOOK_EVERY + 1)
            while "answered 503" not in credential.look().note:
                await asyncio.sleep(0.005)
            await loop.skip(1000 * HOUR)
            assert await sent(credential) == f"Bearer {NEW}"

    run_skipping(main)


async def test_a_session_may_be_what_opens_the_store(tmp_path: Path) -> None:
    async with giving(*sts("one", HOUR), [secret(KEY)]) as given:
        sts_url = {"token_url": given.server.base_url, "role_arn": ROLE}
        assert await sent(built(given, "aws-sm:x", **ACCESS, **sts_url)) == f"Bearer {KEY}"
        assert given.server.requests[1].headers["x-amz-security-token"] == "one"


# --- a package's own --------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package, installed as packages are, that knows two schemes."""
    info = tmp_path / "vaults-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vaults\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{SECRETS_GROUP}]\nvault = vaults:resolve\nbroken = vaults:missing\n")
    (tmp_path / "vaults.py").write_text(
        "async def resolve(name):\n    if name == 'bad': raise KeyError('canary')\n    return f'key-of-{name}'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "vaults", raising=False)


@pytest.mark.usefixtures("package")
async def test_a_package_adds_a_scheme(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text("providers: {openai: {api_key: 'vault:kv/openai'}}")
    key = config.load(path, {}).providers["openai"].api_key
    assert key == Reference("vault:kv/openai")
    async with giving([answer()]) as given:
        assert await sent(built(given, "vault:kv/openai")) == "Bearer key-of-kv/openai"


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("reference", "why"),
    [("vault:bad", "fetching it failed with KeyError"), ("broken:x", "fetching it failed with AttributeError")],
)
async def test_a_package_that_fails_is_told_without_its_words(reference: str, why: str) -> None:
    async with giving([answer()]) as given:
        with pytest.raises(CredentialMissing) as raised:
            await sent(built(given, reference))
        assert raised.value.why == why


def test_a_scheme_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text("providers: {openai: {api_key: 'vault:kv/openai'}}")
    with pytest.raises(config.ConfigError, match="a name in a store such as aws-sm:NAME"):
        config.load(path, {})
