"""Signature Version 4: AWS's published examples, and requests that botocore 1.44.5 signed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from trunkline_server.providers.sigv4 import Credentials, Scope, Unsigned, sign
from trunkline_server.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

# AWS's own example key.
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PUBLISHED_AT = datetime(2015, 8, 30, 12, 36, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"
US = Scope("us-east-1", "service")


@dataclass
class Example:
    name: str
    url: str
    signed: str
    signature: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    scope: Scope = US
    token: str = ""
    now: datetime = NOW


EXAMPLES = [
    # The first five: from AWS's Signature Version 4 test suite and the IAM User Guide.
    Example(
        "get-vanilla",
        "https://example.amazonaws.com/",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        method="GET",
        now=PUBLISHED_AT,
    ),
    Example(
        "post-vanilla",
        "https://example.amazonaws.com/",
        "host;x-amz-date",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        now=PUBLISHED_AT,
    ),
    Example(
        "get-vanilla-query-order-key-case",
        "https://example.amazonaws.com/?Param2=value2&Param1=value1",
        "host;x-amz-date",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        method="GET",
        now=PUBLISHED_AT,
    ),
    Example(
        "post-x-www-form-urlencoded",
        "https://example.amazonaws.com/",
        "content-type;host;x-amz-date",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        headers={"Content-Type": FORM},
        body=b"Param1=value1",
        now=PUBLISHED_AT,
    ),
    Example(
        "the guide's ListUsers",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        "content-type;host;x-amz-date",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        method="GET",
        headers={"content-type": f"{FORM}; charset=utf-8"},
        scope=Scope("us-east-1", "iam"),
        now=PUBLISHED_AT,
    ),
    # From here on: botocore.
    Example(
        "a model",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse",
        "content-type;host;x-amz-date",
        "d6fab25489f2d1d6e7e4c0c1958bfd91870223d622e3a6a9b50ea162c4ccb559",
        headers={"content-type": "application/json"},
        body=b'{"messages":[]}',
        scope=Scope("us-east-1", "bedrock"),
    ),
    Example(
        "a profile's ARN and a session token",
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012"
        "%3Aapplication-inference-profile%2Fab12cd34ef56/converse-stream",
        "content-type;host;x-amz-date;x-amz-security-token",
        "a3133fb5bb71f7588f34c7db70f66ab2921e4c1a90bdbb9f15565d00e254beea",
        headers={"content-type": "application/json"},
        body='{"text":"Hei på deg 🚂"}'.encode(),
        scope=Scope("eu-central-1", "bedrock"),
        token="IQoJb3JpZ2luX2VjEXAMPLE//token==",
    ),
    Example(
        "an odd id at a port",
        "https://localhost:4566/model/a%20b%25c~d%2B%C3%A9%28%29/converse",
        "content-type;host;x-amz-date",
        "8e5b64926b1a0b368167a7073d468b33b867843fde1545cf49bcaf1f2c648afa",
        headers={"content-type": "application/json"},
        scope=Scope("us-gov-west-1", "bedrock"),
    ),
    Example(
        "a query out of order",
        "https://bedrock.us-west-2.amazonaws.com/foundation-models?byProvider=Anthropic&byOutputModality=TEXT&empty",
        "host;x-amz-date;x-amz-security-token",
        "fc7093a00de4df17ab855aefc9fb1589b0a482cac3015fc8dd5dbfb91e57888b",
        method="GET",
        scope=Scope("us-west-2", "bedrock"),
        token="tok",
    ),
    Example(
        "a header with spaces and the usual port",
        "https://secretsmanager.us-east-1.amazonaws.com:443/",
        "content-type;host;x-amz-date;x-amz-target",
        "edf765aa74590ccdee3d00b3d2c1ae11b8a4b443bb47a495972f0af12720694a",
        headers={"content-type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue  v1"},
        body=b'{"SecretId":"x"}',
        scope=Scope("us-east-1", "secretsmanager"),
    ),
    Example(
        "dots and empty segments",
        "https://example.com/a//b/./c/../d/",
        "host;x-amz-date",
        "2b6cd04f5d997a072acedf6364f423f123f6c611b88ae46e6f0e42873db47e7f",
        method="GET",
        scope=Scope("us-east-1", "execute-api"),
    ),
]


def signed(example: Example, **headers: str) -> dict[str, str]:
    request = Unsigned(example.method, example.url, {**example.headers, **headers}, example.body)
    token = Secret(example.token) if example.token else None
    return sign(request, Credentials(KEY, Secret(SECRET), token), example.scope, example.now)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples(example: Example) -> None:
    date = example.now.strftime("%Y%m%d")
    terms = f"{date}/{example.scope.region}/{example.scope.service}/aws4_request"
    expected = {
        "authorization": (
            f"AWS4-HMAC-SHA256 Credential={KEY}/{terms}, SignedHeaders={example.signed}, Signature={example.signature}"
        ),
        "x-amz-date": example.now.strftime("%Y%m%dT%H%M%SZ"),
    }
    assert signed(example) == expected | ({"x-amz-security-token": example.token} if example.token else {})


def test_what_proxies_may_change_is_not_signed() -> None:
    more = {"accept": "application/json", "user-agent": "x", "traceparent": "y", "x-amzn-trace-id": "z"}
    assert signed(EXAMPLES[5], **more) == signed(EXAMPLES[5])


def test_all_of_amazons_headers_are_signed() -> None:
    authorization = signed(EXAMPLES[5], **{"X-Amz-Note": "x"})["authorization"]
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-note," in authorization


def test_a_given_host_is_the_one_that_is_signed() -> None:
    assert signed(EXAMPLES[5], Host="other.example.com") != signed(EXAMPLES[5])
    assert signed(EXAMPLES[5], Host="bedrock-runtime.us-east-1.amazonaws.com") == signed(EXAMPLES[5])


def test_a_time_is_the_same_in_any_zone() -> None:
    request = Unsigned("GET", "https://[::1]:9000/", {}, b"")
    credentials = Credentials(KEY, Secret(SECRET))
    zone = timezone(timedelta(hours=5, minutes=30))
    assert sign(request, credentials, US, NOW) == sign(request, credentials, US, NOW.astimezone(zone))


def test_credentials_do_not_show_themselves() -> None:
    shown = repr(Credentials(KEY, Secret(SECRET), Secret("session-token")))
    assert SECRET not in shown
    assert "session-token" not in shown
