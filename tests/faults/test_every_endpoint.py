"""Every endpoint that Zentoria calls, and every fault: sent again where that is safe, else told clearly.

The endpoints are those of :data:`~zentoria_infra.proxmox.endpoints.ENDPOINTS`, which are all that a connection sends;
what is expected follows from what an endpoint is and what the client does after a lost answer, never cell by cell.
After each fault the next run must complete, and nothing be there twice.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator

import pytest

from tests.faults.faults_access import admin
from tests.faults.faults_exercisers import Case, Exerciser, Lost, guests, reading
from tests.faults.faults_firewall import firewall
from tests.faults.faults_kinds import (
    DENIED,
    DIGEST,
    DROP,
    ENDLESS,
    EXPIRED,
    FAULTS,
    LOCK,
    LOCK_STAYS,
    NO_NODE,
    NO_NODE_STAYS,
    NO_QUORUM,
    RESET,
    SILENCE,
    SILENCE_AFTER,
    TASK_ERROR,
    TASK_LOCK,
    UNAUTHORIZED,
    Fault,
    How,
)
from tests.faults.faults_proxy import LOG
from tests.faults.faults_table import Cells
from tests.faults.faults_worlds import CANARY, World
from zentoria_infra.errors import ApiError, AuthError, PermissionDeniedError, TaskError, ZentoriaError
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.endpoints import ENDPOINTS, ApiCall, require

EXERCISERS = (*reading(), *guests(), *firewall(), *admin())

AGAIN, ERROR, EITHER = "again", "error", "either"

KINDS: dict[Fault, type[ZentoriaError]] = {
    UNAUTHORIZED: AuthError,
    DENIED: PermissionDeniedError,
    LOCK_STAYS: errors.LockBusyError,
    DIGEST: errors.ModifiedError,
    NO_NODE_STAYS: errors.NotSentError,
    SILENCE: errors.AnswerTimeoutError,
    SILENCE_AFTER: errors.AnswerTimeoutError,
    DROP: errors.LostAnswerError,
    RESET: errors.LostAnswerError,
    TASK_ERROR: TaskError,
    ENDLESS: tasks.TaskTimeoutError,
    NO_QUORUM: ApiError,
}
"""What an error must be."""

REFUSED = (UNAUTHORIZED, DENIED, LOCK_STAYS, NO_NODE_STAYS, NO_QUORUM)
"""Nothing is ever carried out: so these are tried one after the other on the same thing."""

AFTER_LOSS: dict[Lost, dict[Fault, str]] = {
    Lost.REPEATED: {DROP: AGAIN, RESET: AGAIN, SILENCE: ERROR, SILENCE_AFTER: EITHER},
    Lost.LOOKED: {DROP: AGAIN, RESET: AGAIN, SILENCE: AGAIN, SILENCE_AFTER: AGAIN},
    Lost.FOUND: {DROP: AGAIN, RESET: AGAIN, SILENCE: ERROR, SILENCE_AFTER: EITHER},
    Lost.CHECKED: {DROP: ERROR, RESET: AGAIN, SILENCE: ERROR, SILENCE_AFTER: AGAIN},
    Lost.TOLD: {DROP: ERROR, RESET: ERROR, SILENCE: ERROR, SILENCE_AFTER: ERROR},
}


def expected(call: ApiCall, exerciser: Exerciser, fault: Fault) -> str:
    """How it must end."""
    if fault in (LOCK, NO_NODE, EXPIRED, TASK_LOCK):
        return AGAIN  # certainly not carried out
    if fault is DIGEST:
        return AGAIN if call.template.endswith("/{pos}") else ERROR  # rules are found anew
    return AFTER_LOSS[exerciser.lost].get(fault, ERROR)


def why_not(call: ApiCall, fault: Fault, with_digest: bool) -> str:
    """Why a fault cannot be; empty where it can."""
    if fault.how in (How.TASK, How.ENDLESS) and not call.task:
        return "it starts no task"
    if fault is DIGEST and not with_digest:
        return "it sends no digest"
    if fault is EXPIRED and call.template == "/access/ticket":
        return "it has no ticket yet"
    return ""


def test_no_endpoint_is_forgotten() -> None:
    """An endpoint without an operation here fails this test: whoever adds one to the table writes it."""
    missing = {(one.verb, one.template) for one in ENDPOINTS} - {one.key for one in EXERCISERS}
    assert not missing, f"nothing in tests/faults/ calls {sorted(missing)}"
    for one in EXERCISERS:
        require(one.verb, one.template)
    titles = [one.title for one in EXERCISERS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("exerciser", EXERCISERS, ids=lambda one: one.title)
def test_every_fault(exerciser: Exerciser, world: World, fault_cells: Cells) -> None:
    call = require(*exerciser.key)
    if not exerciser.needs(world):
        pytest.skip(f"{world.backend.name} does not have this endpoint")
    # Without a fault first: that it is called at all, and works, and whether it sends a digest.
    clean = Case(world, world.by_token, next(world.number))
    exerciser.prepare(clean)
    world.proxy.forget()
    value = exerciser.act(clean)
    exerciser.check(clean)
    assert world.proxy.calls[exerciser.key], f"the operation does not call it, but {dict(world.proxy.calls)}"
    with_digest = exerciser.key in world.proxy.with_digest
    row = (EXERCISERS.index(exerciser), exerciser.title)
    tries = Tries(exerciser, world, type(value), fault_cells, row)
    for fault in FAULTS:
        if reason := why_not(call, fault, with_digest):
            fault_cells.add(row, fault, world.backend.name, "n-a", reason)
        elif fault not in REFUSED or exerciser.late:
            tries.all_of(fault)
    if not exerciser.late:
        tries.all_of(*REFUSED)
    assert not tries.wrong, f"{exerciser.title}, {world.backend.name}:\n" + "\n".join(tries.wrong)


@pytest.mark.parametrize("fault", [DENIED, NO_NODE_STAYS, LOCK_STAYS, SILENCE, NO_QUORUM], ids=lambda one: one.title)
def test_a_failed_task_is_told_though_its_log_cannot_be_read(world: World, fault: Fault) -> None:
    case = Case(world, world.by_token, next(world.number))
    world.backend.add_container(case.number)
    start, log = "/nodes/{node}/lxc/{vmid}/status/start", "/nodes/{node}/tasks/{upid}/log"
    world.proxy.arm(require("POST", start), TASK_ERROR)
    armed = world.proxy.arm(require("GET", log), fault)
    try:
        with pytest.raises(
            TaskError, match=r"(?s)startup for container '1' failed.*its log could not be read"
        ) as caught:
            case.client.write.start(case.number)
    finally:
        world.proxy.disarm()
    assert armed.hits
    assert str(case.number) in caught.value.tried


@dataclasses.dataclass
class Tries:
    """Faults tried with one operation. ``wrong`` tells what did not go as it must."""

    exerciser: Exerciser
    world: World
    kind: type[object]
    cells: Cells
    row: tuple[int, str]
    wrong: list[str] = dataclasses.field(default_factory=list)

    def all_of(self, *faults: Fault) -> None:
        """Spoil the operation in these ways, one after the other on one thing; then let the next run complete it."""
        fault = faults[0]
        client = self.world.by_token
        if fault.ticket or fault.how is How.ENDLESS:
            client = self.world.by_ticket if fault.ticket else self.world.hasty
        case = Case(self.world, client, next(self.world.number))
        titles = ", ".join(one.title for one in faults)
        try:
            self.exerciser.prepare(case)
            seen = [self._one(one, case) for one in faults]
            if ERROR in seen:
                self._complete(case)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.wrong.append(f"{titles}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})")
            seen = ["FAILS"] * len(faults)
        finally:
            self.world.proxy.disarm()
        for one, how in zip(faults, seen, strict=True):
            self.cells.add(self.row, one, self.world.backend.name, how)

    def _one(self, fault: Fault, case: Case) -> str:
        """Spoil, look, and say how it ended."""
        exerciser, proxy = self.exerciser, self.world.proxy
        call = require(*exerciser.key)
        proxy.forget()
        secret = self.world.secrets[call.template == "/access/ticket"]
        armed = proxy.arm(call, fault, secret if fault is UNAUTHORIZED else "")
        seen = AGAIN
        try:
            value = exerciser.act(case)
        except ZentoriaError as error:
            seen = ERROR
            check_error(error, call, exerciser, fault, case)
        else:
            assert type(value) is self.kind
        assert armed.hits, f"{fault.title} was not met"
        proxy.disarm()
        wanted = expected(call, exerciser, fault)
        assert wanted in (seen, EITHER), f"{fault.title}: {wanted} was expected, and it ended with {seen}"
        if seen == AGAIN:
            exerciser.check(case)
        if fault is EXPIRED:
            assert proxy.calls["POST", "/access/ticket"] == 1
        return seen

    def _complete(self, case: Case) -> None:
        """What the next run does: it waits for what is still at work, and goes on."""
        case.client = self.world.by_token
        if require(*self.exerciser.key).task:
            case.client.write.settle(case.number)
        (self.exerciser.again or self.exerciser.act)(case)
        self.exerciser.check(case)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what a traceback would show before it."""
    yield error
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from chain(before)


def check_error(error: ZentoriaError, call: ApiCall, exerciser: Exerciser, fault: Fault, case: Case) -> None:
    """It is of the right kind, says what was tried on what, what came back and what to do, and no secret."""
    kind = KINDS[fault]
    assert isinstance(error, kind), f"{kind.__name__} was expected, and it is {type(error).__name__}: {error}"
    assert error.tried, "nothing was tried"
    assert error.on or "node" in error.tried, f"on what? {error}"
    assert error.got, "nothing came back"
    assert error.todo, f"nothing to do: {error}"
    assert exerciser.names(case) in str(error), f"{exerciser.names(case)} is not named: {error}"
    text = "".join(str(one) + repr(vars(one)) for one in chain(error))
    for secret in (*case.world.secrets, CANARY):
        if secret != "testpass":  # a word of the lab's own folders
            assert secret not in text, f"a secret is told: {error}"
    if fault is DENIED and call.needs:
        assert any(need.privilege in str(error) for need in call.needs), f"which right? {error}"
    if fault is NO_QUORUM:
        assert "quorum" in error.todo
    if fault is TASK_ERROR:
        assert fault.text in error.got
        assert all(line in error.got for line in LOG)
    if fault is ENDLESS:
        assert "UPID:" in error.got
