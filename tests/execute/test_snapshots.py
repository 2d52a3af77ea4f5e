"""Snapshots around a redeploy, on the lab's API without guests: taken, gone back to, kept, removed when in the way."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from zentoria_infra.cli import snapshotting
from zentoria_infra.cli.commands import rollback
from zentoria_infra.cli.snapshotting import Protected, after, protected
from zentoria_infra.errors import ExitCode, GuestError, RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Ended, Status
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import Allow, require_possible
from zentoria_infra.plan.model import snapshots
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.document import document
from zentoria_infra.plan.show.markdown import markdown
from zentoria_infra.plan.stages.one_first import one_first
from zentoria_infra.plan.stages.types import GoBack
from zentoria_infra.site import history

ROOT = Path(__file__).resolve().parents[2]
PLAIN, OTHER, DATA = 408, 409, 404
"""Two containers without data volumes, and the database."""


class Inside:
    """What is inside is what is written on the root file system: ``old``, until it is converged."""

    missing = ""
    unhealthy: frozenset[int] = frozenset()
    """Those that do not answer after they were put back."""

    def __init__(self, node: Any, bad: frozenset[int]) -> None:
        self._node = node
        self._bad = bad

    def volume(self, vmid: int, key: str = "rootfs") -> Path:
        config = self._node.root("GET", f"/nodes/pve/lxc/{vmid}/config")
        return Path(self._node.runtime._volume(config[key].partition(",")[0]))

    def check(self, vmid: int) -> GuestReport:
        outcome = "unchanged" if self.volume(vmid).read_bytes() == b"new" else "would-change"
        return GuestReport(vmid=vmid, mode="check", resources=(ResourceReport(id="file:/etc/x", outcome=outcome),))

    def apply(self, vmid: int, say: object, packaged: object = None) -> GuestReport:
        config = self._node.root("GET", f"/nodes/pve/lxc/{vmid}/config")
        for key in ("rootfs", "mp0"):
            if key in config:
                self.volume(vmid, key).write_bytes(b"new")
        if vmid in self._bad:
            raise GuestError("converge proxy: health", got="nginx: [emerg] unknown directive", todo="put it right")
        return GuestReport(vmid=vmid, mode="apply", resources=())

    def roll_back(self, vmid: int, back: int, by: str, say: object) -> GuestReport:
        raise AssertionError("nobody asked for it")

    def require_healthy(self, vmid: int, say: Any) -> None:
        say("wait until it answers")
        assert self._node.runtime.status(vmid).running
        if vmid in self.unhealthy:
            raise GuestError("wait for proxy: health:nginx", got="not healthy after 180 seconds", todo="look at it")


class Stack:
    """Some containers on a storage that can snapshot."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.memory = "512"

    def desired(self, vmids: tuple[int, ...]) -> list[DesiredContainer]:
        found = []
        for one in desired_containers(load(ROOT, site="lab")):
            if one.vmid in vmids:
                rootfs = dataclasses.replace(one.rootfs, storage="snap")
                volumes = tuple(dataclasses.replace(volume, storage="snap") for volume in one.volumes)
                options = {**one.options, "memory": self.memory}
                changed = dataclasses.replace(one, rootfs=rootfs, volumes=volumes, options=options, needs=frozenset())
                found.append(changed)
        return found

    def deployment(self, *vmids: int, bad: frozenset[int] = frozenset()) -> Deployment:
        return Deployment(self.node.client(), self.desired(vmids or (PLAIN,)), Inside(self.node, bad))

    def up(self, *vmids: int) -> None:
        found = self.deployment(*vmids)
        assert found.run(found.plan()[1]).exit_code is ExitCode.OK

    def age(self, *vmids: int) -> None:
        """Let the inside be another one than is wanted, so that it is changed in place."""
        for vmid in vmids:
            Inside(self.node, frozenset()).volume(vmid).write_bytes(b"old")
            assert self.read(vmid) == b"old"

    def read(self, vmid: int, key: str = "rootfs") -> bytes:
        return Inside(self.node, frozenset()).volume(vmid, key).read_bytes()

    def plan(self, *vmids: int, bad: tuple[int, ...] = (), take: bool = True) -> tuple[Deployment, Protected]:
        found = self.deployment(*vmids, bad=frozenset(bad))
        plan, stages = found.plan(wait=True)
        made = protected(found, self.node.client(), plan, stages, take=take, by="redeploy")
        require_possible(made.plan)
        return found, made

    def redeploy(self, *vmids: int, bad: tuple[int, ...] = ()) -> engine.Result:
        found, made = self.plan(*vmids, bad=bad)
        return found.run(one_first(made.stages, found.desired))

    def config(self, vmid: int = PLAIN) -> dict[str, Any]:
        return dict(self.node.root("GET", f"/nodes/pve/lxc/{vmid}/config"))

    def names(self, vmid: int = PLAIN) -> list[str]:
        rows = self.node.root("GET", f"/nodes/pve/lxc/{vmid}/snapshot")
        return [one["name"] for one in rows if one["name"] != "current"]

    def foreign(self, vmid: int = PLAIN) -> None:
        self.node.root("POST", f"/nodes/pve/lxc/{vmid}/snapshot", snapname="before-upgrade", description="mine")


