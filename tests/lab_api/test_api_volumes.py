"""move_volume of the lab, as strict as Proxmox's: what it refuses, and what has moved afterwards."""

import pytest

MOVE = "/nodes/pve1/lxc/401/move_volume"


@pytest.fixture
def two(lab):
    """401 with a data volume, an unused one and another beside it; 402 without."""
    lab.create(401, mp0="local:1,mp=/data,backup=1", mp1="local:1,mp=/old")
    assert lab.root.put("/nodes/pve1/lxc/401/config", delete="mp1").status == 200
    lab.create(402)
    return lab


def config(lab, vmid: int) -> dict:
    return lab.root.get(f"/nodes/pve1/lxc/{vmid}/config").data


def images(lab) -> set[str]:
    return set(lab.runtime.volumes())


def test_a_volume_goes_over_with_its_options_and_its_content(two) -> None:
    path = two.layout.storage / "images"
    path.joinpath("401/vm-401-disk-1.raw").write_bytes(b"data")
    answer = two.root.post(MOVE, **{"volume": "mp0", "target-vmid": 402, "target-volume": "mp3"})
    assert two.root.task(answer) == "OK"
    assert ":move_volume:401-mp0>402-mp3:" in answer.data
    assert "mp0" not in config(two, 401)
    assert config(two, 402)["mp3"] == "local:402/vm-402-disk-1.raw,mp=/data,backup=1,size=1G"
    assert path.joinpath("402/vm-402-disk-1.raw").read_bytes() == b"data"
    assert not path.joinpath("401/vm-401-disk-1.raw").exists()
    assert two.root.task(two.root.post(MOVE, volume="unused0", **{"target-vmid": 402})) == "OK"
    assert config(two, 402)["unused0"] == "local:402/vm-402-disk-2.raw"
    assert two.root.task(two.root.delete("/nodes/pve1/lxc/401", **{"destroy-unreferenced-disks": 1})) == "OK"
    assert images(two) == {f"local:402/vm-402-disk-{number}.raw" for number in range(3)}


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({}, 400, "target-vmid"),
        ({"target-vmid": 402, "storage": "local"}, 400, "target-vmid"),
        ({"target-vmid": 401}, 400, "target-vmid"),
        ({"target-vmid": 403}, 500, "could not find CT 403"),
        ({"target-vmid": 402, "volume": "mp7"}, 500, "volume 'mp7' for container '401' does not exist"),
        ({"target-vmid": 402, "target-volume": "rootfs"}, 500, "Target volume key 'rootfs' is already in use"),
        ({"target-vmid": 402, "digest": "0" * 40}, 500, "Container 401: detected modified configuration"),
        ({"target-vmid": 402, "target-digest": "0" * 40}, 500, "Container 402: detected modified configuration"),
        ({"target-vmid": 402, "volume": "mp256"}, 400, "volume"),
        ({"storage": "other"}, 500, "storage 'other' does not exist"),
        ({"storage": "local", "volume": "unused0"}, 500, "only configured volumes can be moved"),
    ],
)
def test_what_it_refuses(two, more, status, says) -> None:
    before = config(two, 401), config(two, 402), images(two)
    answer = two.root.post(MOVE, **({"volume": "mp0"} | more))
    assert answer.status == status
    assert says in (answer.reason if status == 500 else answer.errors)
    assert (config(two, 401), config(two, 402), images(two)) == before


@pytest.fixture
def other(two):
    """A second storage, which can snapshot."""
    two.root.post("/storage", storage="other", type="btrfs", path="/srv/other")
    return two


