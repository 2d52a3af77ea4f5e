"""Writes: against fakepve where it knows the fault, against a scripted server where an answer gets lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.proxmox.proxmox_scripted_server import Reply, Seen, data, failure
from zentoria_infra.errors import ApiError, PermissionDeniedError, RefusedError, TaskError
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.connection import ApiToken, Connection
from zentoria_infra.proxmox.gates import Gates, storages_of
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.write import Writer

PARAMS = {
    "ostemplate": "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst",
    "hostname": "zentoria-db",
    "unprivileged": True,
    "cores": 2,
    "memory": 512,
    "swap": 0,
    "rootfs": "local-lvm:1",
    "features": "nesting=1",
    "description": "zentoria-id: home/404\n",
    "net0": "name=eth0,bridge=vmbr0,firewall=1,ip=10.10.40.4/20",
}
UPID = "UPID:pve1:00000106:00082FFA:6B034859:vzcreate:404:zentoria@pve!up:"


def _writer(connection: Connection) -> Writer:
    observer = Observer(connection.reader(), "pve1")
    pace = tasks.Pace(first=0.001, longest=0.01, deadline=20)
    return Writer(connection, observer, Gates(), pace=pace, sleep=lambda _: time.sleep(0.002))


@pytest.fixture
def pve(fakepve: Any) -> Any:
    fakepve.storages["local-lvm"] = {"type": "lvmthin", "active": 1, "content": "rootdir,images", "files": set()}
    fakepve.store_file("local", "debian-13-standard_13.1-1_amd64.tar.zst", 1000, content="vztmpl")
    return fakepve


@pytest.fixture
def writer(connection: Connection, pve: Any) -> Writer:
    return _writer(connection)


def _calls(fakepve: Any, ending: str) -> list[str]:
    return [method for method, path, _ in fakepve.requests if path.endswith(ending)]


def test_create_then_tags(writer: Writer, pve: Any) -> None:
    writer.create(404, {**PARAMS, "tags": "zentoria;zone-data"})
    made = pve.guest(404)
    assert made.config["hostname"] == "zentoria-db"
    assert made.config["tags"] == "zentoria;zone-data"
    bodies = {method: str(body) for method, path, body in pve.requests if "/lxc" in path and method != "GET"}
    assert "zone-data" not in bodies["POST"]
    assert "zone-data" in bodies["PUT"]


def test_create_with_rights_on_the_pool_alone(endpoint: Any, pve: Any, connect: Callable[..., Connection]) -> None:
    pve.apitokens["zentoria@pve!up"] = "secret-of-it"
    pve.pools["zentoria"] = set()
    for path, privs in {
        "/pool/zentoria": "VM.Allocate VM.Audit VM.PowerMgmt VM.Config.CPU VM.Config.Memory VM.Config.Disk "
        "VM.Config.Network VM.Config.Options",
        "/storage/local": "Datastore.AllocateSpace Datastore.Audit",
        "/storage/local-lvm": "Datastore.AllocateSpace Datastore.Audit",
        "/sdn/zones/localnetwork": "SDN.Use",
        "/nodes/pve1": "Sys.Audit",
    }.items():
        pve.grant("zentoria@pve", path, *privs.split())
    ours = _writer(connect(endpoint, ApiToken("zentoria@pve", "up", Secret("secret-of-it"))))
    ours.create(404, {**PARAMS, "pool": "zentoria", "tags": "zentoria"})
    ours.start(404)
    ours.stop(404)
    ours.destroy(404)
    with pytest.raises(PermissionDeniedError):
        ours.create(405, {**PARAMS, "tags": "zentoria"})  # outside the pool


def test_vmid_that_is_taken(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "somebody")
    with pytest.raises(
        errors.AlreadyExistsError, match=r"^create container 404 \(POST /nodes/pve1/lxc\) on .*: CT 404 already exists"
    ):
        writer.create(404, PARAMS)
    assert pve.guest(404).config["hostname"] == "somebody"


def test_missing_template_fails_in_the_task(writer: Writer, pve: Any) -> None:
    with pytest.raises(TaskError, match=r"none\.tar\.zst' does not exist") as caught:
        writer.create(404, {**PARAMS, "ostemplate": "local:vztmpl/none.tar.zst"})
    assert "template" in caught.value.todo
    writer.create(404, PARAMS)  # and the VMID is free again


def test_start_stop_and_again(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "db")
    for _ in range(2):
        writer.start(404)
        assert pve.guest(404).status == "running"
    writer.reboot(404)
    for _ in range(2):
        writer.shutdown(404, timeout=5)
        assert pve.guest(404).status == "stopped"
    writer.stop(404)
    with pytest.raises(errors.NotRunningError):
        writer.reboot(404)


def test_slow_task_is_waited_for(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "db")
    pve.time_scale = 0.02
    pve.guest(404).start_secs = 10
    news: list[tasks.TaskNews] = []
    writer.start(404, progress=news.append)
    assert pve.guest(404).status == "running"
    assert [one.running for one in news].count(True) > 1
    assert not news[-1].running


def test_failing_start(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "db").start_error = "startup for container '404' failed"
    with pytest.raises(TaskError, match="start container 404 on node pve1: startup for container '404' failed"):
        writer.start(404)


def test_busy_lock_in_the_call_is_tried_again(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "db", config={"description": "zentoria-id: home/404"})
    loop: asyncio.AbstractEventLoop = pve.loop
    asyncio.run_coroutine_threadsafe(pve.hold_config_lock(404, None), loop).result(5)
    with pytest.raises((errors.LockBusyError, tasks.TaskLockBusyError)):
        writer.start(404)
    assert len(_calls(pve, "/status/start")) == 4
    loop.call_soon_threadsafe(pve.release_config_lock, 404)
    writer.start(404)
    assert pve.guest(404).status == "running"


def test_backup_lock_is_said_at_once(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "db", lock="backup")
    with pytest.raises((errors.HeldLockError, TaskError), match=r"locked \(backup\)") as caught:
        writer.start(404)
    assert "pct unlock" in caught.value.todo
    assert len(_calls(pve, "/status/start")) == 1


def test_config_with_digest(writer: Writer, pve: Any, connection: Connection) -> None:
    pve.add_ct(404, "db", config={"description": "x"})
    digest = Observer(connection.reader(), "pve1").config(404).digest
    writer.set_config(404, {"memory": 1024, "onboot": True}, delete=["description"], digest=digest)
    assert str(pve.guest(404).config["memory"]) == "1024"
    assert "description" not in pve.guest(404).config
    with pytest.raises(errors.ModifiedError) as caught:
        writer.set_config(404, {"memory": 2048}, digest=digest)
    assert "planned anew" in caught.value.todo


def test_resize_destroy_and_pools(writer: Writer, pve: Any, connection: Connection) -> None:
    observer = Observer(connection.reader(), "pve1")
    assert observer.pool("zentoria") is None
    writer.create_pool("zentoria", "Zentoria")
    writer.create_pool("zentoria", "Zentoria")
    writer.create(404, PARAMS)
    writer.add_to_pool("zentoria", [404])
    pool = observer.pool("zentoria")
    assert pool is not None
    assert pool.guests == (404,)
    writer.resize(404, "rootfs", "+1G")
    assert "size=2G" in observer.config(404).values["rootfs"]
    with pytest.raises(ApiError, match="shrink"):
        writer.resize(404, "rootfs", "1G")
    writer.start(404)
    with pytest.raises(ApiError, match="running"):
        writer.destroy(404)
    writer.stop(404)
    writer.destroy(404)
    with pytest.raises(errors.MissingError):
        observer.config(404)
    with pytest.raises(errors.MissingError):
        writer.destroy(404)


def test_protected_one_stays(writer: Writer, pve: Any) -> None:
    pve.add_ct(404, "db", config={"protection": 1})
    with pytest.raises(ApiError, match="protection"):
        writer.destroy(404)


def test_one_write_in_flight_a_vmid(writer: Writer, pve: Any) -> None:
    """Without the gate, fakepve refuses what comes while a task holds the container's lock."""
    pve.add_ct(404, "db")
    pve.time_scale = 0.001
    pve.lock_wait = 0
    pve.guest(404).start_secs = pve.guest(404).stop_secs = 20
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(writer.start if n % 2 else writer.stop, 404) for n in range(16)]
        for one in work:
            one.result(30)


