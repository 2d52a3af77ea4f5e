"""Jobs: what dead workers, a broken queue and other jobs do to one, it is worked at once more, and ends."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from gateway_kit import AuthService, Person, World
from real_servers import RedisServer
from sqlalchemy import update
from zentoria_backend.app import create_app
from zentoria_backend.jobs import service
from zentoria_backend.jobs.queue import Handler, Queue
from zentoria_backend.jobs.sweep import sweep
from zentoria_backend.services import Services
from zentoria_common.problems import Unavailable
from zentoria_schema.core import Job as Row
from zentoria_schema.embedded import PostgresServer

NOW = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
"""The gateway's clock in these tests: what is silent and what is not depends on no machine."""
LONG_AGO = NOW - datetime.timedelta(hours=1)
PATIENCE = 120.0


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer, core_database: str, redis_server: RedisServer) -> Iterator[World]:
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        yield World(postgres_server, core_database, redis_server, AuthService(), admin)


@pytest.fixture
def person(world: World) -> Person:
    world.admin.execute("delete from jobs")
    world.admin.execute("delete from procrastinate.procrastinate_jobs")
    return world.person()


@dataclasses.dataclass
class Work:
    """The one kind of job of these tests: what it does, and how often it was begun."""

    does: Callable[[Services, int, uuid.UUID], Awaitable[None]] | None = None
    begun: list[uuid.UUID] = dataclasses.field(default_factory=list)

    async def __call__(self, services: Services, user_id: int, job_id: uuid.UUID) -> None:
        self.begun.append(job_id)
        if self.does is not None:
            await self.does(services, user_id, job_id)
        async with services.database.session(user_id) as session:
            await session.execute(update(Row).where(Row.id == job_id).values(state="done"))


def made(world: World, handler: Handler, **changes: Any) -> Services:
    services = world.services(**{"sweep_seconds": 3600.0} | changes)
    queue = Queue(services.settings, world.secrets.database_password, {"test": handler})
    return dataclasses.replace(services, jobs=queue, clock=lambda: NOW)


@pytest_asyncio.fixture
async def elsewhere(world: World) -> AsyncIterator[Services]:
    """Another gateway, whose worker does not run."""
    services = made(world, Work())
    await services.jobs.opened()
    yield services
    await services.jobs.app.close_async()
    await services.close()


def running(services: Services) -> Any:
    app = create_app(services.settings, services, ())
    return app.router.lifespan_context(app)


def job(world: World, person: Person, **columns: Any) -> uuid.UUID:
    values = {"user_id": person.id, "kind": "test", "created_at": LONG_AGO, **columns}
    row = world.admin.execute(
        f"insert into jobs ({', '.join(values)}) values ({', '.join(['%s'] * len(values))}) returning id",  # noqa: S608 - a test's own names
        list(values.values()),
    ).fetchone()
    assert row is not None
    return uuid.UUID(str(row[0]))


def row_of(world: World, one: uuid.UUID) -> tuple[Any, ...]:
    row = world.admin.execute("select state, attempts, heartbeat_at, error from jobs where id = %s", [one]).fetchone()
    assert row is not None
    return row


async def ask(services: Services, person: Person, one: uuid.UUID) -> None:
    """Put it into the queue, as soon as that is open."""
    deadline = time.monotonic() + PATIENCE
    while not await services.jobs.defer(person.id, one):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.asyncio
@pytest.mark.parametrize("worker", ["dead", "forgotten", "alive"])
@pytest.mark.parametrize("asked_again", [True, False])
async def test_a_job_that_a_worker_took_and_left_is_worked_at_by_another(
    world: World, person: Person, elsewhere: Services, worker: str, asked_again: bool
) -> None:
    """Killed at work; or alive, when the database was away as it would have said that it ended."""
    one = job(world, person, state="running", attempts=1, heartbeat_at=LONG_AGO)
    manager = elsewhere.jobs.app.job_manager
    assert await elsewhere.jobs.defer(person.id, one)
    number = await manager.register_worker()
    taken = await manager.fetch_job(queues=None, worker_id=number)
    assert taken is not None
    workers = "procrastinate.procrastinate_workers"
    if worker == "dead":
        world.admin.execute(f"update {workers} set last_heartbeat = '2026-01-01' where id = %s", [number])  # noqa: S608
    elif worker == "forgotten":
        world.admin.execute(f"delete from {workers} where id = %s", [number])  # noqa: S608
    if asked_again:  # the sweeper came before it was known that the worker is dead
        assert await elsewhere.jobs.defer(person.id, one)
    work = Work()
    async with running(made(world, work, sweep_seconds=0.1)):
        await until(lambda: row_of(world, one)[0] == "done")
        assert work.begun == [one]
        if worker != "alive":  # and nothing of it stays in the queue
            await until(lambda: not rows(world))


def rows(world: World) -> list[tuple[Any, ...]]:
    return world.admin.execute("select id, status from procrastinate.procrastinate_jobs").fetchall()


