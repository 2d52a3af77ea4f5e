"""Snapshots of containers, as strict as Proxmox's: what the list and the file say, what is refused, what comes back."""

from __future__ import annotations

import pytest

from tests.lab_api.lab_api_harness import TEMPLATES
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.null_runtime import NullRuntime

LXC = "/nodes/pve1/lxc"
SNAP = f"{LXC}/401/snapshot"
ROOT = "snap:401/vm-401-disk-0.raw"


@pytest.fixture
def snap(lab):
    """401 on a storage that can snapshot, 402 on the directory storage, which cannot."""
    lab.root.post("/storage", storage="snap", type="btrfs", path="/srv/snap")
    lab.create(401, rootfs="snap:1", mp0="snap:1,mp=/data,backup=0", description="the database")
    lab.create(402)
    return lab


def image(lab, volid: str = ROOT):
    return lab.runtime._volume(volid)


def config(lab, vmid: int = 401) -> dict:
    return lab.root.get(f"{LXC}/{vmid}/config").data


def take(lab, name: str, **more) -> str:
    return lab.root.task(lab.root.post(SNAP, snapname=name, **more))


def roll(lab, name: str, **more) -> str:
    return lab.root.task(lab.root.post(f"{SNAP}/{name}/rollback", **more))


def drop(lab, name: str, **more) -> str:
    return lab.root.task(lab.root.delete(f"{SNAP}/{name}", **more))


def chain(lab) -> dict[str, str | None]:
    return {row["name"]: row.get("parent") for row in lab.root.get(SNAP).data}


def conf_file(lab, vmid: int = 401):
    return lab.server.node.guests.path(vmid)


def test_the_list_the_file_and_the_configuration_of_a_snapshot(snap) -> None:
    assert take(snap, "before", description="two\nlines") == "OK"
    first, now = snap.root.get(SNAP).data
    assert abs(first.pop("snaptime") - snap.server.node.started) < 600
    assert first == {"name": "before", "description": "two\nlines\n"}
    shown = config(snap)
    assert now == {"name": "current", "description": "You are here!", "running": 0, "parent": "before",
                   "digest": shown["digest"]}  # fmt: skip
    assert shown["parent"] == "before"
    kept = snap.root.get(f"{SNAP}/before/config").data
    assert isinstance(kept.pop("snaptime"), int)
    ours = {key: value for key, value in shown.items() if key not in ("digest", "parent", "description")}
    assert kept == {**ours, "description": "two\nlines\n"}
    assert snap.root.get(f"{LXC}/401/config", snapshot="before").data["digest"] == shown["digest"]
    main, _, section = conf_file(snap).read_text().partition("\n[before]\n")
    assert main.startswith("#the database\n") and "parent: before\n" in main
    assert section.startswith("#two\n#lines\narch: amd64\n")
    assert "lock:" not in main + section and "snapstate" not in section
    assert snap.root.put(f"{SNAP}/before/config", description="changed").status == 200
    assert snap.root.get(SNAP).data[0]["description"] == "changed\n"


def test_back_and_forth_between_any_two(snap) -> None:
    """Proxmox's btrfs storages go back to any snapshot, and later ones stay."""
    image(snap).write_bytes(b"one")
    assert take(snap, "one") == "OK"
    image(snap).write_bytes(b"two")
    image(snap, "snap:401/vm-401-disk-1.raw").write_bytes(b"not in backups, yet in snapshots")
    snap.root.put(f"{LXC}/401/config", memory=1024, description="another")
    assert take(snap, "two") == "OK"
    image(snap).write_bytes(b"three")
    assert chain(snap) == {"one": None, "two": "one", "current": "two"}
    assert roll(snap, "one") == "OK"
    assert image(snap).read_bytes() == b"one"
    assert (config(snap)["memory"], config(snap)["description"]) == (512, "another\n")
    assert chain(snap) == {"one": None, "two": "one", "current": "one"}
    assert roll(snap, "two") == "OK"
    assert image(snap).read_bytes() == b"two"
    assert b"yet in snapshots" in image(snap, "snap:401/vm-401-disk-1.raw").read_bytes()
    assert config(snap)["memory"] == 1024