@pytest.mark.parametrize(
    ("params", "storages"),
    [
        (
            {"rootfs": "local-lvm:8", "mp0": "tank:200,mp=/srv/data", "mp1": "volume=fast:1,mp=/x"},
            {"local-lvm", "tank", "fast"},
        ),
        ({"rootfs": "local:1", "mp0": "/srv/x,mp=/x"}, {"local"}),
        ({"storage": "tank"}, {"tank"}),
        ({}, {"local"}),
    ],
)
def test_storages_of_a_create(params: dict[str, str], storages: set[str]) -> None:
    assert storages_of(params) == storages


class LossyNode:
    """Drops the first answer to a write, having carried it out or not."""

    def __init__(self, *, carried_out: bool, mine: bool = True, creating: int = 0, write: str = "POST") -> None:
        self.carried_out = carried_out
        self.config = {"description": "zentoria-id: home/404\n" if mine else "somebody's", "digest": "x"}
        self.creating = creating
        self.exists = False
        self.write = write
        self.writes = 0
        self.task_shown = False

    def __call__(self, seen: Seen) -> Reply:
        if seen.method == self.write and "/tasks" not in seen.path:
            self.writes += 1
            if self.exists and self.write == "POST":
                return failure(500, "CT 404 already exists on node 'pve1'")
            if self.writes == 1:
                self.exists = self.carried_out != (self.write == "DELETE") or self.write == "PUT"
                if self.write == "PUT" and self.carried_out:
                    self.config = {**self.config, **seen.form, "digest": "y"}
                return Reply(drop=True)
            self.exists = True
            return data(UPID)
        if seen.path.endswith("/tasks"):
            shown, self.task_shown = self.task_shown, True
            return data([] if shown else [{"upid": UPID, "id": "404", "type": "vzcreate", "node": "pve1", "user": "u"}])
        if seen.path.endswith("/status"):
            return data({"status": "stopped", "exitstatus": "OK"})
        if not self.exists:
            return failure(403, "Permission check failed (/vms/404, VM.Audit)")
        if self.creating:
            self.creating -= 1
            return data({"lock": "create", "digest": "x"})
        return data(self.config)


