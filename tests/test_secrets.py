"""No secret shows itself: not in settings, not in errors, not in the version."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from example import whole_example

from trunkline_server import config
from trunkline_server.config import ConfigError
from trunkline_server.settings import Document, Header, Secret, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CANARY = "sk-canary-0123456789abcdef0123456789abcdef"


def everything_said(error: BaseException) -> str:
    """All that a log or a terminal may show of an exception, and of those behind it that are not shown."""
    behind = (error.__cause__, error.__context__)
    said = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error), *map(repr, behind)]
    return "\n".join(said)


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "trunkline.yaml"
    path.write_text(text)
    return config.load(path, environ)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_do_not_show_their_secrets(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(CANARY + "\n")
    text = f"""
        providers:
          openai: {{headers: {{x-literal: "{CANARY}", x-env: env:CANARY, x-file: "file:{tmp_path}/key"}}}}
          other: {{kind: openai, api_key: "file:{tmp_path}/key"}}
          third: {{kind: openai, api_key: env:CANARY, api_keys: [env:CANARY, "file:{tmp_path}/key"]}}
          fourth: {{kind: vertex, base_url: "https://up.example", service_account: "file:{tmp_path}/key"}}
          fifth:
            kind: azure_openai
            base_url: https://up.example
            default_model: m
            tenant_id: t
            client_id: c
            client_secret: env:CANARY
            federated_token: "file:{tmp_path}/key"
        aws_secrets:
          {{access_key_id: env:CANARY, secret_access_key: env:CANARY, session_token: env:CANARY, region: us-east-1,
            web_identity_token: "file:{tmp_path}/key", role_arn: "arn:aws:iam::123456789012:role/x"}}
    """
    settings = load(tmp_path, text, OPENAI_API_KEY=CANARY, CANARY=CANARY)
    providers, aws = settings.providers, settings.aws_secrets
    secrets = [
        *providers["openai"].headers.values(),
        *(key for name in ("openai", "other", "third") for key in providers[name].all_keys),
        providers["fourth"].service_account,
        providers["fifth"].client_secret,
        providers["fifth"].federated_token,
        *(aws.access_key_id, aws.secret_access_key, aws.session_token, aws.web_identity_token),
    ]
    assert [secret and secret.reveal().strip() for secret in secrets] == [CANARY] * 15
    assert CANARY not in str([secret and secret.hint() for secret in secrets])

    forms: list[Callable[[Settings], object]] = [
        str,
        repr,
        "{}".format,
        "{!r:>9}".format,
        config.version,
        msgspec.structs.asdict,
        msgspec.structs.astuple,
    ]
    assert not [form for form in forms if CANARY in str(form(settings))]
    assert CANARY.encode() not in pickle.dumps(settings)
    assert CANARY not in repr(copy.deepcopy(settings))
    with pytest.raises(TypeError) as caught:
        msgspec.json.encode(settings)
    assert CANARY not in everything_said(caught.value)


@pytest.mark.parametrize("secret", [Secret(CANARY), Header(CANARY), Document(CANARY)])
def test_a_secret_shows_itself_to_reveal_alone(secret: Secret) -> None:
    assert secret.reveal() == CANARY
    assert CANARY not in f"{secret} {secret!r} {secret!s:>9} {json.dumps([secret], default=repr)} {[secret]}"
    assert secret == Secret(CANARY)
    assert secret != Secret("other")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        # Where it does not belong.
        "providers: {openai: {api_key: CANARY}}",
        "providers: {openai: {api_key: {env: CANARY}}}",
        "providers: {openai: {api_key: [CANARY]}}",
        "providers: {openai: {api_key: 'file:CANARY'}}",
        "providers: {openai: {api_key: 'env:CANARY'}}",
        "providers: {openai: {api_keys: CANARY}}",
        "providers: {openai: {api_keys: [CANARY]}}",
        "providers: {openai: {api_keys: [[CANARY]]}}",
        "providers: {openai: {api_key: 'vault:CANARY'}}",
        "providers: {openai: {service_account: CANARY}}",
        "providers: {openai: {service_account: 'env:CANARY'}}",
        "providers: {openai: {web_identity_token: 'file:CANARY'}}",
        "providers: {openai: {client_secret: CANARY}}",
        "providers: {openai: {role_arn: CANARY}}",
        "providers: {openai: {token_url: 'http://CANARY@x'}}",
        "aws_secrets: {secret_access_key: CANARY}",
        "aws_secrets: {url: 'http://CANARY'}",
        "aws_secrets: CANARY",
        "providers: {openai: CANARY}",
        "providers: CANARY",
        "providers: [CANARY]",
        "CANARY",
        "- CANARY",
        "key: CANARY",
        "providers: {openai: {key: CANARY}}",
        "providers: {openai: {max_connections: CANARY}}",
        "providers: {openai: {base_url: 'https://user:CANARY@example.test'}}",
        "providers: {openai: {base_url: 'https://example.test/?key=CANARY'}}",
        "providers: {openai: {headers: CANARY}}",
        "providers: {openai: {headers: ['Authorization: Bearer CANARY']}}",
        "providers: {openai: {headers: {'Authorization: Bearer CANARY'}}}",
        "providers: {openai: {headers: {authorization: [CANARY]}}}",
        'providers: {openai: {headers: {authorization: "Bearer CANARY\\n"}}}',
        "default_model: CANARY",
        "aliases: {a: CANARY}",
        # Where YAML stumbles over it, and would quote it.
        "api_key: *CANARY",
        "api_key: !CANARY x",
        "api_key: !CANARY",
        "api_key: !a!CANARY x",
        "api_key: &CANARY a\nb: &CANARY c",
        'api_key: "CANARY',
        "api_key: 'CANARY\n",
        "api_key: CANARY: b",
        "api_key: CANARY\n CANARY: b",
        "api_key: @CANARY",
        "api_key: {CANARY",
        "api_key: !!int CANARY",
        "api_key: !!timestamp CANARY",
        "%YAML CANARY\n---\n",
        "? [CANARY]\n: b",
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text.replace("CANARY", CANARY))
    assert CANARY not in everything_said(caught.value).replace(f"env:{CANARY}", "")


@pytest.mark.parametrize("value", [f"{CANARY}\n{CANARY}", f"{CANARY}\x00", f"{CANARY} x", f"{CANARY}é"])
def test_a_secret_that_cannot_be_sent_is_refused_and_not_shown(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"OPENAI_API_KEY": value})
    assert "OPENAI_API_KEY: expected env:OPENAI_API_KEY to hold one line" in str(caught.value)
    assert CANARY not in everything_said(caught.value)

    (tmp_path / "key").write_text(value)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"providers: {{openai: {{api_key: 'file:{tmp_path}/key'}}}}")
    assert f"expected file:{tmp_path}/key to hold one line" in str(caught.value)
    assert CANARY not in everything_said(caught.value)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value, whole sections included."""
    if path:
        yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


