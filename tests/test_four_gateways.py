"""Four gateways as processes on one PostgreSQL and one Valkey: together they admit what one would, whoever dies."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import databases
import grpc
import pytest
from fleet import configuration, fleet, member
from keyed import PEPPER, bearing, make_key
from serving import reason
from valkeys import valkey

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.routing.tokens import count_tokens
from trunkline_server.state.identity.keyring import REMEMBERED
from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

FOUR, CALLERS, ROOM = 4, 64, 4
DOCUMENT: dict[str, Any] = {
    "server": {"grace": 1},
    "providers": {
        "mock": {},
        "stuck": {"kind": "scripted", "scripts": {"s": {"first_token": "10m"}}},
        "dear": {"kind": "scripted", "scripts": {"s": {"text": "word", "repeat": 80, "first_token": "50ms"}}},
    },
    # What goes in is free: a call is held for at exactly what may come out.
    "prices": [{"model": "*", "input": 0, "output": 1000}],
}
KEYED = {"server": {"grace": 1, "auth": "keys", "pepper": "env:PEPPER"}}
TOKENS = 100
# Nano-USD of a call's longest answer.
EACH = TOKENS * 10**6


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with databases.postgres_server() as server:
        yield server


async def new_key(url: str, role: str = "caller", **more: Any) -> str:
    database = await databases.migrated(open_database(url))
    try:
        return await make_key(database, role, **more)
    finally:
        await database.aclose()


def asking(model: str) -> pb.GenerateRequest:
    return pb.GenerateRequest(model=model, prompt="hello", config=pb.GenerationConfig(max_output_tokens=TOKENS))


@asynccontextmanager
async def four(tmp_path: Path, database: str, **document: Any) -> AsyncIterator[Sequence[GatewayServiceAsyncStub]]:
    async with fleet(configuration(tmp_path, database, {**DOCUMENT, **document}), FOUR) as members:
        yield [await each.connect() for each in members]


async def race(
    stubs: Sequence[GatewayServiceAsyncStub], request: pb.GenerateRequest, room: int, metadata: Any = None
) -> Counter[str]:
    """All callers at once, of whom nobody is answered: why they were refused, of more than `room` who were not."""
    barrier = asyncio.Barrier(CALLERS)

    async def one(number: int) -> str:
        await barrier.wait()
        try:
            await stubs[number % len(stubs)].Generate(request, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return reason(error)
        return "answered"

    running = {asyncio.create_task(one(number)) for number in range(CALLERS)}
    refused: Counter[str] = Counter()
    async with asyncio.timeout(60):
        while refused.total() < CALLERS - room:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            refused.update(task.result() for task in done)
    # Were it one more, it would be refused by now.
    if running:
        done, running = await asyncio.wait(running, timeout=0.5)
        refused.update(task.result() for task in done)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return refused


async def rows(database: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    while not await true():
        await asyncio.sleep(0.05)


async def test_of_64_callers_a_budget_pays_for_exactly_as_many_as_it_has_money_for(
    tmp_path: Path, postgres: str
) -> None:
    database, room = await databases.new_database(postgres), 23
    limit = f"{(room * EACH + EACH - 1) / 10**9:.9f}"
    async with four(tmp_path, database, budgets={"all": {"limit": limit, "period": "total"}}) as stubs:
        refused = await race(stubs, asking("stuck/s"), room)
        assert refused == {"BUDGET_EXHAUSTED": CALLERS - room}

        async def resolved() -> bool:
            return await rows(database, "SELECT COUNT(*) FROM budget_holds WHERE state = 0") == [(0,)]

        await until(resolved)
    assert await rows(database, "SELECT COUNT(*), MIN(amount), MAX(amount) FROM budget_holds") == [(room, EACH, EACH)]


async def test_of_64_callers_limits_admit_exactly_as_many_as_they_have_room_for(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of requests, of tokens, and of calls at once. A minute's share comes back within a minute: less than one here."""
    monkeypatch.setenv("PEPPER", PEPPER.decode())
    url = await databases.new_database(postgres)
    workspaces = {
        "requests": {"requests_per_minute": ROOM},
        "concurrency": {"concurrency": ROOM},
        "tokens": {"tokens_per_minute": ROOM * (TOKENS + count_tokens(asking("stuck/s")).tokens)},
    }
    keys = {name: bearing(await new_key(url, workspace=name)) for name in workspaces}
    async with valkey() as server:
        limits = {"caller_limits": {"workspaces": workspaces}, "valkey": {"url": server.url, "instances": FOUR}}
        async with four(tmp_path, url, **KEYED, **limits) as stubs:
            for name, key in keys.items():
                refused = await race(stubs, asking("stuck/s"), ROOM, key)
                assert refused == {"RATE_LIMITED": CALLERS - ROOM}, name


