"""Tokens that renew themselves, each kind against a real server: what is asked, what is sent, and how it fails."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from credentials import HOUR, ROLE, Given, expiration, giving, json_answer, sts
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import structs
from upstreams import answer, nobody_listens
from virtual_time import SkippingLoop, run_skipping

from trunkline.v1 import call_pb2
from trunkline_server.errors import CredentialMissing
from trunkline_server.providers.auth import build_credentials
from trunkline_server.providers.http import HttpRequest
from trunkline_server.providers.table import ROWS
from trunkline_server.settings import Document, ProviderSettings, Secret

if TYPE_CHECKING:
    from pathlib import Path

    from upstreams import Request, Script

    from trunkline_server.providers.credential import Credential

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ACCESS_KEY = {"access_key_id": Secret("AKIDOWN"), "secret_access_key": Secret("own-secret")}
AWS: dict[str, Any] = {"kind": "bedrock", "region": "us-east-1"}


def pem(key: Any = KEY) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def document(folder: Path, text: str) -> Document:
    path = folder / "secret"
    path.write_text(text)
    return Document(text, f"file:{path}")


def service_account(base_url: str, **more: str) -> str:
    fields = {"client_email": "x@p.iam.gserviceaccount.com", "private_key": pem(), "private_key_id": "kid-1"}
    return json.dumps({"type": "service_account", **fields, "token_uri": f"{base_url}/token", **more})


def bearer(token: str, lifetime: float) -> list[Script]:
    return [[json_answer({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"})]]


def bearer_in_text(token: str, lifetime: float) -> list[Script]:
    return [[json_answer({"access_token": token, "expires_in": str(lifetime)})]]


def issued(token: str, lifetime: float) -> list[Script]:
    fields = {"AccessKeyId": f"ASIA{token}", "SecretAccessKey": "a/b+c=", "Token": token}
    return [[json_answer({**fields, "Expiration": expiration(lifetime), "Code": "Success"})]]


def instance(token: str, lifetime: float) -> list[Script]:
    return [[answer(b"metadata-token")], [answer(b"the-role\n")], *issued(token, lifetime)]


@dataclass(frozen=True)
class Kind:
    """A way to get tokens: its settings, what a server answers to it, and how the token is sent."""

    settings: Callable[[str, Path], ProviderSettings]
    answers: Callable[[str, float], list[Script]]
    header: str = "authorization"
    value: str = "Bearer {}"


def aws(**more: Any) -> Callable[[str, Path], ProviderSettings]:
    return lambda url, _: ProviderSettings(**AWS, **{"token_url": url, **more})


def entra(**more: Any) -> Callable[[str, Path], ProviderSettings]:
    settings = {"kind": "azure_openai", "tenant_id": "t", "client_id": "c", **more}
    return lambda url, _: ProviderSettings(**{"token_url": f"{url}/t/token?a=b", **settings})


SESSION = {"header": "x-amz-security-token", "value": "{}"}
KINDS = {
    "google service account": Kind(
        lambda url, folder: ProviderSettings(kind="vertex", service_account=document(folder, service_account(url))),
        bearer,
    ),
    "google user": Kind(
        lambda url, folder: ProviderSettings(
            kind="vertex",
            token_url=f"{url}/token",
            service_account=document(
                folder,
                '{"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}',
            ),
        ),
        bearer,
    ),
    "google metadata": Kind(
        lambda url, _: ProviderSettings(kind="vertex", ambient=True, token_url=f"{url}/google"), bearer
    ),
    "entra secret": Kind(entra(client_secret=Secret("s")), bearer),
    "entra federated": Kind(
        lambda url, folder: structs.replace(entra()(url, folder), federated_token=document(folder, "jwt\n")), bearer
    ),
    "azure metadata": Kind(entra(ambient=True), bearer_in_text),
    "aws web identity": Kind(
        lambda url, folder: aws(role_arn=ROLE, web_identity_token=document(folder, "jwt\n"))(url, folder),
        sts,
        **SESSION,
    ),
    "aws role": Kind(aws(role_arn=ROLE, **ACCESS_KEY), sts, **SESSION),
    "aws container": Kind(
        lambda url, _: ProviderSettings(**AWS, ambient=True, token_url=f"{url}/v2/credentials"), issued, **SESSION
    ),
    "aws instance": Kind(
        lambda url, _: ProviderSettings(**AWS, ambient=True, token_url=f"{url}/latest"), instance, **SESSION
    ),
}
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
NO_FILE = "service_account must be a JSON file of type service_account or authorized_user"
EMPTY = HttpRequest("POST", "https://up.example/x", {"content-type": "application/json"}, b"{}")


def built(given: Given, settings: ProviderSettings) -> Credential:
    (credential,) = build_credentials(ROWS[settings.kind], settings, given.means)
    return credential


async def sent(credential: Credential) -> dict[str, str]:
    assert credential.sign is not None
    return dict((await credential.sign(EMPTY)).headers)


# --- all kinds --------------------------------------------------------------------------------------------------------


@EACH
def test_a_hundred_calls_cause_one_fetch_and_it_is_renewed_before_it_expires(kind: Kind, tmp_path: Path) -> None:
    async def main(loop: SkippingLoop) -> None:
        async with giving(*kind.answers("one", HOUR), *kind.answers("two", 2 * HOUR)) as given:
            credential = built(given, kind.settings(given.server.base_url, tmp_path))
            for headers in await asyncio.gather(*(sent(credential) for _ in range(100))):
                assert headers[kind.header] == kind.value.format("one")
            each = len(kind.answers("", 1))
            assert len(given.server.requests) == each
            await loop.skip(0.74 * HOUR)
            assert len(given.server.requests) == each
            await loop.skip(0.02 * HOUR)
            await given.server.wait_requests(2 * each)
            while (await sent(credential))[kind.header] == kind.value.format("one"):
                await asyncio.sleep(0.005)
            assert (await sent(credential))[kind.header] == kind.value.format("two")
            assert given.told == []

    run_skipping(main)


@EACH
def test_a_failing_refresh_keeps_the_old_token_until_it_expires_then_nothing_is_sent(
    kind: Kind, tmp_path: Path
) -> None:
    async def main(loop: SkippingLoop) -> None:
        async with giving(
            *kind.answers("one", HOUR), [json_answer({"error": "temporarily_unavailable"}, 503)]
        ) as given:
            credential = built(given, kind.settings(given.server.base_url, tmp_path))
            await sent(credential)
            each = len(kind.answers("", 1))
            await loop.skip(0.8 * HOUR)
            await given.server.wait_requests(each + 1)
            while not credential.look().note:
                await asyncio.sleep(0.005)
            assert (await sent(credential))[kind.header] == kind.value.format("one")
            await loop.skip(0.21 * HOUR)
            with pytest.raises(CredentialMissing) as raised:
                await sent(credential)
            assert raised.value.outcome == call_pb2.OUTCOME_AUTH
            assert raised.value.why.endswith("answered 503 (temporarily_unavailable)")
            assert credential.look().missing == raised.value.why
            assert "one" not in str(given.told)

    run_skipping(main)


@EACH
async def test_nobody_who_answers_is_told(kind: Kind, tmp_path: Path) -> None:
    async with giving([answer()]) as given, nobody_listens() as base_url:
        credential = built(given, kind.settings(base_url, tmp_path))
        with pytest.raises(CredentialMissing) as raised:
            await sent(credential)
        assert raised.value.why.endswith("the provider could not be reached")


@EACH
@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff", b'{"access_token": 5, "expires_in": null}'])
async def test_an_answer_that_is_no_token_is_told_and_not_shown(kind: Kind, tmp_path: Path, body: bytes) -> None:
    async with giving([answer(body)]) as given:
        credential = built(given, kind.settings(given.server.base_url, tmp_path))
        with pytest.raises(CredentialMissing) as raised:
            await sent(credential)
        assert re_fits(raised.value.why)


def re_fits(why: str) -> bool:
    return why in (
        "what was answered lacks what it must have",
        "the metadata service names no role of this machine",
    )


@EACH
@pytest.mark.parametrize(
    "url", ["http://tokens.example", "ftp://127.0.0.1", "http://169.254.169.253", "https://u:p@x", "x"]
)
async def test_no_secret_goes_over_plain_http_to_another_machine(kind: Kind, tmp_path: Path, url: str) -> None:
    async with giving([answer()]) as given:
        settings = kind.settings(url, tmp_path)
        with pytest.raises(CredentialMissing) as raised:
            await sent(built(given, settings))
        assert raised.value.why == "the address that gives it must be https, or on this machine"


# --- what is asked ----------------------------------------------------------------------------------------------------


async def asked(name: str, folder: Path) -> list[Request]:
    """The requests for a token of this kind."""
    kind = KINDS[name]
    async with giving(*kind.answers("one", HOUR)) as given:
        await sent(built(given, kind.settings(given.server.base_url, folder)))
        return given.server.requests


def form_of(request: Request) -> dict[str, str]:
    assert request.head.startswith(b"POST ")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    return {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}


def unpacked(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_a_service_account_signs_who_it_is(tmp_path: Path) -> None:
    (request,) = await asked("google service account", tmp_path)
    fields = form_of(request)
    assert fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    header, claims, signature = fields["assertion"].split(".")
    KEY.public_key().verify(unpacked(signature), f"{header}.{claims}".encode(), PKCS1v15(), SHA256())
    assert json.loads(unpacked(header)) == {"alg": "RS256", "typ": "JWT", "kid": "kid-1"}
    said = json.loads(unpacked(claims))
    assert (said["iss"], said["scope"]) == (
        "x@p.iam.gserviceaccount.com",
        "https://www.googleapis.com/auth/cloud-platform",
    )
    assert said["aud"] == f"http://{request.headers['host']}/token"
    assert said["exp"] - said["iat"] == HOUR
    assert abs(said["iat"] - datetime.now(UTC).timestamp()) < 60


async def test_what_gcloud_left_is_used(tmp_path: Path) -> None:
    (request,) = await asked("google user", tmp_path)
    expected = {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    assert form_of(request) == expected


async def test_metadata_servers_are_asked_as_they_want_it(tmp_path: Path) -> None:
    (google,) = await asked("google metadata", tmp_path)
    assert (google.head.split()[0], google.headers["metadata-flavor"]) == (b"GET", "Google")
    (azure,) = await asked("azure metadata", tmp_path)
    assert (azure.target, azure.headers["metadata"]) == ("/t/token?a=b&client_id=c", "true")
    token, role, credentials = await asked("aws instance", tmp_path)
    assert (token.head.split()[0], token.target) == (b"PUT", "/latest/api/token")
    assert token.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "300"
    assert role.target == "/latest/meta-data/iam/security-credentials/"
    assert credentials.target == "/latest/meta-data/iam/security-credentials/the-role"
    assert {each.headers["x-aws-ec2-metadata-token"] for each in (role, credentials)} == {"metadata-token"}


async def test_an_application_of_entra_shows_its_secret_or_its_token(tmp_path: Path) -> None:
    (request,) = await asked("entra secret", tmp_path)
    common = {
        "grant_type": "client_credentials",
        "client_id": "c",
        "scope": "https://cognitiveservices.azure.com/.default",
    }
    assert form_of(request) == {**common, "client_secret": "s"}
    (request,) = await asked("entra federated", tmp_path)
    by = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form_of(request) == {**common, "client_assertion_type": by, "client_assertion": "jwt"}


async def test_a_role_is_taken_on_by_signature_or_by_token(tmp_path: Path) -> None:
    role = {"Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": "trunkline"}
    (request,) = await asked("aws role", tmp_path)
    assert form_of(request) == {"Action": "AssumeRole", **role}
    assert "Credential=AKIDOWN/" in request.headers["authorization"]
    assert "/us-east-1/sts/aws4_request" in request.headers["authorization"]
    (request,) = await asked("aws web identity", tmp_path)
    assert form_of(request) == {"Action": "AssumeRoleWithWebIdentity", "WebIdentityToken": "jwt", **role}
    assert "authorization" not in request.headers


async def test_a_session_signs_for_the_provider(tmp_path: Path) -> None:
    async with giving(*sts("one", HOUR)) as given:
        headers = await sent(built(given, aws(role_arn=ROLE, **ACCESS_KEY)(given.server.base_url, tmp_path)))
    assert "Credential=ASIAone/" in headers["authorization"]
    assert "/us-east-1/bedrock/aws4_request" in headers["authorization"]


async def test_a_file_that_others_write_anew_is_read_each_time(tmp_path: Path) -> None:
    async with giving([answer(status=500)], *sts("one", HOUR)) as given:
        kind = KINDS["aws web identity"]
        credential = built(given, kind.settings(given.server.base_url, tmp_path))
        with pytest.raises(CredentialMissing):
            await sent(credential)
        (tmp_path / "secret").write_text("newer")
        await given.server.wait_requests(2)
        assert form_of(given.server.requests[1])["WebIdentityToken"] == "newer"


# --- what cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not json", NO_FILE),
        ('{"type": "external_account"}', NO_FILE),
        (service_account("https://x", private_key="sk-canary"), "private_key is no RSA key in PEM"),
        (service_account("https://x", private_key=""), "private_key is no RSA key in PEM"),
        (
            service_account("https://x", private_key=pem(ec.generate_private_key(ec.SECP256R1()))),
            "private_key is no RSA key in PEM",
        ),
    ],
    ids=["text", "type", "key", "no key", "elliptic"],
)
async def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, text: str, why: str) -> None:
    async with giving([answer()]) as given:
        credential = built(given, ProviderSettings(kind="vertex", service_account=document(tmp_path, text)))
        with pytest.raises(CredentialMissing) as raised:
            await sent(credential)
        assert raised.value.why == why
        assert "canary" not in str(given.told)


async def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    async with giving([answer()]) as given:
        settings = ProviderSettings(kind="vertex", service_account=document(tmp_path, "{}"))
        (tmp_path / "secret").unlink()
        with pytest.raises(CredentialMissing) as raised:
            await sent(built(given, settings))
        assert raised.value.why.startswith(f"expected {tmp_path}/secret to be readable")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": "invalid_grant", "error_description": "sk-canary-0123456789"}', " (invalid_grant)"),
        (b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", " (AccessDenied)"),
        (b'{"__type": "ResourceNotFoundException"}', " (ResourceNotFoundException)"),
        (b'{"error": "AKIAIOSFODNN7EXAMPLE"}', " (***)"),
        (b'{"error": "no code but words"}', ""),
        (b"sk-canary", ""),
    ],
)
async def test_of_a_refusal_the_code_is_told_and_no_more(body: bytes, code: str) -> None:
    async with giving([answer(body, 400)]) as given:
        host = given.server.base_url.removeprefix("http://")
        with pytest.raises(CredentialMissing) as raised:
            await given.means.ask(HttpRequest("GET", given.server.base_url, {}))
        assert raised.value.why == f"{host} answered 400{code}"


async def test_a_role_of_the_machine_may_take_on_another(tmp_path: Path) -> None:
    """AssumeRole is signed with what the metadata service gave; STS is asked at its own address."""
    async with giving(*issued("one", HOUR)) as given:
        asked: list[HttpRequest] = []
        own = given.means.ask

        async def ask(request: HttpRequest) -> bytes:
            if "amazonaws.com" not in request.url:
                return await own(request)
            asked.append(request)
            return sts("two", HOUR)[0][0].split(b"\r\n\r\n", 1)[1]  # type: ignore[union-attr]

        given.means = replace(given.means, ask=ask)
        url = f"{given.server.base_url}/v2/credentials"
        headers = await sent(built(given, ProviderSettings(**AWS, ambient=True, token_url=url, role_arn=ROLE)))
        assert headers["x-amz-security-token"] == "two"
        assert asked[0].url == "https://sts.us-east-1.amazonaws.com/"
        assert asked[0].headers["x-amz-security-token"] == "one"