@pytest.mark.parametrize("delete", [0, 1])
@pytest.mark.parametrize("key", ["rootfs", "mp0"])
def test_a_volume_is_copied_to_another_storage(other, key, delete) -> None:
    old, options = config(other, 401)[key].split(",", 1)
    other.runtime._volume(old).write_bytes(b"data")
    assert other.root.task(other.root.post(MOVE, volume=key, storage="other", delete=delete)) == "OK"
    now = config(other, 401)
    assert now[key] == f"other:401/vm-401-disk-0.raw,{options}", "each storage numbers its own"
    assert other.runtime._volume("other:401/vm-401-disk-0.raw").read_bytes() == b"data"
    assert (old in now.values(), old in images(other)) == (not delete, not delete)
    assert "lock" not in now
    listed = [row["volid"] for row in other.root.get("/nodes/pve1/storage/other/content", vmid=401).data]
    assert listed == ["other:401/vm-401-disk-0.raw"]
    shown = other.root.get("/nodes/pve1/storage/other/content/other:401/vm-401-disk-0.raw").data
    assert (shown["path"], shown["format"]) == ("/srv/other/images/401/vm-401-disk-0/disk.raw", "raw")
    assert other.root.task(other.root.post(MOVE, volume=key, storage="local", delete=1)) == "OK"
    assert config(other, 401)[key].startswith("local:401/")
    assert other.root.task(other.root.delete("/nodes/pve1/lxc/401")) == "OK"
    assert {volid for volid in images(other) if ":401/" in volid} == set()


def test_a_copy_that_fails_leaves_all_as_it_was(other) -> None:
    other.runtime._volume("local:401/vm-401-disk-1.raw").unlink()
    before = config(other, 401), images(other)
    assert "does not exist" in other.root.task(other.root.post(MOVE, volume="mp0", storage="other"))
    other.root.put("/storage/other", content="images")
    said = other.root.task(other.root.post(MOVE, volume="rootfs", storage="other"))
    assert said == "storage 'other' does not allow content type 'rootdir' (Container)"
    assert {**config(other, 401), "digest": ""} == {**before[0], "digest": ""}
    assert images(other) == before[1]


def test_a_volume_with_snapshots_is_copied_and_not_deleted(other) -> None:
    for key in ("rootfs", "mp0"):
        assert other.root.task(other.root.post(MOVE, volume=key, storage="other", delete=1)) == "OK"
    assert other.root.task(other.root.post("/nodes/pve1/lxc/401/snapshot", snapname="one")) == "OK"
    refused = other.root.post(MOVE, volume="mp0", storage="local", delete=1)
    assert refused.reason == "you can't move a volume with snapshots and delete the source"
    assert other.root.task(other.root.post(MOVE, volume="mp0", storage="local")) == "OK"
    now = config(other, 401)
    assert "other:401/vm-401-disk-1.raw" in now.values(), "the snapshot has it yet: it is kept as unused"
    assert other.root.task(other.root.post("/nodes/pve1/lxc/401/snapshot/one/rollback")) == "OK"
    back = config(other, 401)
    assert back["mp0"].startswith("other:401/vm-401-disk-1.raw")
    assert now["mp0"].partition(",")[0] in back.values()


def test_a_running_container_gives_nothing_away(two) -> None:
    assert two.root.task(two.root.post("/nodes/pve1/lxc/401/status/start")) == "OK"
    for target in ({"target-vmid": 402}, {"storage": "local"}):
        answer = two.root.post(MOVE, volume="mp0", **target)
        assert answer.status == 500
        assert "running" in answer.reason


def test_a_protected_container_takes_nothing(two) -> None:
    two.root.put("/nodes/pve1/lxc/402/config", protection=1)
    said = two.root.task(two.root.post(MOVE, volume="mp0", **{"target-vmid": 402}))
    assert "protection mode enabled" in said


@pytest.mark.parametrize(
    ("lacking", "path"),
    [("VM.Config.Disk", "/vms/401"), ("VM.Config.Disk", "/vms/402"), ("Datastore.AllocateSpace", "/storage/local")],
)
def test_each_right_is_asked_for(two, lacking, path) -> None:
    wanted = {
        "/vms/401": "VM.Config.Disk,VM.Audit",
        "/vms/402": "VM.Config.Disk,VM.Audit",
        "/storage/local": "Datastore.AllocateSpace,Datastore.Audit",
    }
    two.root.post("/access/users", userid="u@pve")
    for number, (place, privileges) in enumerate(wanted.items()):
        if place == path:
            privileges = privileges.removeprefix(f"{lacking},")
        two.root.post("/access/roles", roleid=f"R{number}", privs=privileges)
        two.root.put("/access/acl", path=place, roles=f"R{number}", users="u@pve")
    secret = two.root.post("/access/users/u@pve/token/tok", privsep=0).data["value"]
    answer = two.token("u@pve!tok", secret).post(MOVE, volume="mp0", **{"target-vmid": 402})
    assert answer.status == 403
    assert path in answer.reason