async def test_an_instance_and_the_valkey_are_killed_under_load(tmp_path: Path, postgres: str) -> None:
    """The bound of decision 35: what there is, what comes back meanwhile, and a part of what nobody had heard of.

    All of them hear of the limit all the time: nobody misses more than what was on its way.
    """
    limit, admitted, at = 300, Counter[str](), time.monotonic()
    async with valkey() as server:
        document = {
            "caller_limits": {"each_workspace": {"requests_per_minute": limit}},
            "valkey": {"url": server.url, "instances": FOUR},
        }
        path = configuration(tmp_path, await databases.new_database(postgres), {**DOCUMENT, **document})
        async with fleet(path, FOUR) as members:
            stubs = [await each.connect() for each in members]

            async def call_on(number: int) -> None:
                for _ in range(30):
                    said = await outcome(stubs[number % FOUR], asking("mock/mock-fast"))
                    admitted[said] += 1
                    if said == "answered" and admitted[said] == limit // 2:
                        server.kill()
                        members[0].process.kill()

            await asyncio.gather(*map(call_on, range(CALLERS)))
            passed = time.monotonic() - at
            for stub in stubs[1:]:
                health = await stub.HealthCheck(pb.HealthCheckRequest())
                assert health.state == pb.HealthCheckResponse.STATE_DEGRADED
                assert "Valkey" in health.limits.failing_reason
    assert set(admitted) == {"answered", "RATE_LIMITED", "gone"}
    assert limit // 2 < admitted["answered"] <= limit + limit / 60 * passed + CALLERS


async def outcome(stub: GatewayServiceAsyncStub, request: pb.GenerateRequest) -> str:
    try:
        await stub.Generate(request)
    except grpc.aio.AioRpcError as error:
        return reason(error) if error.trailing_metadata() else "gone"
    return "answered"


async def test_an_instance_is_killed_while_it_holds_money(tmp_path: Path, postgres: str) -> None:
    """Nobody gets more than there is, and what it held is resolved by whoever comes after it."""
    database, room = await databases.new_database(postgres), 40
    limit = f"{room * EACH / 10**9:.9f}"
    path = configuration(tmp_path, database, {**DOCUMENT, "budgets": {"all": {"limit": limit, "period": "total"}}})
    outcomes: Counter[str] = Counter()
    async with fleet(path, FOUR) as members:
        stubs = [await each.connect() for each in members]

        async def call_on(number: int) -> None:
            for _ in range(10):
                if (said := await outcome(stubs[number % FOUR], asking("dear/s"))) == "gone":
                    return
                outcomes[said] += 1
                if said == "answered" and outcomes[said] == room // 4:
                    members[0].process.kill()

        await asyncio.gather(*map(call_on, range(CALLERS)))
    async with member(path) as successor:

        async def resolved() -> bool:
            return await rows(database, "SELECT COUNT(*) FROM budget_holds WHERE state = 0") == [(0,)]

        await until(resolved)
        # Whoever was refused while the dead one held too much has gone: what it had not spent is there to be spent.
        stub = await successor.connect()
        while await outcome(stub, asking("dear/s")) == "answered":
            pass
    ((posted, overage),) = await rows(database, "SELECT posted, overage FROM budget_accounts")
    ((settled,),) = await rows(database, "SELECT SUM(posted)::bigint FROM budget_holds WHERE state = 1")
    assert posted == settled <= room * EACH
    assert overage == 0
    # The rest was not enough for another call.
    assert outcomes["BUDGET_EXHAUSTED"] > 0
    assert posted > (room - 1) * EACH