@pytest.fixture
def stack(node: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    node.root("POST", "/storage", storage="snap", type="btrfs", path="/srv/snap")
    node.root("POST", "/access/roles", roleid="Snapshots", privs="VM.Snapshot,VM.Snapshot.Rollback")
    node.root("PUT", "/access/acl", path="/pool/zentoria", roles="Snapshots", users="zentoria@pve", propagate=1)
    node.grant("/storage/snap", "Datastore.AllocateSpace")
    minutes = itertools.count()
    begun = datetime(2026, 11, 25, 22, 31, tzinfo=UTC)
    name_at = snapshots.name_at
    monkeypatch.setattr(
        snapshotting.snapshots, "name_at", lambda moment: name_at(begun + timedelta(minutes=next(minutes)))
    )
    yield Stack(node)


def test_what_fails_goes_back_to_where_it_was(stack: Stack) -> None:
    stack.up()
    stack.age(PLAIN)
    before = stack.config()
    stack.memory = "768"
    result = stack.redeploy(bad=(PLAIN,))
    assert result.exit_code is ExitCode.FAILED
    (failed,) = result.failed
    assert "unknown directive" in str(failed.error)
    (line,) = after(result)
    assert line.startswith("proxy is back on snapshot zentoria-20261125-2231"), line
    assert stack.read(PLAIN) == b"old"
    assert stack.config() == before, "memory, parent and digest are as before"
    assert stack.names() == []
    assert stack.node.runtime.status(PLAIN).running
    assert history.ended(result)["back"] == ["proxy: zentoria-20261125-223100"]
    # And the next run, with what was wrong put right, does it all.
    assert stack.redeploy().exit_code is ExitCode.OK
    assert (stack.read(PLAIN), stack.config()["memory"]) == (b"new", 768)
    assert stack.deployment().plan()[0].empty, "a snapshot is no difference"
    assert len(stack.names()) == 1


def test_the_database_does_not_go_back_by_itself(stack: Stack) -> None:
    stack.up(DATA)
    stack.age(DATA)
    Inside(stack.node, frozenset()).volume(DATA, "mp0").write_bytes(b"rows")
    found, made = stack.plan(DATA, bad=(DATA,))
    assert not any(isinstance(one, GoBack) for one in made.stages)
    assert "mp0 (/var/lib/postgresql), which would go back too" in "\n".join(made.says())
    result = found.run(made.stages)
    assert stack.read(DATA, "mp0") == b"new"
    (name,) = stack.names(DATA)
    (line,) = after(result)
    assert f"`zentoria rollback db --snapshot {name}`" in line
    # What the command does.
    back = found.run([GoBack(DATA, "db", "404:back", (), name)])
    assert back.exit_code is ExitCode.OK
    assert stack.read(DATA) == b"old"
    assert stack.read(DATA, "mp0") == b"rows"
    assert stack.names(DATA) == [name], "it stays, until a run ends well"
    assert stack.node.runtime.status(DATA).running


def test_the_plan_shows_it_in_all_its_forms(stack: Stack) -> None:
    stack.up()
    stack.age(PLAIN)
    _, made = stack.plan()
    told = document(made.plan, made.stages)
    steps = [
        f"snapshot {made.name}",
        "converge",
        f"if that fails, back to snapshot {made.name}",
        "remove snapshots of ours but the newest 2",
    ]
    assert [list(one.steps) for one in told.containers] == [steps]
    assert f"    steps: {' → '.join(steps)}" in list(explain.lines(made.plan, made.stages))
    assert f"snapshot {made.name}" in markdown(told)
    (one,) = (change for change in told.listing if change.id == f"{PLAIN}/snapshot")
    rights = {need.privilege for need in one.privileges}
    assert {"VM.Snapshot", "VM.Snapshot.Rollback"} <= rights


def test_who_goes_back_is_told_what_is_lost(stack: Stack) -> None:
    stack.up(DATA)
    inventory, client = load(ROOT, site="lab"), stack.node.client()
    with pytest.raises(RefusedError, match="Zentoria has taken none of it"):
        rollback._chosen(inventory, DATA, client, "")
    stack.age(DATA)
    assert stack.redeploy(DATA).exit_code is ExitCode.OK
    stack.foreign(DATA)
    chosen = rollback._chosen(inventory, DATA, client, "")
    assert snapshots.is_our_name(chosen.name), "the newest of ours, though another one is newer"
    question = rollback._question(inventory, DATA, client, chosen)
    assert f"What db (404) has written since {chosen.time} on its root file system and mp0 (/var/lib/post" in question
    assert "came after it" not in question
    client.write.stop(DATA)  # a running one would get it at its next start
    client.write.set_config(DATA, {"mp7": "local:1,mp=/srv/later"})
    question = rollback._question(inventory, DATA, client, chosen)
    assert "mp7 (/srv/later) came after it: nothing is mounted there any more" in question
    assert "mp7" not in question.splitlines()[0], "it is not lost"
    assert rollback._chosen(inventory, DATA, client, "before-upgrade").name == "before-upgrade"
    with pytest.raises(RefusedError, match="there is no whole snapshot nonesuch"):
        rollback._chosen(inventory, DATA, client, "nonesuch")


def test_the_rest_of_a_group_is_not_touched_when_the_first_fails(stack: Stack) -> None:
    stack.up(PLAIN, OTHER)
    stack.age(PLAIN, OTHER)
    first = min(stack.desired((PLAIN, OTHER)), key=lambda one: one.order).vmid
    (second,) = {PLAIN, OTHER} - {first}
    result = stack.redeploy(PLAIN, OTHER, bad=(first,))
    status = {one.stage.id: one.status for one in result.ended}
    assert status[f"{first}:back"] is Status.DONE
    assert status[f"{second}:snapshot"] is Status.SKIPPED
    assert (stack.read(first), stack.read(second), stack.names(second)) == (b"old", b"old", [])


def test_the_newest_two_of_ours_stay_and_all_of_others(stack: Stack) -> None:
    stack.up()
    stack.foreign()
    seen: list[str] = []
    for _ in range(4):
        stack.age(PLAIN)
        assert stack.redeploy().exit_code is ExitCode.OK
        seen += [name for name in stack.names() if name not in seen]
    assert stack.names() == ["before-upgrade", *seen[-2:]]


def test_somebody_who_changed_it_meanwhile_is_not_undone(stack: Stack) -> None:
    stack.up()
    stack.age(PLAIN)
    stack.memory = "768"
    found, made = stack.plan()
    stack.node.root("PUT", f"/nodes/pve/lxc/{PLAIN}/config", cores=1)
    result = found.run(made.stages)
    assert [one.stage.verb for one in result.failed] == ["snapshot"]
    assert stack.names() == []
    assert (stack.config()["cores"], stack.read(PLAIN)) == (1, b"old")


@pytest.mark.parametrize("last", ["408:snapshot", "408:configure", "408:converge"])
def test_a_killed_run_is_completed_by_the_next(stack: Stack, last: str) -> None:
    stack.up()
    stack.age(PLAIN)
    stack.memory = "768"
    found, made = stack.plan()
    stop = threading.Event()

    def listen(event: object) -> None:
        if isinstance(event, Ended) and event.stage.id == last:
            stop.set()

    assert found.run(made.stages, stop, listen).interrupted
    assert stack.redeploy().exit_code is ExitCode.OK
    assert (stack.read(PLAIN), stack.config()["memory"]) == (b"new", 768)
    assert stack.deployment().plan()[0].empty


def test_the_lock_of_a_killed_task_says_what_to_do(stack: Stack, tmp_path: Path) -> None:
    stack.up()
    stack.age(PLAIN)
    path = next(tmp_path.rglob(f"{PLAIN}.conf"))
    path.write_text("lock: snapshot\n" + path.read_text())
    with pytest.raises(RefusedError, match=r"(?s)is locked \(snapshot\).*`pct unlock 408`.*--force"):
        stack.plan()


def test_a_right_that_is_missing_is_told_before(stack: Stack) -> None:
    stack.up()
    stack.age(PLAIN)
    stack.node.root("PUT", "/access/acl", path="/pool/zentoria", roles="Snapshots", users="zentoria@pve", delete=1)
    with pytest.raises(RefusedError, match=r"lacks VM.Snapshot on /pool/zentoria.*or --no-snapshot does without"):
        stack.plan()
    assert stack.plan(take=False)[1].name == ""


def test_ours_make_way_for_a_replacement_and_those_of_others_do_not(stack: Stack) -> None:
    stack.up(DATA)
    stack.age(DATA)
    assert stack.redeploy(DATA).exit_code is ExitCode.OK
    kept = stack.read(DATA, "mp0")
    found = stack.deployment(DATA)
    plan, stages = found.plan(replace={DATA})
    (name,) = stack.names(DATA)
    assert f"snapshots of its volumes are removed first ({name})" in plan.changed[0].reason
    require_possible(plan, {Allow.REPLACE})
    stack.foreign(DATA)
    with pytest.raises(RefusedError, match=r"snapshots that are not Zentoria's \(before-upgrade\)"):
        require_possible(stack.deployment(DATA).plan(replace={DATA})[0], {Allow.REPLACE})
    stack.node.root("DELETE", f"/nodes/pve/lxc/{DATA}/snapshot/before-upgrade")
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    assert stack.read(DATA, "mp0") == kept
    assert stack.names(DATA) == []


def test_a_volume_moves_to_another_storage_without_our_snapshots(stack: Stack) -> None:
    stack.up(DATA)
    stack.age(DATA)
    assert stack.redeploy(DATA).exit_code is ExitCode.OK
    desired = [
        dataclasses.replace(one, volumes=tuple(dataclasses.replace(v, storage="local") for v in one.volumes))
        for one in stack.desired((DATA,))
    ]
    found = Deployment(stack.node.client(), desired, Inside(stack.node, frozenset()))
    plan, stages = found.plan()
    require_possible(plan)
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    assert stack.config(DATA)["mp0"].startswith("local:")
    assert found.plan()[0].empty


@pytest.mark.parametrize("bad", [False, True], ids=["healthy", "not healthy"])
def test_who_is_put_back_is_waited_for_until_it_answers(stack: Stack, bad: bool) -> None:
    stack.up()
    stack.foreign()
    inside = Inside(stack.node, frozenset())
    inside.unhealthy = frozenset({PLAIN} if bad else ())
    deployment = Deployment(stack.node.client(), stack.desired((PLAIN,)), inside)
    told: list[object] = []
    result = deployment.run([GoBack(PLAIN, "proxy", "back", (), "before-upgrade")], listen=told.append)
    assert "wait until it answers" in [getattr(event, "text", "") for event in told]
    assert result.exit_code is (ExitCode.FAILED if bad else ExitCode.OK)
    if bad:
        assert "not healthy after 180 seconds" in str(result.failed[0].error)