def test_removing_one_in_the_middle_keeps_the_chain(snap) -> None:
    for name in ("one", "two", "three"):
        assert take(snap, name) == "OK"
    assert drop(snap, "two") == "OK"
    assert chain(snap) == {"one": None, "three": "one", "current": "three"}
    assert drop(snap, "three") == "OK"
    assert drop(snap, "one") == "OK"
    assert chain(snap) == {"current": None}
    assert "unused0" not in config(snap)
    assert not list(image(snap).parent.glob("*@*"))


def test_a_running_container_goes_on_and_a_rollback_stops_it(snap) -> None:
    assert snap.root.task(snap.root.post(f"{LXC}/401/status/start")) == "OK"
    assert take(snap, "live") == "OK"
    assert snap.root.get(SNAP).data[-1]["running"] == 1
    snap.root.put(f"{LXC}/401/config", nameserver="10.0.0.1")
    assert roll(snap, "live") == "OK"
    assert snap.root.get(f"{LXC}/401/status/current").data["status"] == "stopped"
    assert "nameserver" not in config(snap), "pending changes are gone"
    assert roll(snap, "live", start=1) == "OK"
    assert snap.server.node.tasks.wait(10)
    assert snap.root.get(f"{LXC}/401/status/current").data["status"] == "running"


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("current", 500, "unable to use snapshot name 'current' (reserved name)"),
        ("vzdump", 500, "unable to use snapshot name 'vzdump' (reserved name)"),
        ("9bad", 400, "invalid configuration ID '9bad'"),
        ("a" * 41, 400, "value may only be 40 characters long"),
    ],
)
def test_names_that_a_snapshot_cannot_have(snap, name, status, says) -> None:
    answer = snap.root.post(SNAP, snapname=name)
    assert answer.status == status
    assert says in (answer.reason if status == 500 else answer.errors["snapname"])


def test_what_fails_in_the_task_changes_nothing(snap) -> None:
    assert take(snap, "one") == "OK"
    before = conf_file(snap).read_text(), conf_file(snap, 402).read_text(), snap.runtime.volumes()
    assert take(snap, "one") == "snapshot name 'one' already used"
    assert drop(snap, "none") == roll(snap, "none") == "snapshot 'none' does not exist"
    other = snap.root.post(f"{LXC}/402/snapshot", snapname="one")
    assert snap.root.task(other) == "snapshot feature is not available"
    assert (conf_file(snap).read_text(), conf_file(snap, 402).read_text(), snap.runtime.volumes()) == before


@pytest.mark.parametrize("options", [{"mp1": "local:1,mp=/other"}, {"mp1": "/srv/files,mp=/other"}])
def test_one_volume_that_cannot_blocks_all(snap, options) -> None:
    assert snap.ticket().put(f"{LXC}/401/config", **options).status == 200
    assert take(snap, "one") == "snapshot feature is not available"
    assert snap.root.get(f"{LXC}/401/feature", feature="snapshot").data == {"hasFeature": 0}


@pytest.mark.parametrize(
    ("vmid", "feature", "snapname", "expected"),
    [
        (401, "snapshot", None, 1),
        (402, "snapshot", None, 0),
        (401, "copy", None, 1),
        (402, "copy", None, 1),
        (401, "clone", None, 1),
        (402, "clone", None, 0),
        (401, "copy", "one", 1),
    ],
)
def test_features_are_those_of_the_storage(snap, vmid, feature, snapname, expected) -> None:
    assert take(snap, "one") == "OK"
    asked = {"feature": feature} | ({"snapname": snapname} if snapname else {})
    assert snap.root.get(f"{LXC}/{vmid}/feature", **asked).data == {"hasFeature": expected}


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("POST", "snapshot", {"snapname": "two"}),
        ("DELETE", "snapshot/one", {}),
        ("POST", "snapshot/one/rollback", {}),
        ("PUT", "snapshot/one/config", {"description": "x"}),
    ],
)
def test_a_locked_container_is_left_alone(snap, method, path, data) -> None:
    assert take(snap, "one") == "OK"
    guests = snap.server.node.guests
    conf = guests.edit(401)
    conf.options["lock"] = "backup"
    guests.save(401, conf)
    before = conf_file(snap).read_text()
    answer = snap.root.call(method, f"{LXC}/401/{path}", data)
    said = snap.root.task(answer) if answer.status == 200 else answer.reason
    assert said == "CT is locked (backup)"
    assert conf_file(snap).read_text() == before


