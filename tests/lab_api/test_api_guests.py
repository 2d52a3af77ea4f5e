"""Containers: creation in parallel, failures that leave nothing, crashes, locks, pending changes, releases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab_api.lab_api_harness import TEMPLATES
from tests.lab_api.lab_api_replay import GatedRuntime
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.guests import Guests
from zentoria_infra.lab.api.tasks import Tasks
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.null_runtime import NullRuntime
from zentoria_infra.lab.runtime import RuntimeFailure

LXC = "/nodes/pve1/lxc"


def test_seventeen_at_once(lab):
    def create(vmid: int) -> str:
        client = lab.token("root@pam!test", lab.secret)
        values = {"ostemplate": "local:vztmpl/z.tar.gz", "rootfs": "local:1", "features": "nesting=1"}
        answer = client.post(LXC, vmid=vmid, start=1, **values)
        return client.task(answer)

    with ThreadPoolExecutor(17) as pool:
        assert set(pool.map(create, range(400, 417))) == {"OK"}
    assert [row["vmid"] for row in lab.root.get(LXC).data] == list(range(400, 417))


def test_one_number_four_times_at_once(lab):
    def create(_: int) -> bool:
        client = lab.token("root@pam!test", lab.secret)
        answer = client.post(LXC, vmid=400, ostemplate="local:vztmpl/z.tar.gz", rootfs="local:1", features="nesting=1")
        return answer.status == 200 and client.task(answer) == "OK"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [False, False, False, True]


class _Failing(NullRuntime):
    def unpack(self, vmid, template, config, log):
        raise RuntimeFailure("no space left on device")


def test_a_failed_create_leaves_nothing(make_lab, tmp_path):
    layout = LabLayout("test", tmp_path / "lab")
    lab = make_lab(root=layout.root, runtime=_Failing(layout, templates=TEMPLATES))
    lab.root.post("/pools", poolid="p")
    answer = lab.root.post(
        LXC, vmid=404, ostemplate="local:vztmpl/z.tar.gz", rootfs="local:1", mp0="local:1,mp=/d", pool="p"
    )
    assert lab.root.task(answer) == "unable to create CT 404 - no space left on device"
    assert lab.root.get(LXC).data == []
    assert lab.runtime.volumes() == {}
    assert lab.root.get("/pools/p").data["members"] == []
    assert lab.root.get("/cluster/nextid", vmid=404).data == "404"


def test_two_volumes_get_two_numbers(lab):
    lab.create(407, mp0="local:1,mp=/srv/data,backup=1", mp1="local:0.1,mp=/x")
    config = lab.root.get(f"{LXC}/407/config").data
    assert config["rootfs"] == "local:407/vm-407-disk-0.raw,size=1G"
    assert config["mp0"] == "local:407/vm-407-disk-1.raw,mp=/srv/data,backup=1,size=1G"
    assert config["mp1"] == "local:407/vm-407-disk-2.raw,mp=/x,size=102M"
    assert lab.root.task(lab.root.delete(f"{LXC}/407")) == "OK"
    assert lab.runtime.volumes() == {}


def test_a_start_removes_what_a_crash_left(make_lab, tmp_path):
    layout = LabLayout("test", tmp_path / "lab")
    runtime = NullRuntime(layout, templates=TEMPLATES)
    runtime.allocate("local:405/vm-405-disk-0.raw", 1024)
    runtime.allocate("local:406/vm-406-disk-0.raw", 1024)
    guests = Guests(layout.pve, "pve1")
    guests.save(405, GuestConf({"lock": "create", "rootfs": "local:405/vm-405-disk-0.raw,size=1K"}))
    guests.save(407, GuestConf({"lock": "destroyed", "rootfs": "local:407/vm-407-disk-0.raw,size=1K"}))
    guests.save(406, GuestConf({"lock": "backup", "arch": "amd64", "rootfs": "local:406/vm-406-disk-0.raw,size=1K"}))
    lab = make_lab(root=layout.root, runtime=runtime)
    assert [row["vmid"] for row in lab.root.get(LXC).data] == [406]
    assert set(runtime.volumes()) == {"local:406/vm-406-disk-0.raw"}


def test_state_survives_a_restart(make_lab, tmp_path):
    first = make_lab(root=tmp_path / "lab")
    first.create(404, hostname="db")
    upid = first.root.post(f"{LXC}/404/status/start")
    assert first.root.task(upid) == "OK"
    first.root.post(f"{LXC}/404/firewall/rules", type="in", action="ACCEPT", enable=1)
    before = first.root.get(f"{LXC}/404/config").data
    first.close()
    second = make_lab(root=tmp_path / "lab")
    assert second.root.get(f"{LXC}/404/config").data == before
    assert second.root.get(f"{LXC}/404/status/current").data["status"] == "running"
    assert second.root.get(f"{LXC}/404/firewall/rules").data[0]["enable"] == 1
    assert second.root.get(f"/nodes/pve1/tasks/{upid.data}/status").data["exitstatus"] == "OK"


def test_a_task_that_was_cut_off_ends_unexpectedly(tmp_path):
    gate = threading.Event()
    tasks = Tasks(tmp_path, "pve1")
    name = tasks.start("vzstart", "404", "root@pam", lambda log: (log("working"), gate.wait(30))[0])
    while not tasks.lines(name):
        pass
    after_crash = Tasks(tmp_path, "pve1")
    task = after_crash.get(name)
    assert task is not None
    assert task.status == "unexpected status"
    gate.set()
    assert tasks.wait(10)


def test_a_locked_container_waits_then_fails(make_lab, tmp_path):
    layout = LabLayout("test", tmp_path / "lab")
    lab = make_lab(root=layout.root, runtime=GatedRuntime(layout), lock_timeout=0.2)
    lab.create(404)
    assert lab.root.task(lab.root.post(f"{LXC}/404/status/start")) == "OK"
    lab.runtime.gate.clear()
    stop = lab.root.post(f"{LXC}/404/status/stop")
    while not lab.server.node.tasks.get(stop.data).running:
        pass
    threading.Event().wait(0.05)
    answer = lab.root.put(f"{LXC}/404/config", memory=600)
    assert answer.body["message"] == "can't lock file '/run/lock/lxc/pve-config-404.lock' - got timeout\n"
    lab.runtime.gate.set()
    assert lab.root.task(stop) == "OK"


def test_a_missing_bridge_fails_at_start_only(lab):
    lab.create(404, net0="name=eth0,bridge=vmbr77")
    assert lab.root.task(lab.root.post(f"{LXC}/404/status/start")) == "startup for container '404' failed"
    assert lab.root.put(f"{LXC}/404/config", net0="name=eth0,bridge=vmbr0").status == 200
    assert lab.root.task(lab.root.post(f"{LXC}/404/status/start")) == "OK"
    answer = lab.root.put(f"{LXC}/404/config", net1="name=eth1,bridge=vmbr77")
    assert answer.errors == {"net1": "unable to hotplug net1: bridge 'vmbr77' does not exist\n"}


def test_pending_changes_hold_after_a_reboot(lab):
    lab.create(404, nameserver="10.0.0.1")
    assert lab.root.task(lab.root.post(f"{LXC}/404/status/start")) == "OK"
    assert lab.root.put(f"{LXC}/404/config", tty=3, memory=768, delete="nameserver").status == 200
    rows = {row["key"]: row for row in lab.root.get(f"{LXC}/404/pending").data}
    assert rows["tty"] == {"key": "tty", "pending": 3}
    assert rows["nameserver"] == {"key": "nameserver", "value": "10.0.0.1", "delete": 1}
    assert rows["memory"] == {"key": "memory", "value": 768}
    assert "nameserver" not in lab.root.get(f"{LXC}/404/config").data
    assert "nameserver" in lab.root.get(f"{LXC}/404/config", current=1).data
    assert lab.root.task(lab.root.post(f"{LXC}/404/status/reboot")) == "OK"
    rows = {row["key"]: row for row in lab.root.get(f"{LXC}/404/pending").data}
    assert rows["tty"] == {"key": "tty", "value": 3}
    assert "nameserver" not in rows


class _Stubborn(NullRuntime):
    def apply(self, vmid, config, changed, log):
        raise RuntimeFailure("cgroup is gone")


def test_what_the_runtime_refuses_stays_pending(make_lab, tmp_path):
    layout = LabLayout("test", tmp_path / "lab")
    lab = make_lab(root=layout.root, runtime=_Stubborn(layout, templates=TEMPLATES))
    lab.create(404)
    assert lab.root.task(lab.root.post(f"{LXC}/404/status/start")) == "OK"
    answer = lab.root.put(f"{LXC}/404/config", memory=768, tags="a")
    assert answer.errors == {"memory": "unable to hotplug memory: cgroup is gone\n"}
    rows = {row["key"]: row for row in lab.root.get(f"{LXC}/404/pending").data}
    assert rows["memory"] == {"key": "memory", "value": 512, "pending": 768}
    assert rows["tags"] == {"key": "tags", "value": "a"}


@pytest.mark.parametrize(("release", "default"), [("8.4", None), ("9.1", 1), ("9.2", 1)])
def test_a_new_container_is_unprivileged_from_9_on_and_a_privileged_one_asks_for_more(make_lab, release, default):
    """Measured on 9.2.11: `unprivileged` defaults to 1, 0 needs Sys.Modify on /, and HA Sys.Console."""
    lab = make_lab(release=release)
    base = {"ostemplate": "local:vztmpl/z.tar.gz", "rootfs": "local:1", "pool": "mine"}
    lab.root.post("/pools", poolid="mine")
    assert lab.root.task(lab.root.post(LXC, vmid=400, **base)) in DONE
    assert lab.root.get(f"{LXC}/400/config").data.get("unprivileged") == default
    lab.root.post("/access/users", userid="some@pve")
    secret = lab.root.post("/access/users/some@pve/token/up", privsep=0).data["value"]
    privileges = "VM.Allocate,VM.Config.Disk,VM.Config.Options,Datastore.AllocateSpace"
    lab.root.post("/access/roles", roleid="R", privs=privileges)
    lab.root.post("/access/roles", roleid="Top", privs="Sys.Modify")
    for path in ("/pool/mine", "/storage/local"):
        assert lab.root.put("/access/acl", path=path, users="some@pve", roles="R").status == 200
    some = lab.token("some@pve!up", secret)
    refused = some.post(LXC, vmid=401, unprivileged=0, **base)
    assert refused.status == (403 if default else 200)
    if default:
        assert refused.reason == "Permission check failed (/, Sys.Modify)"
        assert (
            some.post(LXC, vmid=402, **{"ha-managed": 1}, **base).reason == "Permission check failed (/, Sys.Console)"
        )
        lab.root.put("/access/acl", path="/", users="some@pve", roles="Top", propagate=0)
        assert some.task(some.post(LXC, vmid=401, unprivileged=0, **base)) in DONE


DONE = ("OK", "WARNINGS: 1")
"""9 warns of a container without nesting."""


@pytest.mark.parametrize("name", ["9lab", "home/9lab", "_x", "home/.x"])
@pytest.mark.parametrize("release", ["8.4", "9.2"])
def test_names_of_pools_begin_with_a_letter_from_9_on(make_lab, name, release):
    lab = make_lab(release=release)
    assert lab.root.post("/pools", poolid="home/sub").reason.endswith("parent 'home' of pool 'home/sub' does not exist")
    assert lab.root.post("/pools", poolid="home").status == 200
    answer = lab.root.post("/pools", poolid=name)
    if release == "8.4":
        assert answer.status == 200
    else:
        assert (answer.status, answer.reason) == (500, "create pool failed: pool name must start with a letter")


@pytest.mark.parametrize(("release", "monitor"), [("8.4", True), ("9.1", False)])
def test_releases_differ(make_lab, release, monitor):
    lab = make_lab(release=release)
    assert lab.root.get("/version").data["release"] == release
    assert ("VM.Monitor" in lab.root.get("/access/permissions").data["/"]) is monitor
    answer = lab.root.post("/access/roles", roleid="R", privs="VM.Monitor")
    assert answer.status == (200 if monitor else 400)
    env = lab.root.post(LXC, vmid=400, ostemplate="local:vztmpl/z.tar.gz", rootfs="local:1", entrypoint="/sbin/init")
    assert env.status == (400 if monitor else 200)


@pytest.mark.parametrize(("release", "features", "ended"), [
    ("8.4", "", "OK"), ("9.1", "", "WARNINGS: 1"), ("9.1", "nesting=0", "WARNINGS: 1"), ("9.1", "nesting=1", "OK"),
])  # fmt: skip
def test_9_warns_of_systemd_without_nesting(make_lab, release, features, ended):
    lab = make_lab(release=release)
    values = {"vmid": 404, "ostemplate": "local:vztmpl/z.tar.gz", "rootfs": "local:1", "unprivileged": 1}
    answer = lab.root.post(LXC, **values, **({"features": features} if features else {}))
    assert lab.root.task(answer) == ended
    log = [row["t"] for row in lab.root.get(f"/nodes/pve1/tasks/{answer.data}/log").data]
    assert log[-1] == f"TASK {ended}"
    assert any(line.startswith("WARN: Systemd") for line in log) == (ended != "OK")
    assert [row["status"] for row in lab.root.get("/nodes/pve1/tasks", statusfilter="warning").data] == (
        [ended] if ended != "OK" else []
    )