@pytest.mark.parametrize("creating", [0, 2])
def test_lost_answer_of_a_create_that_was_carried_out(scripted_connection: Any, creating: int) -> None:
    node = LossyNode(carried_out=True, creating=creating)
    connection, _ = scripted_connection(node)
    _writer(connection).create(404, PARAMS)
    assert node.writes == 1


def test_lost_answer_of_a_create_that_was_not(scripted_connection: Any) -> None:
    node = LossyNode(carried_out=False)
    connection, _ = scripted_connection(node)
    _writer(connection).create(404, PARAMS)
    assert node.writes == 2


def test_lost_answer_and_a_foreign_container(scripted_connection: Any) -> None:
    node = LossyNode(carried_out=True, mine=False)
    connection, _ = scripted_connection(node)
    with pytest.raises(RefusedError, match="did not make"):
        _writer(connection).create(404, PARAMS)
    assert node.writes == 1


def test_lost_answer_of_a_create_that_is_slower_than_our_look(scripted_connection: Any) -> None:
    node = LossyNode(carried_out=False)
    writes = 0

    def answer(seen: Seen) -> Reply:
        nonlocal writes
        if seen.method == "POST":
            writes += 1
            if writes == 2:
                node.exists = True
                return failure(500, "CT 404 already exists on node 'pve1'")
            return Reply(drop=True)
        return node(seen)

    connection, _ = scripted_connection(answer)
    _writer(connection).create(404, PARAMS)
    assert writes == 2


@pytest.mark.parametrize(("carried_out", "writes"), [(True, 1), (False, 2)])
def test_lost_answer_of_a_destroy(scripted_connection: Any, carried_out: bool, writes: int) -> None:
    node = LossyNode(carried_out=carried_out, write="DELETE")
    connection, _ = scripted_connection(node)
    _writer(connection).destroy(404)
    assert node.writes == writes


@pytest.mark.parametrize(
    ("digest", "carried_out", "writes"), [(None, True, 2), (None, False, 2), ("x", True, 1), ("x", False, 2)]
)
def test_lost_answer_of_a_config_change(
    scripted_connection: Any, digest: str | None, carried_out: bool, writes: int
) -> None:
    node = LossyNode(carried_out=carried_out, write="PUT")
    connection, _ = scripted_connection(node)
    _writer(connection).set_config(404, {"memory": 1}, digest=digest)
    assert node.writes == writes


def test_lost_answer_of_a_config_change_while_somebody_else_changes_it(scripted_connection: Any) -> None:
    node = LossyNode(carried_out=True, write="PUT")
    connection, _ = scripted_connection(node)
    node.config["memory"] = "2"

    def answer(seen: Seen) -> Reply:
        reply = node(seen)
        node.config["memory"] = "2"
        return reply

    connection, _ = scripted_connection(answer)
    with pytest.raises(errors.LostAnswerError):
        _writer(connection).set_config(404, {"memory": 1}, digest="x")
    assert node.writes == 1


def test_settle_waits_and_does_not_judge(scripted_connection: Any) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.path.endswith("/tasks"):
            assert seen.form == {"source": "active", "vmid": "404"}
            return data([{"upid": UPID, "id": "404", "type": "vzcreate", "node": "pve1", "user": "u"}])
        if seen.path.endswith("/log"):
            return data([{"n": 1, "t": "TASK ERROR: interrupted"}])
        return data({"status": "stopped", "exitstatus": "interrupted"})

    connection, server = scripted_connection(answer)
    _writer(connection).settle(404)
    assert [seen.path.rpartition("/")[2] for seen in server.seen] == ["tasks", "status", "log"]