FAST = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def said_of(tmp_path: Path, tree: Any, path: tuple[Any, ...], environ: dict[str, str]) -> str:
    """What is said when the canary stands at this path. Empty = that is no error."""
    whole = node = copy.deepcopy(tree)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = CANARY
    try:
        load(tmp_path, yaml.dump(whole, Dumper=FAST), **environ)
    except ConfigError as error:
        return everything_said(error)
    return ""


def test_no_error_shows_a_value_wherever_the_secret_was_put(tmp_path: Path) -> None:
    text, environ = whole_example(tmp_path)
    tree = yaml.safe_load(text)
    said = {path: said_of(tmp_path, tree, path, environ) for path in leaves(tree)}
    assert [path for path, words in said.items() if CANARY in words] == []
    assert len([words for words in said.values() if words]) > 40


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sk-literal", "env:NAME or file:/path, or a name in a store such as aws-sm:NAME: the secret itself"),
        ("123", "env:NAME or file:/path"),
        ("'env:'", "env:NAME or file:/path"),
        ("env:A-B", "env:NAME or file:/path"),
        ('"env:KEY\\n"', "env:NAME or file:/path"),
        ("file:relative", "env:NAME or file:/path"),
        ("${KEY}", "env:NAME or file:/path"),
        ("env:UNSET", "env:UNSET to be set"),
        ("env:EMPTY", "env:EMPTY to be set"),
        ("file:/nowhere/key", "/nowhere/key to be readable: No such file or directory"),
        ("file:/", "env:NAME or file:/path"),
    ],
)
def test_a_reference_that_cannot_be_followed(tmp_path: Path, written: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"providers:\n  openai:\n    api_key: {written}", EMPTY="", KEY="k")
    (problem,) = caught.value.problems
    assert problem.path == "providers.openai.api_key"
    assert problem.expected.startswith(expected)


@pytest.mark.parametrize(("content", "secret"), [("k", "k"), ("k\n", "k"), ("k\r\n", "k"), ("\ufeffk", "k")])
def test_a_secret_from_a_file(tmp_path: Path, content: str, secret: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8")
    settings = load(tmp_path, f"providers: {{openai: {{api_key: 'file:{tmp_path}/key'}}}}")
    assert settings.providers["openai"].api_key == Secret(secret)


def test_a_secret_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe" + CANARY.encode())
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"providers: {{openai: {{api_key: 'file:{tmp_path}/key'}}}}")
    assert "it is not UTF-8 text" in str(caught.value)
    assert "canary" not in everything_said(caught.value)


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"providers: {{openai: {{headers: {{a: 'file:{tmp_path}/empty'}}}}}}")
    assert f"openai.headers.a: expected file:{tmp_path}/empty to hold one line" in str(caught.value)


def test_a_header_is_text_or_a_reference(tmp_path: Path) -> None:
    settings = load(tmp_path, "providers: {openai: {headers: {a: env:A, b: 'Bearer x', c: ''}}}", A="Bearer y")
    headers = settings.providers["openai"].headers
    assert {name: header.reveal() for name, header in headers.items()} == {"a": "Bearer y", "b": "Bearer x", "c": ""}