def test_nobody_else_gets_in_while_one_is_made(make_lab) -> None:
    lab = make_lab(delays={"snapshot": 0.5})
    lab.root.post("/storage", storage="snap", type="btrfs", path="/srv/snap")
    lab.create(401, rootfs="snap:1")
    task = lab.root.post(SNAP, snapname="one")
    while config(lab).get("lock") != "snapshot":
        pass
    assert lab.root.get(SNAP).data[0]["snapstate"] == "prepare"
    assert lab.root.put(f"{LXC}/401/config", memory=600).reason == "CT is locked (snapshot)"
    assert lab.root.task(lab.root.post(f"{LXC}/401/status/start")) == "CT is locked (snapshot)"
    assert lab.root.task(task) == "OK"
    assert lab.root.put(f"{LXC}/401/config", memory=600).status == 200


def test_a_snapshot_that_fails_leaves_nothing(snap) -> None:
    """The copy of the second volume fails: the first one's goes, the lock too."""
    image(snap, "snap:401/vm-401-disk-1.raw").unlink()
    before = conf_file(snap).read_text()
    assert "does not exist" in take(snap, "one")
    assert conf_file(snap).read_text() == before
    assert not list(image(snap).parent.glob("*@*"))


class _Remembers(NullRuntime):
    """Remembers who was held and let go, in order."""

    def __init__(self, layout: LabLayout) -> None:
        super().__init__(layout, templates=TEMPLATES)
        self.seen: list[str] = []

    def freeze(self, vmid: int) -> None:
        self.seen.append(f"freeze {vmid}")

    def thaw(self, vmid: int) -> None:
        self.seen.append(f"thaw {vmid}")

    def snapshot(self, volume: str, name: str) -> None:
        self.seen.append(volume)
        super().snapshot(volume, name)


def test_a_guest_is_frozen_for_the_copies_alone_and_never_left_so(make_lab, tmp_path) -> None:
    runtime = _Remembers(LabLayout("test", tmp_path / "lab"))
    lab = make_lab(root=tmp_path / "lab", runtime=runtime)
    lab.root.post("/storage", storage="snap", type="btrfs", path="/srv/snap")
    lab.create(401, rootfs="snap:1", mp0="snap:1,mp=/data")
    assert take(lab, "stopped") == "OK"
    assert lab.root.task(lab.root.post(f"{LXC}/401/status/start")) == "OK"
    runtime.seen.clear()
    assert take(lab, "live") == "OK"
    data = "snap:401/vm-401-disk-1.raw"
    assert runtime.seen == ["freeze 401", ROOT, data, "thaw 401"]
    runtime.seen.clear()
    image(lab, data).unlink()
    assert take(lab, "broken") != "OK"
    assert runtime.seen == ["freeze 401", ROOT, data, "thaw 401"], "a copy that fails: it goes on"
    conf = lab.server.node.guests.edit(401)
    conf.options["lock"] = "snapshot"
    lab.server.node.guests.save(401, conf)
    lab.close()
    runtime.seen.clear()
    make_lab(root=tmp_path / "lab", runtime=runtime)
    assert runtime.seen == ["thaw 401"], "the server died in the middle: its next start lets the guest go"


def test_force_removes_what_cannot_be_removed(snap) -> None:
    assert take(snap, "one") == "OK"
    (image(snap).parent / "vm-401-disk-0.raw@one").unlink()
    assert "does not exist" in drop(snap, "one")
    assert config(snap)["lock"] == "snapshot-delete"
    assert roll(snap, "one") == "unable to rollback to incomplete snapshot (snapstate = delete)"
    assert drop(snap, "one", force=1) == "CT is locked (snapshot-delete)"
    guests = snap.server.node.guests
    conf = guests.edit(401)
    del conf.options["lock"]  # pct unlock
    guests.save(401, conf)
    assert drop(snap, "one", force=1) == "OK"
    assert chain(snap) == {"current": None}
    assert not list(image(snap).parent.glob("*@*"))


