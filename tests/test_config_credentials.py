"""Credentials in the configuration: what the environment says of them, and what is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from gateway import gateway, settings_of

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server import config
from trunkline_server.config import ConfigError
from trunkline_server.providers.addresses import may_have_secrets
from trunkline_server.providers.table import ROWS
from trunkline_server.settings import Document, Reference, Secret

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings import ProviderSettings, Settings

AWS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
ROLE = "arn:aws:iam::123456789012:role/llm"
VERTEX = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p"
ANTHROPIC, OPENAI, GROQ = "sk-ant-api03-canary", "sk-proj-canary", "gsk_canary"


def load(tmp_path: Path, document: Any, **environ: str) -> Settings:
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump(document))
    return config.load(path, environ)


def provider(tmp_path: Path, settings: Any, **environ: str) -> ProviderSettings:
    return load(tmp_path, {"providers": {"up": settings}}, **environ).providers["up"]


def problems(tmp_path: Path, document: Any, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document, **environ)
    assert "canary" not in f"{caught.value}{caught.value!r}"
    return [str(problem) for problem in caught.value.problems]


def hints(of: ProviderSettings) -> list[str]:
    return [key.origin for key in of.all_keys]


# --- several keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "keys"),
    [
        (["OPENAI_API_KEY"], ["OPENAI_API_KEY"]),
        (
            ["OPENAI_API_KEY_2", "OPENAI_API_KEY", "OPENAI_API_KEY_10"],
            ["OPENAI_API_KEY", "OPENAI_API_KEY_2", "OPENAI_API_KEY_10"],
        ),
        (["OPENAI_API_KEY_1", "OPENAI_API_KEY_2"], ["OPENAI_API_KEY_1", "OPENAI_API_KEY_2"]),
        (["OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "OPENAI_API_KEY_1000", "MY_OPENAI_API_KEY_1"], ["OPENAI_API_KEY"]),
    ],
    ids=["one", "numbered", "only numbered", "others"],
)
def test_numbered_variables_are_more_keys(environ: list[str], keys: list[str]) -> None:
    settings = config.load(None, {name: f"k-{name}" for name in environ})
    openai = settings.providers["openai"]
    assert hints(openai) == [f"env:{name}" for name in keys]
    assert [key.reveal() for key in openai.all_keys] == [f"k-{name}" for name in keys]


def test_keys_in_the_file_stand(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k-file")
    given = {"kind": "openai", "api_keys": ["env:A", f"file:{tmp_path}/key", "aws-sm:prod/x#key"]}
    up = provider(tmp_path, given, A="k-a", OPENAI_API_KEY="no", OPENAI_API_KEY_1="no", **AWS)
    assert hints(up) == ["env:A", f"file:{tmp_path}/key", "aws-sm:prod/x#key"]
    up = provider(tmp_path, {"kind": "openai", "api_key": "env:A"}, A="k-a", OPENAI_API_KEY_1="no")
    assert hints(up) == ["env:A"]


def test_each_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    given = {"kind": "openai", "api_keys": ["env:A", "sk-canary", "env:B"]}
    told = problems(tmp_path, {"providers": {"up": given}}, A="k")
    assert [re.split(": expected", each)[0] for each in told] == [
        "providers.up.api_keys[1]",
        "providers.up.api_keys[2]",
    ]


# --- whose key --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "key", "owner"),
    [
        ("openai", ANTHROPIC, "anthropic"),
        ("openai", GROQ, "groq"),
        ("openai_responses", ANTHROPIC, "anthropic"),
        ("anthropic", OPENAI, "openai"),
        ("groq", OPENAI, "openai"),
        ("deepseek", ANTHROPIC, "anthropic"),
        ("gemini", "sk-or-v1-canary", "openrouter"),
    ],
)
def test_a_key_that_is_certainly_another_vendors_is_refused(tmp_path: Path, kind: str, key: str, owner: str) -> None:
    (told,) = problems(tmp_path, {"providers": {"up": {"kind": kind, "api_key": "env:K"}}}, K=key)
    assert told == f"providers.up.api_key: expected a key of {kind}: this one is a key of {owner}"


def test_a_variable_with_another_vendors_key_is_named() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY: expected a key of openai: this one is a key of anthropic"):
        config.load(None, {"OPENAI_API_KEY": ANTHROPIC})
    with pytest.raises(ConfigError, match="OPENAI_API_KEY_2: expected a key of openai: this one is a key of groq"):
        config.load(None, {"OPENAI_API_KEY": OPENAI, "OPENAI_API_KEY_2": GROQ})


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"kind": "openai"}, "sk-0123456789"),
        ({"kind": "openai"}, "anything"),
        ({"kind": "anthropic"}, "sk-0123456789"),
        ({"kind": "anthropic"}, ANTHROPIC),
        ({"kind": "deepseek"}, "sk-0123456789"),
        ({"kind": "openai", "base_url": "https://proxy.example/v1"}, ANTHROPIC),
        ({"kind": "openai_compatible", "base_url": "https://api.anthropic.com/v1", "models": ["m"]}, ANTHROPIC),
    ],
)
def test_what_is_not_certain_is_let_through(tmp_path: Path, settings: Any, key: str) -> None:
    assert provider(tmp_path, {**settings, "api_key": "env:K"}, K=key).api_key == Secret(key)


def test_patterns_of_vendors_do_not_overlap() -> None:
    samples = [ANTHROPIC, OPENAI, GROQ, "sk-or-v1-x", "xai-x", "AIzax", "hf_x", "pplx-x", "nvapi-x", "csk-x", "ghp_x"]
    for key in samples:
        patterns = {row.key_pattern for row in ROWS.values() if row.key_pattern and re.fullmatch(row.key_pattern, key)}
        assert len(patterns) == 1, key


# --- where tokens come from -------------------------------------------------------------------------------------------


def test_vertex_is_told_by_the_variables_of_google(tmp_path: Path) -> None:
    (tmp_path / "google.json").write_text("{}")
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": f"{tmp_path}/google.json", "VERTEX_BASE_URL": "https://v.example/v1"}
    vertex = config.load(None, environ).providers["vertex"]
    assert vertex.service_account == Document("{}", f"file:{tmp_path}/google.json")
    assert vertex.service_account.hint() == f"file:{tmp_path}/google.json"


def test_azure_is_told_by_the_variables_of_entra(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("jwt")
    where = {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_DEPLOYMENT": "chat"}
    who = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}
    azure = config.load(None, where | who | {"AZURE_CLIENT_SECRET": "s"}).providers["azure_openai"]
    assert (azure.tenant_id, azure.client_id, azure.client_secret) == ("t", "c", Secret("s"))
    azure = config.load(None, where | who | {"AZURE_FEDERATED_TOKEN_FILE": f"{tmp_path}/token"}).providers[
        "azure_openai"
    ]
    assert azure.federated_token == Document("jwt")
    assert "azure_openai" not in config.load(None, where | who).providers


def test_bedrock_is_told_by_the_variables_of_aws(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("jwt")
    web = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": f"{tmp_path}/token", "AWS_REGION": "eu-west-1"}
    bedrock = config.load(None, web).providers["bedrock"]
    assert (bedrock.role_arn, bedrock.web_identity_token, bedrock.region) == (ROLE, Document("jwt"), "eu-west-1")
    assert bedrock.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    bedrock = config.load(None, web | AWS).providers["bedrock"]
    assert (bedrock.access_key_id, bedrock.role_arn) == (Secret("AKID"), ""), "an access key stands above it"


@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", "http://169.254.170.2/v2/x"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/x", "http://127.0.0.1/x"),
    ],
)
def test_a_container_says_where_its_credentials_are(tmp_path: Path, variable: str, value: str, url: str) -> None:
    given = {"kind": "bedrock", "ambient": True, "region": "us-east-1"}
    assert provider(tmp_path, given, **{variable: value}).token_url == url


def test_the_environment_opens_the_secrets_manager_where_it_is_used(tmp_path: Path) -> None:
    document = {"providers": {"openai": {"api_key": "aws-sm:x"}}}
    aws = load(tmp_path, document, **AWS).aws_secrets
    assert (aws.access_key_id, aws.region) == (Secret("AKID"), "us-east-1")
    assert load(tmp_path, {}, **AWS).aws_secrets.access_key_id is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "bedrock", "access_key_id": "env:A"}, "secret_access_key: expected the other half"),
        ({"kind": "bedrock", "access_key_id": "env:A", "secret_access_key": "env:A"}, "region: expected a region"),
        (
            {"kind": "bedrock", "role_arn": ROLE, "region": "us-east-1"},
            "role_arn: expected access_key_id, web_identity",
        ),
        ({"kind": "bedrock", "role_arn": "role/x"}, "role_arn: expected arn:aws:iam::123456789012:role/x"),
        ({"kind": "bedrock", "web_identity_token": "FILE", "region": "us-east-1"}, "role_arn: expected the role that"),
        ({"kind": "bedrock", "access_key_id": "aws-sm:x"}, "access_key_id: expected env:NAME or file:/path: only keys"),
        ({"kind": "azure_openai", "client_id": "c"}, "tenant_id: expected the id of Entra's tenant"),
        ({"kind": "azure_openai", "client_id": "c", "tenant_id": "a/../b"}, "tenant_id: expected the id of Entra's"),
        ({"kind": "azure_openai", "client_id": "c", "tenant_id": "t"}, "client_secret: expected a secret of the app"),
        ({"kind": "azure_openai", "client_secret": "aws-sm:x"}, "client_secret: expected env:NAME or file:/path: only"),
        ({"kind": "vertex", "service_account": "env:A"}, "service_account: expected file:/path"),
        ({"kind": "vertex", "service_account": "file:/nowhere"}, "service_account: expected /nowhere to be readable"),
        ({"kind": "vertex", "ambient": True, "token_url": "http://tokens.example"}, "token_url: expected an https URL"),
        (
            {"kind": "vertex", "ambient": True, "allow_plain_http": True, "token_url": "http://x"},
            "token_url: expected an",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path: Path, settings: Any, told: str) -> None:
    (tmp_path / "token").write_text("jwt")
    whole = {"base_url": "https://up.example", "models": ["m"], **settings}
    if "web_identity_token" in whole:
        whole["web_identity_token"] = f"file:{tmp_path}/token"
    assert f"providers.up.{told}" in "\n".join(problems(tmp_path, {"providers": {"up": whole}}, A="k"))


@pytest.mark.parametrize(
    ("aws", "told"),
    [
        ({}, "aws_secrets.access_key_id: expected access_key_id, web_identity_token or ambient"),
        ({"ambient": True}, "aws_secrets.region: expected a region"),
        ({"ambient": True, "region": "us-east-1", "url": "http://x"}, "aws_secrets.url: expected an https URL"),
        ({"access_key_id": "aws-sm:x"}, "aws_secrets.access_key_id: expected env:NAME or file:/path: only keys"),
    ],
)
def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path, aws: Any, told: str) -> None:
    document = {"providers": {"openai": {"api_key": "aws-sm:x"}}, "aws_secrets": aws}
    assert told in "\n".join(problems(tmp_path, document))


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://sts.amazonaws.com/", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]/x", True),
        ("http://localhost/x", True),
        ("http://metadata.google.internal/x", True),
        ("http://169.254.169.254/latest", True),
        ("http://169.254.170.2/x", True),
        ("http://169.254.1.1/x", False),
        ("http://metadata.google.internal.example/x", False),
        ("http://127.0.0.1.example/x", False),
        ("http://10.0.0.1/x", False),
        ("http://tokens.example", False),
        ("https://u@tokens.example", False),
        ("https:///x", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_where_secrets_may_travel(url: str, may: bool) -> None:
    assert may_have_secrets(url) == may


def test_a_reference_is_no_secret_and_reveals_none() -> None:
    reference = Reference("aws-sm:prod/x")
    assert (reference.hint(), reference.origin) == ("aws-sm:prod/x", "aws-sm:prod/x")
    assert reference != Reference("aws-sm:prod/y")
    with pytest.raises(LookupError):
        reference.reveal()


def test_versions_differ_by_reference(tmp_path: Path) -> None:
    texts = [{"providers": {"openai": {"api_key": f"aws-sm:{name}"}}} for name in ("a", "a", "b")]
    first, again, other = (config.version(load(tmp_path, text, **AWS)) for text in texts)
    assert first == again != other


@pytest.mark.parametrize(
    ("given", "region"),
    [
        ({"kind": "vertex", "base_url": f"{VERTEX}/locations/europe-west4/publishers/google"}, "europe-west4"),
        ({"kind": "vertex", "base_url": f"{VERTEX}/locations/global/publishers/google"}, "global"),
        ({"kind": "vertex", "base_url": f"{VERTEX}/locations/global/publishers/google", "region": "eu"}, "eu"),
        ({"kind": "bedrock", "base_url": "https://bedrock-runtime.eu-north-1.amazonaws.com"}, "eu-north-1"),
        ({"kind": "bedrock", "base_url": "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com"}, "us-gov-west-1"),
        ({"kind": "bedrock", "region": "eu-west-1"}, "eu-west-1"),
        ({"kind": "openai"}, ""),
        ({"kind": "groq", "region": "swedencentral"}, "swedencentral"),
    ],
)
def test_a_region_is_what_is_said_or_what_the_address_names(tmp_path: Path, given: dict[str, str], region: str) -> None:
    assert provider(tmp_path, {"api_key": "env:KEY", **given}, KEY="k" * 20).region == region


def test_what_names_no_region_is_told(tmp_path: Path) -> None:
    for given in ({"kind": "openai", "region": "EU West"}, {"kind": "bedrock", "ambient": True, "region": "europe"}):
        assert any("up.region: expected a region" in each for each in problems(tmp_path, {"providers": {"up": given}}))


# --- what a key looks like --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "provider", "warned"),
    [
        ({"ANTHROPIC_API_KEY": "hello"}, {}, ["providers.anthropic.api_key: it does not look like a key of anthropic"]),
        ({"ANTHROPIC_API_KEY": "sk-ant-api03-x"}, {}, []),
        # Older keys of OpenAI's have nothing that is theirs alone, newer ones of Google's begin otherwise.
        ({"OPENAI_API_KEY": "sk-0123456789"}, {}, []),
        ({"OPENAI_API_KEY": "0123456789"}, {}, ["providers.openai.api_key: it does not look like a key of openai"]),
        ({"GEMINI_API_KEY": "AQ.Ab8"}, {}, []),
        # There is nothing known of these.
        ({"COHERE_API_KEY": "hello"}, {}, []),
        # At an address of one's own anything may be a key; in a store, nobody has seen it.
        ({"GROQ_API_KEY": "hello"}, {"groq": {"base_url": "https://proxy.example/v1"}}, []),
        ({}, {"groq": {"api_key": "aws-sm:prod/groq"}, "aws": {}}, []),
        (
            {"K": "hello"},
            {"mine": {"kind": "groq", "api_keys": ["env:K"]}},
            ["providers.mine.api_keys[0]: it does not look like a key of groq"],
        ),
    ],
)
def test_a_key_that_does_not_look_like_one_is_used_with_a_warning(
    tmp_path: Path, environ: dict[str, str], provider: dict[str, Any], warned: list[str]
) -> None:
    path = tmp_path / "trunkline.yaml"
    aws = {"aws_secrets": {"region": "eu-west-1", "ambient": True}} if provider.pop("aws", None) is not None else {}
    path.write_text(yaml.safe_dump({"providers": provider, **aws}))
    assert [*config.warnings_of(config.load(path, environ))] == warned


async def test_health_tells_of_a_key_that_does_not_look_like_one(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {}, {"ANTHROPIC_API_KEY": "hello-canary"})
    async with gateway(settings) as running:
        health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
    (endpoint,) = next(each for each in health.providers if each.provider == "anthropic").endpoints
    assert endpoint.credential_reason == "not tried yet; it does not look like a key of anthropic"
    assert "canary" not in str(health)