@pytest.mark.asyncio
async def test_whatever_one_job_does_to_the_sweeper_the_others_are_swept_now_and_later(
    world: World, person: Person
) -> None:
    bad, good = job(world, person), job(world, person)
    work = Work()
    services = made(world, work, sweep_seconds=0.05)
    real, tried = services.jobs.defer, []

    async def broken(user_id: int, job_id: uuid.UUID) -> bool:
        tried.append(job_id)
        if job_id == bad:
            raise KeyError("nobody thought of this")
        return await real(user_id, job_id)

    async def worse() -> int:
        raise asyncio.CancelledError

    services.jobs.defer = broken  # type: ignore[method-assign] # a fault that nobody thought of
    forget = services.jobs.forget_stalled
    async with running(services):
        await until(lambda: row_of(world, good)[0] == "done")
        assert bad in tried and work.begun == [good]
        services.jobs.forget_stalled = worse  # type: ignore[method-assign] # nor of this
        await asyncio.sleep(0.3)
        services.jobs.defer, services.jobs.forget_stalled = real, forget  # type: ignore[method-assign] # as it was
        world.admin.execute("update jobs set heartbeat_at = %s where id = %s", [LONG_AGO, bad])
        await until(lambda: row_of(world, bad)[0] == "done")


@pytest.mark.asyncio
async def test_a_job_at_work_says_so_and_is_given_to_nobody_else(
    world: World, person: Person, elsewhere: Services
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(*_: object) -> None:
        begun.set()
        await go_on.wait()

    work = Work(wait)
    one = job(world, person)
    services = made(world, work, job_stalled_seconds=3.0)
    async with running(services):
        await ask(services, person, one)
        await asyncio.wait_for(begun.wait(), PATIENCE)
        world.admin.execute("update jobs set heartbeat_at = %s where id = %s", [LONG_AGO, one])
        await until(lambda: row_of(world, one)[2] == NOW)  # it says nothing itself: its worker does
        assert (await sweep(elsewhere))["jobs"] == 0
        assert await service.begin(services, person.id, one) is None  # whoever is asked to look at it leaves it
        go_on.set()
        await until(lambda: row_of(world, one)[0] == "done")
    assert work.begun == [one]


@pytest.mark.asyncio
async def test_what_a_job_needs_is_away_it_waits_and_is_not_counted_as_a_death(world: World, person: Person) -> None:
    seen: list[tuple[Any, ...]] = []

    async def away_once(services: Services, user_id: int, job_id: uuid.UUID) -> None:
        seen.append(row_of(world, job_id)[:2])
        if len(seen) == 1:
            raise Unavailable("s3")

    work = Work(away_once)
    one = job(world, person)
    services = made(world, work)
    async with running(services):
        await ask(services, person, one)
        await until(lambda: row_of(world, one)[0] == "done")
    assert seen == [("running", 1), ("running", 1)]


@pytest.mark.asyncio
async def test_a_gateway_that_stops_hands_its_jobs_back(world: World, person: Person) -> None:
    begun = asyncio.Event()

    async def for_ever(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    one = job(world, person)
    services = made(world, Work(for_ever), shutdown_timeout=1.0)
    async with running(services):
        await ask(services, person, one)
        await asyncio.wait_for(begun.wait(), PATIENCE)
    assert row_of(world, one)[:2] == ("queued", 0)
    work = Work()
    async with running(made(world, work)):  # nobody sweeps: the queue has it still
        await until(lambda: row_of(world, one)[0] == "done")


@pytest.mark.asyncio
async def test_a_job_of_which_workers_die_is_given_up(world: World, person: Person, elsewhere: Services) -> None:
    ill = job(world, person, state="running", attempts=service.MAX_DEATHS, heartbeat_at=LONG_AGO)
    well = job(world, person, state="running", attempts=service.MAX_DEATHS - 1, heartbeat_at=LONG_AGO)
    assert (await sweep(elsewhere))["jobs"] == 1
    state, _, _, error = row_of(world, ill)
    assert (state, error["type"]) == ("failed", "/problems/worker-died")
    assert row_of(world, well)[:3] == ("queued", service.MAX_DEATHS - 1, NOW)


@pytest.mark.asyncio
async def test_a_worker_whose_heartbeat_ends_begins_again(world: World, person: Person) -> None:
    """Else others take it for dead, and it would go on with neither heartbeat nor notifications."""
    services = made(world, Work(), job_stalled_seconds=1.0)
    manager = services.jobs.app.job_manager
    real, failed = manager.update_heartbeat, asyncio.Event()

    async def once(worker_id: int) -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("a database that is away, or any other fault")
        await real(worker_id)

    manager.update_heartbeat = once  # type: ignore[method-assign] # a fault
    newest = "select coalesce(max(id), 0) from procrastinate.procrastinate_workers"
    async with running(services):
        await until(failed.is_set)
        before = world.admin.execute(newest).fetchone()
        await until(lambda: world.admin.execute(newest).fetchone() not in (before, (0,)))
