"""A call that the gateway cannot take just now is asked again, when and as often as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from clients.test_client_errors import failure, info
from grpc import StatusCode

from trunkline_client import AllProvidersFailed

if TYPE_CHECKING:
    from clients.conftest import Caller, FakeGateway


@pytest.mark.parametrize("method", ["generate", "model"])
@pytest.mark.parametrize(("pushback", "asked"), [("1", 4), ("-1", 1)])
async def test_the_gateway_says_whether_it_is_asked_again(
    method: str, pushback: str, asked: int, gateway: FakeGateway, caller: Caller
) -> None:
    gateway.failure = failure(StatusCode.UNAVAILABLE, info("ALL_PROVIDERS_FAILED"), pushback=pushback)
    with pytest.raises(AllProvidersFailed):
        await caller.call(method, "hi")
    assert len(gateway.requests) == asked


async def test_other_failures_are_not_asked_again(gateway: FakeGateway, caller: Caller) -> None:
    gateway.failure = failure(StatusCode.INTERNAL, info("ALL_PROVIDERS_FAILED"), pushback="1")
    with pytest.raises(AllProvidersFailed):
        await caller.call("generate", "hi")
    assert len(gateway.requests) == 1