async def test_the_postgresql_is_killed_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent that no budget pays for, it is said why, nothing is lost, and it goes on when that is back."""
    outcomes, words, costs = Counter[str](), set[str | None](), 0
    monkeypatch.setenv("PEPPER", PEPPER.decode())
    with databases.mortal_postgres() as server:
        database = await databases.new_database(server.url)
        budgets = {"all": {"limit": 1000, "period": "total"}}
        path = configuration(tmp_path, database, {**DOCUMENT, **KEYED, "budgets": budgets})
        key = bearing(await new_key(database, "operator"))
        over = asyncio.Event()
        async with member(path) as running:
            stub = await running.connect()

            async def call_on() -> None:
                nonlocal costs
                while not over.is_set():
                    try:
                        answer = await stub.Generate(asking("dear/s"), metadata=key)
                    except grpc.aio.AioRpcError as error:
                        outcomes[reason(error)] += 1
                        words.add(error.details())
                    else:
                        outcomes["answered"] += 1
                        costs += answer.cost.total_nano_usd

            async def came(what: str, more: int) -> None:
                enough = outcomes[what] + more
                while outcomes[what] < enough:
                    await asyncio.sleep(0.01)

            calling = asyncio.gather(*(call_on() for _ in range(16)))
            await came("answered", 50)
            server.kill()
            await came("LEDGER_UNAVAILABLE", 50)
            answered, lost = outcomes["answered"], time.monotonic()
            # Until nobody is remembered any more who may call.
            while time.monotonic() < lost + REMEMBERED + 1:
                await came("LEDGER_UNAVAILABLE", 50)
            assert outcomes["answered"] == answered
            health = await stub.HealthCheck(pb.HealthCheckRequest(), metadata=key)
            assert health.state == pb.HealthCheckResponse.STATE_DEGRADED
            assert "connection to its database is lost" in health.ledger.failing_reason
            server.start()
            await came("answered", 50)
            over.set()
            await calling
            health = await stub.HealthCheck(pb.HealthCheckRequest(), metadata=key)
            assert health.state == pb.HealthCheckResponse.STATE_SERVING
            running.process.terminate()
            assert await running.process.wait() == 0
        async with member(path) as after:  # what stands under the name of the first is its own, and nobody uses it

            async def resolved() -> bool:
                return await rows(database, "SELECT COUNT(*) FROM budget_holds WHERE state = 0") == [(0,)]

            await until(resolved)
            after.process.terminate()
            assert await after.process.wait() == 0
        ((spent,),) = await rows(database, "SELECT posted FROM budget_accounts")
        ((paid,),) = await rows(database, "SELECT SUM(cost)::bigint FROM attempts WHERE outcome = 1")
        ((calls,),) = await rows(database, "SELECT COUNT(*) FROM calls WHERE result = 'success'")
        ((balance,),) = await rows(database, "SELECT SUM(posted)::bigint FROM budget_holds WHERE state = 1")
    assert set(outcomes) == {"answered", "LEDGER_UNAVAILABLE"}
    # Of the budget's money, or once nobody is remembered of the key.
    reasons = ("the ledger cannot be written to (", "gateway keys cannot be looked up (")
    assert all(str(each).startswith(reasons) for each in words), words
    # Some were answered by the provider and not told: that their end is written down could not be waited for.
    assert paid >= costs
    assert calls >= outcomes["answered"]
    assert spent == balance >= paid
