"""A fault at the first call of each endpoint that runs write with: each ends clearly, and later ones complete it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest

from tests.faults.faults_kinds import (
    DENIED,
    DIGEST,
    EXPIRED,
    FAULTS,
    LOCK,
    LOCK_STAYS,
    NO_NODE,
    NO_NODE_STAYS,
    NO_QUORUM,
    RESET,
    SILENCE,
    TASK_ERROR,
    TASK_LOCK,
    UNAUTHORIZED,
    Fault,
    How,
)
from tests.faults.faults_runs import Site
from tests.proxmox.proxmox_pki import Pki
from tests.support.soak import sampled
from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.execute.run import engine, perform_firewall
from zentoria_infra.proxmox.endpoints import ApiCall, require
from zentoria_infra.proxmox.reachable import LockedOutError, Patience

pytestmark = pytest.mark.slow

TRANSIENT = frozenset({LOCK, NO_NODE, TASK_LOCK})
"""Nothing was carried out, and once more is enough: one run must do."""

REFUSALS = frozenset({UNAUTHORIZED, DENIED, LOCK_STAYS, DIGEST, NO_NODE_STAYS, NO_QUORUM})
"""Nothing was carried out, and once more is of no use: a run must not end well."""

WHOLE = [one for one in FAULTS if one is not EXPIRED]
SAMPLE = (LOCK, DENIED, RESET, TASK_ERROR)
"""One of each kind: over at once, over never, an answer that is lost though all was done, and a task that fails."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("faults-site"), pki)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing filters here, so there is no cycle to wait for."""
    patience = Patience(cycle=0, after=0.05, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))


def writes(site: Site) -> list[tuple[ApiCall, bool]]:
    """The endpoints that were written to, and whether with a digest."""
    calls = (key for key in site.proxy.calls if key[0] != "GET" and key[1] != "/access/ticket")
    return [(require(*key), key in site.proxy.with_digest) for key in calls]


def possible(call: ApiCall, fault: Fault, with_digest: bool) -> bool:
    if fault.how in (How.TASK, How.ENDLESS):
        return call.task
    return with_digest if fault is DIGEST else fault is not EXPIRED  # the site has a token


def runs(site: Site, fault: Fault, spoilt: list[ApiCall], run: Callable[..., engine.Result]) -> None:
    """Run until every endpoint has met the fault at its first call, each run going on where the last one ended.

    Then one run without faults must complete it.
    """
    for call in spoilt:
        site.proxy.arm(call, fault)
    for _ in range(len(spoilt) + 1):
        result = run(hasty=fault.how is How.ENDLESS)
        for ended in result.failed:
            check(ended.error, site, fault)
        met = site.proxy.disarm(met=True)
        if not met:
            break
        names = [f"{one.call.verb} {one.call.template}" for one in met]
        if fault in TRANSIENT:
            assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
        if fault in REFUSALS - {DIGEST}:
            assert result.failed, f"{names} was refused, and nobody was told"
    left = [f"{one.call.verb} {one.call.template}" for one in site.proxy.armed]
    site.proxy.disarm()
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    assert not left, f"never called again: {left}"


def check(error: ZentoriaError | None, site: Site, fault: Fault) -> None:
    assert error is not None
    assert type(error) is not ZentoriaError, f"a mistake in the program: {error}"
    assert error.tried and error.got, error
    assert error.todo, f"nothing to do: {error}"
    assert site.secret not in str(error)
    if fault in REFUSALS:
        assert not isinstance(error, LockedOutError), f"nothing was turned on, so that nothing is shut: {error}"
    if fault is NO_QUORUM:
        assert "quorum" in str(error)


@pytest.mark.parametrize("fault", sampled(WHOLE, SAMPLE), ids=lambda one: one.title)
def test_a_run_that_meets_a_fault_at_each_endpoint(site: Site, fault: Fault, known: dict[str, list[ApiCall]]) -> None:
    """From nothing; after somebody has changed this and that; and down."""
    site.reset()

    def spoilt(phase: str) -> list[ApiCall]:
        return [call for call, with_digest in known[phase] if possible(call, fault, with_digest)]

    runs(site, fault, spoilt("up"), site.up)
    site.is_up()
    site.disturb()
    runs(site, fault, spoilt("changed"), site.up)
    site.is_up()
    runs(site, fault, spoilt("down"), site.down)
    site.is_down()
    site.turn_off()


@pytest.fixture(scope="module")
def known(site: Site) -> dict[str, list[tuple[ApiCall, bool]]]:
    """What each phase writes to, where all is well."""
    found: dict[str, list[tuple[ApiCall, bool]]] = {}
    patience = Patience(cycle=0, after=0.05, connect=2, pause=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))
        for phase, run, is_done in (
            ("up", site.up, site.is_up),
            ("changed", site.up, site.is_up),
            ("down", site.down, site.is_down),
        ):
            if phase == "changed":
                site.disturb()
            site.proxy.forget()
            assert run().exit_code is ExitCode.OK
            found[phase] = writes(site)
            is_done()
        site.turn_off()
    return found


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Site]:
    """All is as the inventory says."""
    made = Site(tmp_path_factory.mktemp("faults-standing"), pki)
    with pytest.MonkeyPatch.context() as patch:
        patience = Patience(cycle=0, after=0.05, connect=2, pause=0.01)
        patch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))
        assert made.up().exit_code is ExitCode.OK
    yield made
    made.close()


READ_FAULTS = (DENIED, LOCK_STAYS, NO_NODE_STAYS, SILENCE)


@pytest.mark.parametrize("fault", sampled(READ_FAULTS, (DENIED, SILENCE)), ids=lambda one: one.title)
def test_what_cannot_be_read_is_never_a_reason_to_change(standing: Site, fault: Fault) -> None:
    """Whatever a plan cannot read: it tells, or leaves that alone, and never takes it for something that is gone."""
    site = standing
    site.proxy.forget()
    site.is_up()
    site.down_plan()
    reads = [require(*key) for key in site.proxy.calls]
    assert len(reads) > 8
    wrong: list[str] = []
    for call in reads:
        for plan in (site.up_plan, site.down_plan):
            armed = site.proxy.arm(call, fault)
            try:
                seen = plan()
            except ZentoriaError as error:
                check(error, site, fault)
                seen = "told"
            site.proxy.disarm()
            if armed.hits and seen not in ("told", "unknown", "as it is"):
                wrong.append(f"{call.verb} {call.template}, {plan.__name__}: {seen}")
    assert not wrong
