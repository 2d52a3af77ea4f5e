"""The answer to a write is lost, and before it could be sent again somebody else has put something in its place.

One row a write that is not harmless twice. Whatever comes of ours: nothing of theirs is touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.proxmox.proxmox_faulty_lab import FaultyLab
from tests.proxmox.proxmox_scripted_server import Reply, Seen, data, failure
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.firewall.config import Alias, Entry, Rule
from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.firewall import records as fw

NODE = "/nodes/pve1/lxc"
OURS = ownership.description("zentoria-db", "", "home", 404)
PARKING = parking.description("zentoria-db", "home", 404, {})
DB = fw.guest(404, "pve1")
RULE = Rule("in", "ACCEPT", source="10.10.40.1", comment="zt/row-1/x ours")


@dataclasses.dataclass(frozen=True)
class Row:
    """A write: the call, and what must be there before it."""

    name: str
    verb: str
    call: Callable[[Proxmox], object]
    before: str = "stopped"
    taken: int = 404
    """The VMID that somebody else takes over."""
    firewall: bool = False

    def __str__(self) -> str:
        return self.name


def alias(proxmox: Proxmox) -> None:
    proxmox.write_firewall.update_alias(DB, Alias("zt-x", "10.10.40.2", "zt/alias/x"))


ROWS = [
    Row("set", "PUT", lambda p: p.write.set_config(404, {"memory": 700})),
    Row("set with a digest", "PUT", lambda p: p.write.set_config(404, {"memory": 700}, digest=digest_of(p))),
    Row("start", "POST", lambda p: p.write.start(404)),
    Row("shutdown", "POST", lambda p: p.write.shutdown(404), "running"),
    Row("stop", "POST", lambda p: p.write.stop(404), "running"),
    Row("reboot", "POST", lambda p: p.write.reboot(404), "running"),
    Row("resize", "PUT", lambda p: p.write.resize(404, "rootfs", "3G")),
    Row("destroy", "DELETE", lambda p: p.write.destroy(404)),
    Row("destroy with a digest", "DELETE", lambda p: p.write.destroy(404, digest=digest_of(p))),
    Row("create", "POST", lambda p: p.write.create(406, {**BASE, "tags": "zentoria"}), taken=406),
    Row("tags of a create", "PUT", lambda p: p.write.create(406, {**BASE, "tags": "zentoria"}), taken=406),
    Row("take a snapshot", "POST", lambda p: p.snapshots.take(404, "new", "why\n\nours")),
    Row("go back", "POST", lambda p: p.snapshots.roll_back(404, "old")),
    Row("remove a snapshot", "DELETE", lambda p: p.snapshots.remove(404, "old")),
    Row("hand over", "POST", lambda p: p.write.hand_over(404, "mp0", 405)),
    Row("hand over to another's", "POST", lambda p: p.write.hand_over(404, "mp0", 405), taken=405),
    Row("move to a storage", "POST", lambda p: p.write.move_to_storage(404, "mp0", "local")),
    Row(
        "firewall options",
        "PUT",
        lambda p: p.write_firewall.set_options(DB, {"enable": "1", "policy_in": "DROP"}),
        firewall=True,
    ),
    Row(
        "make an alias", "POST", lambda p: p.write_firewall.create_alias(DB, Alias("zt-y", "10.10.40.2")), firewall=True
    ),
    Row("change an alias", "PUT", alias, firewall=True),
    Row("remove an alias", "DELETE", lambda p: p.write_firewall.delete_alias(DB, "zt-x"), firewall=True),
    Row("make an IP set", "POST", lambda p: p.write_firewall.create_ipset(DB, "zt-other"), firewall=True),
    Row("remove an IP set", "DELETE", lambda p: p.write_firewall.delete_ipset(DB, "zt-set", force=True), firewall=True),
    Row(
        "add to an IP set",
        "POST",
        lambda p: p.write_firewall.add_entry(DB, "zt-set", Entry("10.10.40.9")),
        firewall=True,
    ),
    Row(
        "take out of an IP set",
        "DELETE",
        lambda p: p.write_firewall.delete_entry(DB, "zt-set", "10.10.40.8"),
        firewall=True,
    ),
    Row(
        "make a rule",
        "POST",
        lambda p: p.write_firewall.rules.insert(DB, dataclasses.replace(RULE, comment="zt/y")),
        firewall=True,
    ),
    Row("change a rule", "PUT", lambda p: p.write_firewall.rules.update(DB, fw.same_as(RULE), TO), firewall=True),
    Row("remove a rule", "DELETE", lambda p: p.write_firewall.rules.delete(DB, fw.same_as(RULE)), firewall=True),
]
TO = dataclasses.replace(RULE, source="10.10.40.7")
BASE = {"ostemplate": "local:vztmpl/z.tar.gz", "rootfs": "local:1", "unprivileged": True,
        "description": ownership.description("zentoria-x", "", "home", 406)}  # fmt: skip


def digest_of(proxmox: Proxmox) -> str:
    return proxmox.observe.config(404).digest


class World:
    """Ours: 404 with a volume, a snapshot and a firewall, and 405, where volumes are parked."""

    def __init__(self, faulty: FaultyLab) -> None:
        self.faulty, self.root = faulty, faulty.lab.root
        (faulty.lab.layout.pve / "lxc/404.conf").unlink()
        assert self.root.post("/storage", storage="snap", type="btrfs", path="/srv/snap").status == 200
        self.make(404, OURS)
        self.make(405, PARKING, mp0=None)

    def make(self, vmid: int, description: str, **options: Any) -> None:
        volumes = {"rootfs": "snap:1", "mp0": "snap:1,mp=/data", "hostname": f"h{vmid}", "onboot": 1}
        values = {key: value for key, value in {**volumes, **options}.items() if value is not None}
        self.faulty.lab.create(vmid, description=description, **values)

    def snapshot(self, vmid: int, description: str = "") -> None:
        form = {"snapname": "old", "description": description}
        assert self.root.task(self.root.post(f"{NODE}/{vmid}/snapshot", **form)) == "OK"

    def firewall(self, vmid: int) -> None:
        base = f"{NODE}/{vmid}/firewall"
        for path, form in (
            ("/aliases", {"name": "zt-x", "cidr": "10.10.40.1"}), ("/ipset", {"name": "zt-set"}),
            ("/ipset/zt-set", {"cidr": "10.10.40.8"}),
            ("/rules", {"type": "in", "action": "ACCEPT", "source": RULE.source, "comment": RULE.comment}),
        ):  # fmt: skip
            assert self.root.post(base + path, **form).status == 200, path

    def somebody_takes(self, vmid: int) -> None:
        """What was there goes, and theirs is made, with things that are called like ours."""
        while self.root.get(f"{NODE}/{vmid}/config").status == 200:
            answer = self.root.delete(f"{NODE}/{vmid}", force=1)
            if answer.status == 200 and self.root.task(answer) == "OK":
                break
            threading.Event().wait(0.01)  # a task of ours is at work on it
        self.make(vmid, "mine")
        self.snapshot(vmid)
        self.firewall(vmid)
        assert self.root.task(self.root.post(f"{NODE}/{vmid}/status/start")) == "OK"

    def all_of(self, vmid: int) -> dict[str, Any]:
        base = f"{NODE}/{vmid}"
        paths = ("/config", "/pending", "/snapshot", "/firewall/options", "/firewall/rules", "/firewall/aliases",
                 "/firewall/ipset", "/firewall/ipset/zt-set")  # fmt: skip
        found = {path: self.root.get(base + path).data for path in paths}
        found["status"] = self.root.get(base + "/status/current").data["status"]
        found["volumes"] = sorted(volume for volume in self.faulty.lab.runtime.volumes() if f":{vmid}/" in volume)
        return found


@pytest.fixture
def world(faulty: FaultyLab) -> World:
    return World(faulty)


def prepare(world: World, row: Row) -> None:
    """What a row needs to be there before its call."""
    if row.firewall:
        for vmid in {404, row.taken}:
            world.firewall(vmid)
    if row.name in ("go back", "remove a snapshot"):
        world.snapshot(404)
    if row.before == "running":
        assert world.root.task(world.root.post(f"{NODE}/404/status/start")) == "OK"


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_somebody_else_made_meanwhile_is_not_touched(world: World, row: Row, carried_out: bool) -> None:
    prepare(world, row)
    theirs: list[dict[str, Any]] = []

    def lose(seen: Seen) -> Reply | None:
        if seen.method != row.verb or theirs:
            return None
        world.somebody_takes(row.taken)
        theirs.append(world.all_of(row.taken))
        return Reply(drop=True)

    (world.faulty.after if carried_out else world.faulty.before).append(lose)
    with contextlib.suppress(ZentoriaError):  # to end without an error is as good: ours is gone
        row.call(world.faulty.proxmox)
    assert theirs, "nothing was lost"
    assert world.all_of(row.taken) == theirs[0]


BUSY = "can't lock file '/run/lock/lxc/pve-config-404.lock' - got timeout"
UPID = "UPID:pve1:00001234:00001234:00001234:vzdestroy:404:root@pam!test:"


@pytest.mark.parametrize("in_task", [False, True], ids=["the call", "its task"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_who_held_the_lock_may_have_made_something_else(world: World, row: Row, in_task: bool) -> None:
    """It is refused for a lock that is held, and is to be sent again: somebody was at work there for ten seconds."""
    if in_task and (row.firewall or row.verb == "PUT"):
        return  # no task, or none that waits for a lock
    prepare(world, row)
    theirs: list[dict[str, Any]] = []

    def busy(seen: Seen) -> Reply | None:
        if UPID in seen.path or quote(UPID) in seen.path:
            return data({"status": "stopped", "exitstatus": BUSY, "upid": UPID} if "status" in seen.path else [])
        if seen.method != row.verb or theirs:
            return None
        world.somebody_takes(row.taken)
        theirs.append(world.all_of(row.taken))
        return data(UPID) if in_task else failure(500, BUSY)

    world.faulty.before.append(busy)
    world.faulty.proxmox.write._sleep = lambda _: None
    with contextlib.suppress(ZentoriaError):
        row.call(world.faulty.proxmox)
    assert theirs, "it was not refused"
    assert world.all_of(row.taken) == theirs[0]


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
@pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.firewall and row.name not in ("reboot", "move to a storage")], ids=str
)
def test_left_alone_it_is_done(world: World, row: Row, carried_out: bool) -> None:
    """The other side of it: nobody comes between. (For the firewall: ``test_firewall_write``.)"""
    if row.name in ("go back", "remove a snapshot"):
        world.snapshot(404)
    if row.before == "running":
        assert world.root.task(world.root.post(f"{NODE}/404/status/start")) == "OK"
    world.faulty.lose(row.verb, carried_out=carried_out)
    row.call(world.faulty.proxmox)


def test_a_rollback_is_not_done_twice(world: World) -> None:
    """Somebody has started it after the first, and has written since."""
    world.snapshot(404)
    path = world.faulty.lab.runtime._volume(world.all_of(404)["/config"]["mp0"].partition(",")[0])
    lost: list[bool] = []

    def lose(seen: Seen) -> Reply | None:
        if seen.method != "POST" or lost:
            return None
        lost.append(True)
        while world.root.get("/nodes/pve1/tasks", source="active").data:
            threading.Event().wait(0.01)
        path.write_bytes(b"written since")
        return Reply(drop=True)

    world.faulty.after.append(lose)
    world.faulty.proxmox.snapshots.roll_back(404, "old")
    assert lost and path.read_bytes() == b"written since"


def test_a_snapshot_of_another_under_the_same_name_stays(world: World) -> None:
    world.snapshot(404)
    lost: list[bool] = []

    def lose(seen: Seen) -> Reply | None:
        if seen.method != "DELETE" or lost:
            return None
        lost.append(True)
        while world.root.get("/nodes/pve1/tasks", source="active").data:
            threading.Event().wait(0.01)
        world.snapshot(404, "theirs")
        return Reply(drop=True)

    world.faulty.after.append(lose)
    world.faulty.proxmox.snapshots.remove(404, "old")
    assert [one["description"] for one in world.all_of(404)["/snapshot"] if one["name"] == "old"] == ["theirs\n"]


def group_rule(p: Proxmox, change: str) -> None:
    rules, scope = p.write_firewall.rules, fw.group("zt-g")
    match change:
        case "insert":
            rules.insert(scope, dataclasses.replace(RULE, comment="zt/y"))
        case "update":
            rules.update(scope, fw.same_as(RULE), TO)
        case _:
            rules.delete(scope, fw.same_as(RULE))


NEW = Alias("zt-n", "10.10.40.1", "zt/site:home/n")
MOVED = Alias("zt-x", "10.10.40.2", "zt/site:home/x")
TURNED = Entry("10.10.40.8", nomatch=True)
SHARED: dict[str, tuple[str, Callable[[Proxmox], object]]] = {
    "make an alias": ("POST", lambda p: p.write_firewall.create_alias(fw.DATACENTER, NEW)),
    "change an alias": ("PUT", lambda p: p.write_firewall.update_alias(fw.DATACENTER, MOVED)),
    "remove an alias": ("DELETE", lambda p: p.write_firewall.delete_alias(fw.DATACENTER, "zt-x")),
    "make an IP set": ("POST", lambda p: p.write_firewall.create_ipset(fw.DATACENTER, "zt-n", "zt/site:home/n")),
    "remove an IP set": ("DELETE", lambda p: p.write_firewall.delete_ipset(fw.DATACENTER, "zt-set", force=True)),
    "add to an IP set": ("POST", lambda p: p.write_firewall.add_entry(fw.DATACENTER, "zt-set", Entry("10.10.40.9"))),
    "change a member": ("PUT", lambda p: p.write_firewall.update_entry(fw.DATACENTER, "zt-set", TURNED)),
    "take out of an IP set": ("DELETE", lambda p: p.write_firewall.delete_entry(fw.DATACENTER, "zt-set", "10.10.40.8")),
    "make a group": ("POST", lambda p: p.write_firewall.create_group("zt-n", "zt/site:home/n")),
    "remove a group": ("DELETE", lambda p: p.write_firewall.delete_group("zt-empty")),
    "make a rule of a group": ("POST", lambda p: group_rule(p, "insert")),
    "change a rule of a group": ("PUT", lambda p: group_rule(p, "update")),
    "remove a rule of a group": ("DELETE", lambda p: group_rule(p, "delete")),
}  # fmt: skip
"""Writes to the objects of the datacenter, which all sites of a cluster share: verb and call."""


class Shared:
    """Objects of the datacenter under names of ours."""

    _BASE = "/cluster/firewall"

    def __init__(self, faulty: FaultyLab) -> None:
        self._root = faulty.lab.root

    def make(self, comment: str, *more: str) -> None:
        for name in ("zt-x", *more):
            self._post("/aliases", name=name, cidr="10.10.40.1", comment=comment)
        for name in ("zt-set", *more):
            self._post("/ipset", name=name, comment=comment)
        self._post("/ipset/zt-set", cidr="10.10.40.8", comment=comment)
        for name in ("zt-g", "zt-empty", *more):
            self._post("/groups", group=name, comment=comment)
        self._post("/groups/zt-g", type="in", action="ACCEPT", source=RULE.source, comment=RULE.comment)

    def remove(self) -> None:
        for one in self._root.get(f"{self._BASE}/aliases").data:
            self._root.delete(f"{self._BASE}/aliases/{one['name']}")
        for one in self._root.get(f"{self._BASE}/ipset").data:
            self._root.delete(f"{self._BASE}/ipset/{one['name']}", force=1)
        for one in self._root.get(f"{self._BASE}/groups").data:
            path = f"{self._BASE}/groups/{one['group']}"
            for _ in self._root.get(path).data:
                self._root.delete(f"{path}/0")
            self._root.delete(path)

    def all_of(self) -> dict[str, Any]:
        paths = ["/aliases", "/ipset", "/ipset/zt-set", "/groups", "/groups/zt-g", "/groups/zt-empty"]
        return {path: self._root.get(self._BASE + path).data for path in paths}

    def _post(self, path: str, **form: str) -> None:
        assert self._root.post(self._BASE + path, **form).status == 200, path


@pytest.mark.parametrize("theirs", ["mine", "zt/site:other/x"], ids=["by hand", "another site's"])
@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
@pytest.mark.parametrize("name", SHARED)
def test_objects_of_the_datacenter_that_are_anothers_by_now_are_not_touched(
    faulty: FaultyLab, name: str, carried_out: bool, theirs: str
) -> None:
    verb, call = SHARED[name]
    shared = Shared(faulty)
    shared.make("zt/site:home/x")
    found: list[dict[str, Any]] = []

    def lose(seen: Seen) -> Reply | None:
        if seen.method != verb or found:
            return None
        shared.remove()
        shared.make(theirs, "zt-n")
        found.append(shared.all_of())
        return Reply(drop=True)

    (faulty.after if carried_out else faulty.before).append(lose)
    # Whoever has made an alias for the same address has made ours.
    with contextlib.nullcontext() if name == "make an alias" else pytest.raises(ZentoriaError):
        call(faulty.client("root@pam", "test", faulty.lab.secret, site="home"))
    assert found, "nothing was lost"
    assert shared.all_of() == found[0]


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
@pytest.mark.parametrize("name", SHARED)
def test_objects_of_the_datacenter_left_alone_are_done(faulty: FaultyLab, name: str, carried_out: bool) -> None:
    verb, call = SHARED[name]
    Shared(faulty).make("zt/site:home/x")
    faulty.lose(verb, carried_out=carried_out)
    call(faulty.client("root@pam", "test", faulty.lab.secret, site="home"))


def test_the_management_set_belongs_to_all(faulty: FaultyLab) -> None:
    faulty.lab.root.post("/cluster/firewall/ipset", name="management", comment="of the admins")
    faulty.lose("POST", carried_out=False)
    faulty.proxmox.write_firewall.add_entry(fw.DATACENTER, "management", Entry("10.10.40.9"))
