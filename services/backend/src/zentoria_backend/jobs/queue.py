"""The queue of jobs in PostgreSQL (procrastinate), and who works at them: the first worker of the gateway.

A job is a row in ``jobs`` first. The queue only says that somebody should look at it: what it loses, the sweeper gives
to it again. Who works at a job is said by that row alone, which a worker holds while it beats
(:func:`zentoria_backend.jobs.service.begin`). The queue's own ``lock`` is not used: a row of a worker that died would
hold it, and with its ``queueing_lock`` taken by a later one neither could ever be worked at
(https://github.com/procrastinate-org/procrastinate/issues/1446).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import procrastinate
import psycopg
import sqlalchemy
import structlog
from procrastinate.builtin_tasks import remove_old_jobs
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, ProcrastinateException
from procrastinate.jobs import Status
from pydantic import SecretStr
from zentoria_common.problems import Problem, Unavailable
from zentoria_common.tasks import PATIENCE, ended

from zentoria_backend.settings import Settings

if TYPE_CHECKING:
    from zentoria_backend.services import Services

Handler = Callable[["Services", int, UUID], Awaitable[None]]
"""Works at one job of a user. It may be called again for what it has done already."""

Chore = Callable[["Services", int, UUID], Awaitable[None]]
"""Something small that nobody waits for, and that no row in ``jobs`` tells of. It may be called again."""

UPLOADS, DOCUMENTS = "default", "documents"
"""Queues. Documents take minutes; they have workers of their own, so that no upload waits for one."""
CONCURRENCY: Mapping[str, int] = {UPLOADS: 2, DOCUMENTS: 2}
"""Jobs of each queue at which one process works."""
MAX_ATTEMPTS = 40
"""Tries while something that a job needs is away: with growing pauses, about an hour."""
MAX_FAULTS = 3
"""Tries where a job fails by itself."""
_log = structlog.stdlib.get_logger("zentoria_backend.jobs")


class Queue:
    """Gives jobs to workers, and is one while :meth:`run` is entered.

    Args:
        settings: where PostgreSQL itself is: LISTEN needs a session of its own, which PgBouncer does not give.
        password: of ``settings.database_user``.
        handlers: what works at which kind of job.
        works: whether this process works at jobs; of several workers of the gateway, the first does.
        queues: in which queue each kind of job stands, where it is not the one of uploads.
        chores: what works at which chore.
    """

    def __init__(
        self,
        settings: Settings,
        password: SecretStr,
        handlers: Mapping[str, Handler],
        *,
        works: bool = True,
        queues: Mapping[str, str] | None = None,
        chores: Mapping[str, Chore] | None = None,
    ) -> None:
        self._settings = settings
        self._handlers = handlers
        self._works = works
        self._workers: set[asyncio.Task[None]] = set()
        self._at_work = 0
        self._queues = dict(queues or {})
        self._chores = dict(chores or {})
        self._open = False
        self._services: Services | None = None
        connector = procrastinate.PsycopgConnector(
            min_size=1,
            max_size=sum(CONCURRENCY.values()) + 4,
            timeout=settings.dependency_timeout,
            kwargs={
                "host": settings.database_host,
                "port": settings.database_direct_port,
                "dbname": settings.database_name,
                "user": settings.database_user,
                "password": password.get_secret_value(),
                "connect_timeout": max(2, round(settings.dependency_timeout)),
                "application_name": "zentoria-backend-jobs",
            },
        )
        self.app = procrastinate.App(connector=connector)
        retry = procrastinate.RetryStrategy(max_attempts=MAX_ATTEMPTS, linear_wait=5)
        self._task = self.app.task(name="work", retry=retry, pass_context=True)(self._counted(self._work))
        self._chore = self.app.task(name="chore", retry=retry, pass_context=True)(self._counted(self._do))
        # Beside what it does, it keeps the worker whole: without any periodic task procrastinate stops to watch over
        # its heartbeat and listener at once (https://github.com/procrastinate-org/procrastinate/issues/1597).
        self.app.periodic(cron="17 3 * * *")(self.app.task(name="tidy", pass_context=True)(_tidy))

    async def chore(self, name: str, user_id: int, one: UUID) -> bool:
        """Ask for a chore to be done some time. False: the queue cannot be reached."""
        if not self._open:
            return False
        lock = f"{name}:{one}"
        try:
            await self._chore.configure(queue=DOCUMENTS, queueing_lock=lock).defer_async(
                name=name, user_id=user_id, one=str(one)
            )
        except AlreadyEnqueued:
            return True
        except (ProcrastinateException, psycopg.Error, OSError) as error:
            _log.warning("chore is not done", error_type=type(error).__qualname__)
            return False
        return True

    async def defer(self, user_id: int, job_id: UUID, kind: str = "") -> bool:
        """Ask for somebody to work at a job. False: the queue cannot be reached; the sweeper asks again.

        Args:
            user_id: whose it is.
            job_id: which one.
            kind: of it, where that is known; else whoever takes it up gives it to the right queue.
        """
        if not self._open:
            return False
        try:
            await self._ask(user_id, str(job_id), kind)
        except AlreadyEnqueued:
            return True
        except (ProcrastinateException, psycopg.Error, OSError) as error:
            _log.warning("job waits for the sweeper", error_type=type(error).__qualname__)
            return False
        return True

    async def _ask(self, user_id: int, job_id: str, kind: str) -> None:
        queue = self._queues.get(kind, UPLOADS)
        await self._task.configure(queue=queue, queueing_lock=job_id).defer_async(user_id=user_id, job_id=job_id)

    async def forget_stalled(self) -> int:
        """Remove from the queue what workers had taken that died; returns how much.

        The jobs themselves are the sweeper's, as those of every worker that is silent.

        Raises:
            ConnectorException: the queue cannot be reached.
        """
        if not self._open:
            return 0
        manager, gone = self.app.job_manager, 0
        for one in await manager.get_stalled_jobs(seconds_since_heartbeat=self._settings.job_stalled_seconds):
            try:
                await manager.finish_job(one, Status.FAILED, delete_job=True)
                gone += 1
            except ConnectorException as error:
                if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                    raise
                # it is over already: its worker was only late, or another process was faster
        return gone

    @contextlib.asynccontextmanager
    async def run(self, services: Services) -> AsyncGenerator[None]:
        """Take jobs, and work at them, while the block runs. A database that is away is waited for."""
        self._services = services
        worker = asyncio.create_task(self._serve(), name="jobs")
        try:
            yield
        finally:
            await ended(worker, patience=self._settings.shutdown_timeout)
            await self._end_workers()
            await self._close()

    async def opened(self) -> None:
        """Connect, where that is not done; for tests and for the worker."""
        if not self._open:
            await self.app.open_async()
            self._open = True

    async def _close(self) -> None:
        self._open = False
        with contextlib.suppress(Exception):
            await self.app.close_async()

    async def _serve(self) -> None:
        while True:
            try:
                await self.opened()
                await self._catch_up()
                if not self._works:
                    await asyncio.Event().wait()
                for queue in CONCURRENCY:
                    self._workers.add(asyncio.create_task(self._serve_queue(queue), name=f"jobs-{queue}"))
                done, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
            except asyncio.CancelledError:
                if stopping():
                    raise
                _log.warning("worker of jobs begins again", error_type="CancelledError")
            except Exception as error:  # whatever it is, jobs go on when it is over
                if stopping():
                    raise asyncio.CancelledError from error
                _log.warning("worker of jobs begins again", error_type=type(error).__qualname__)
            await self._end_workers()
            await self._close()
            await asyncio.sleep(random.uniform(2, 5))  # noqa: S311 - so that not all come at once

    async def _end_workers(self) -> None:
        """End the queue's workers. While jobs are at work they have their time; else nothing is worth waiting for."""
        while pending := {one for one in self._workers if not one.done()}:
            for one in pending:
                one.cancel()
            await asyncio.wait(pending, timeout=self._settings.shutdown_timeout if self._at_work else PATIENCE)
        for one in self._workers:
            if not one.cancelled():
                one.exception()
        self._workers.clear()

    def _counted(self, task: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """The task, counted while it is at work."""

        @functools.wraps(task)
        async def counted(context: procrastinate.JobContext, **what: Any) -> None:
            self._at_work += 1
            try:
                await task(context, **what)
            finally:
                self._at_work -= 1

        return counted

    async def _catch_up(self) -> None:
        """Ask for the jobs that were written down while the queue could not be reached."""
        services = self._services
        if services is None:
            return
        due = sqlalchemy.text("SELECT user_id, id FROM rows_due('jobs', :before, 1000)")
        async with services.database.session() as session:
            rows = (await session.execute(due, {"before": services.clock()})).all()
        for user_id, job_id in rows:
            try:
                await self.defer(user_id, job_id)
            except Exception as error:  # one job hinders no other: the sweeper comes by again
                _log.warning("a job is asked for later", error_type=type(error).__qualname__)

    async def _serve_queue(self, queue: str) -> None:
        await self.app.run_worker_async(
            queues=[queue],
            concurrency=CONCURRENCY[queue],
            install_signal_handlers=False,
            delete_jobs="successful",
            shutdown_graceful_timeout=self._settings.shutdown_timeout / 2,
            update_heartbeat_interval=self._settings.job_stalled_seconds / 3,
            stalled_worker_timeout=self._settings.job_stalled_seconds,
        )

    async def _do(self, context: procrastinate.JobContext, *, name: str, user_id: int, one: str) -> None:
        """Do a chore. What it needs and is away is waited for; whatever else fails is written into the log."""
        services = self._services
        assert services is not None  # noqa: S101 -- for the type: workers run within `run`
        if name not in self._chores:
            return
        try:
            await self._chores[name](services, user_id, UUID(one))
        except Problem as problem:
            if problem.status == 503 and context.job.attempts + 1 < MAX_ATTEMPTS:
                raise
            _log.warning("chore fails", error=name, error_type=problem.kind, status=problem.status)

    async def _work(self, context: procrastinate.JobContext, *, user_id: int, job_id: str) -> None:
        """Work at one job. What it needs and is away is waited for; what it cannot do is written down."""
        from zentoria_backend.jobs import service

        services = self._services
        assert services is not None  # noqa: S101 -- for the type: workers run within `run`
        one = UUID(job_id)
        kind = await service.kind_of(services, user_id, one)
        if kind is None or kind not in self._handlers:
            return
        if self._queues.get(kind, UPLOADS) != context.job.queue:
            # given out again by the sweeper, which does not know the kind
            await self._ask(user_id, job_id, kind)
            return
        number = await service.begin(services, user_id, one)
        if number is None:
            return
        try:
            async with _beating(services, user_id, one, number):
                await self._handlers[kind](services, user_id, one)
        except Unavailable as problem:
            if context.job.attempts + 1 < MAX_ATTEMPTS:
                await service.hand_back(services, user_id, one, number)
                raise
            await service.fail(services, user_id, one, service.described(problem))
        except Problem as problem:
            await service.fail(services, user_id, one, service.described(problem))
        except asyncio.CancelledError:  # the gateway stops
            await service.hand_back(services, user_id, one, number)
            raise
        except Exception as error:
            _log.exception("job fails", error_type=type(error).__qualname__)
            if context.job.attempts + 1 < MAX_FAULTS:
                await service.hand_back(services, user_id, one, number)
                raise
            await service.fail(
                services, user_id, one, service.described(Problem(500, "the job failed by a fault of its own"))
            )


def stopping() -> bool:
    """Whether somebody told this task to stop; else a cancellation came from what it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextlib.asynccontextmanager
async def _beating(services: Services, user_id: int, job_id: UUID, number: int) -> AsyncGenerator[None]:
    """Say again and again while the block runs that the job is worked at."""
    from zentoria_backend.jobs import service

    async def beat() -> None:
        while True:
            await asyncio.sleep(services.settings.job_stalled_seconds / 3)
            try:
                await service.beat(services, user_id, job_id, number)
            except Exception as error:  # silent for long, the job is tried again by another: its steps allow that
                _log.warning("a job at work could not say so", error_type=type(error).__qualname__)

    task = asyncio.create_task(beat(), name="beat")
    try:
        yield
    finally:
        await ended(task)


async def _tidy(context: procrastinate.JobContext, *, timestamp: int) -> None:
    """Remove from the queue what ended badly; the jobs' own rows say why."""
    await remove_old_jobs(context, max_hours=24, remove_failed=True, remove_cancelled=True, remove_aborted=True)