def test_volumes_that_a_snapshot_has_outlive_their_mount_point(snap) -> None:
    data = "snap:401/vm-401-disk-1.raw"
    image(snap, data).write_bytes(b"data")
    assert take(snap, "one") == "OK"
    snap.root.put(f"{LXC}/401/config", delete="mp0")
    assert config(snap)["unused0"] == data
    answer = snap.root.post(f"{LXC}/401/move_volume", volume="unused0", **{"target-vmid": 402})
    assert answer.reason == "Cannot move volume used by a snapshot to another container"
    snap.root.put(f"{LXC}/401/config", delete="unused0")
    assert image(snap, data).exists()
    snap.root.put(f"{LXC}/401/config", mp1="snap:1,mp=/new")
    assert roll(snap, "one") == "OK"
    now = config(snap)
    assert now["mp0"].startswith(data)
    assert "mp1" not in now
    assert now["unused0"] == "snap:401/vm-401-disk-2.raw", "what the snapshot does not have becomes unused"
    assert image(snap, data).read_bytes() == b"data"
    snap.root.put(f"{LXC}/401/config", delete="mp0,unused0")
    snap.root.put(f"{LXC}/401/config", delete="unused1")
    assert {"mp0", "unused0", "unused1"}.isdisjoint(config(snap))
    assert drop(snap, "one") == "OK"
    assert data in config(snap).values(), "the last who spoke of it is gone: it is not forgotten"


def test_a_container_goes_with_its_snapshots(snap) -> None:
    assert take(snap, "one") == "OK"
    snap.root.put(f"{LXC}/401/config", delete="mp0")
    snap.root.put(f"{LXC}/401/config", delete="unused0")
    assert snap.root.task(snap.root.delete(f"{LXC}/401")) == "OK"
    assert set(snap.runtime.volumes()) == {"local:402/vm-402-disk-0.raw"}
    assert not list(snap.layout.images("snap").rglob("*"))


def test_a_size_goes_back_too(snap) -> None:
    assert take(snap, "small") == "OK"
    assert snap.root.task(snap.root.put(f"{LXC}/401/resize", disk="rootfs", size="+1G")) == "OK"
    assert image(snap).stat().st_size == 2 << 30
    assert roll(snap, "small") == "OK"
    assert image(snap).stat().st_size == 1 << 30
    assert config(snap)["rootfs"] == f"{ROOT},size=1G"


CALLS = {
    "list": lambda client: client.get(SNAP),
    "take": lambda client: client.post(SNAP, snapname="new"),
    "read": lambda client: client.get(f"{SNAP}/one/config"),
    "describe": lambda client: client.put(f"{SNAP}/one/config", description="x"),
    "rollback": lambda client: client.post(f"{SNAP}/one/rollback"),
    "remove": lambda client: client.delete(f"{SNAP}/one"),
}


@pytest.mark.parametrize(
    ("privilege", "allowed"),
    [
        ("VM.Audit", {"list", "read"}),
        ("VM.Snapshot", {"take", "read", "describe", "rollback", "remove"}),
        ("VM.Snapshot.Rollback", {"read", "rollback"}),
        ("VM.Config.Options", set()),
    ],
)
def test_rights(snap, privilege, allowed) -> None:
    assert take(snap, "one") == "OK"
    snap.root.post("/access/roles", roleid="R", privs=privilege)
    snap.root.post("/access/users", userid="u@pve")
    snap.root.put("/access/acl", path="/vms/401", roles="R", users="u@pve")
    client = snap.token("u@pve!tok", snap.root.post("/access/users/u@pve/token/tok", privsep=0).data["value"])
    found = set()
    for name, call in CALLS.items():
        answer = call(client)
        assert answer.status in (200, 403)
        if answer.status == 200:
            found.add(name)
        snap.server.node.tasks.wait(10)
    assert found == allowed
