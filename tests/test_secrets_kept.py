"""A gateway that works or fails shows none of its secrets: not in its log, its answers, its errors, its health."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from credentials import json_answer, sts
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gateway import Gateway, gateway, settings_of
from grpc import aio
from upstreams import answer, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1 import model_service_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from upstreams import Request

# What stands in every secret before its last four characters.
CANARY = "canary-0123456789abcdef0123456789"
SECRETS = {
    "ONE": f"sk-{CANARY}-one1",
    "TWO": f"sk-{CANARY}-two2",
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}key3",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}sec4",
    "CLIENT_SECRET": f"{CANARY}cli5",
    "HEADER": f"{CANARY}hea6",
}
FILE_KEY, STORED, GOOGLE, ENTRA, SESSION = (f"{CANARY}-{end}" for end in ("fil7", "sto8", "goo9", "ent0", "ses1"))
PEM = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
ACCOUNT = {"type": "service_account", "client_email": "x@p.example", "private_key": PEM.decode(), "private_key_id": "k"}


def document(tmp_path: Path, up: str, gives: dict[str, str]) -> dict[str, Any]:
    """A provider of each kind of credential, all of them at the same address."""
    (tmp_path / "key").write_text(FILE_KEY)
    (tmp_path / "google.json").write_text(json.dumps({**ACCOUNT, "token_uri": gives["google"]}))
    chat = {"kind": "openai_compatible", "base_url": up, "models": ["m"]}
    return {
        "logs": {"monitoring_level": "comprehensive"},
        "providers": {
            "keys": {**chat, "api_keys": ["env:ONE", "env:TWO"], "headers": {"x-team": "env:HEADER"}},
            "file": {**chat, "api_key": f"file:{tmp_path}/key"},
            "stored": {**chat, "api_key": "aws-sm:prod/x"},
            "google": {"kind": "vertex", "base_url": up, "service_account": f"file:{tmp_path}/google.json"},
            "entra": {
                "kind": "azure_openai",
                "base_url": up,
                "models": ["m"],
                "tenant_id": "t",
                "client_id": "c",
                "client_secret": "env:CLIENT_SECRET",
                "token_url": gives["entra"],
            },
            "role": {
                "kind": "bedrock",
                "base_url": up,
                "models": ["m"],
                "region": "us-east-1",
                "role_arn": "arn:aws:iam::123456789012:role/x",
                "token_url": gives["sts"],
            },
        },
        "aws_secrets": {"region": "us-east-1", "url": gives["store"]},
    }


PLACES = ("google", "entra", "sts", "store")


def words_of(secret: str) -> list[str]:
    """A secret in the ways in which it may show: encoded, or more of its end than the four characters of a hint."""
    return [base64.b64encode(secret.encode()).decode().rstrip("="), secret[-8:], secret[:8]]


def shown(running: Gateway, messages: list[Any]) -> list[str]:
    """The secrets that can be found in all that was said."""
    said = running.log.getvalue().decode() + "\n".join(map(str, messages))
    lines = [line for line in PEM.decode().splitlines() if len(line) > 30 and "PRIVATE" not in line]
    secrets = [*SECRETS.values(), FILE_KEY, STORED, GOOGLE, ENTRA, SESSION]
    return [word for secret in secrets for word in words_of(secret) if word in said] + [x for x in lines if x in said]


async def everything_said(running: Gateway, tmp_path: Path) -> list[Any]:
    """Answers, errors and reports of calls to every provider, before and after the key's file was spoilt."""
    said: list[Any] = []
    for name in ("keys", "keys", "file", "stored", "google", "entra", "role", "file"):
        try:
            said.append(await running.stub.Generate(pb.GenerateRequest(model=name, prompt="x")))
        except aio.AioRpcError as error:
            said += [error, error.details(), *(error.trailing_metadata() or ())]
        (tmp_path / "key").write_text(f"{FILE_KEY}\n{FILE_KEY}")
    said.append(await running.stub.HealthCheck(pb.HealthCheckRequest(probe=True, probe_models=True)))
    said.append(await running.models.ListModels(model_service_pb2.ListModelsRequest()))
    return said


@pytest.mark.parametrize("works", [True, False])
async def test_a_gateway_keeps_its_secrets(tmp_path: Path, works: bool) -> None:
    quoted = [json_answer({"error": {"code": "invalid", "message": f"key {FILE_KEY} {GOOGLE}"}}, 401)]
    bearer = {"expires_in": 3600, "token_type": "Bearer"}
    replies = {
        "google": json_answer({"access_token": GOOGLE, **bearer}),
        "entra": json_answer({"access_token": ENTRA, **bearer}),
        "sts": sts(SESSION, 3600)[0][0],
        "store": json_answer({"SecretString": STORED}),
    }
    async with (
        upstream([answer(b"{}")] if works else quoted) as up,
        upstream([replies["google"]] if works else quoted) as google,
        upstream([replies["entra"]] if works else quoted) as entra,
        upstream([replies["sts"]] if works else quoted) as tokens,
        upstream([replies["store"]] if works else quoted) as store,
    ):
        servers = dict(zip(PLACES, (google, entra, tokens, store), strict=True))
        gives = {name: server.base_url for name, server in servers.items()}
        settings = settings_of(tmp_path, document(tmp_path, up.base_url, gives), SECRETS)
        async with gateway(settings, validates=True) as running:
            said = await everything_said(running, tmp_path)
        assert shown(running, said) == []
        assert all(server.requests for server in servers.values()), "each secret was in use"
        if works:
            assert sent_secrets(up.requests) >= {"one1", "two2", "fil7", "sto8", "goo9", "ent0", "ses1", "hea6"}


def sent_secrets(requests: list[Request]) -> set[str]:
    """The ends of the secrets that were sent, where they belong."""
    return {value[-4:] for request in requests for value in request.headers.values() if CANARY in value}
