"""Real snapshots: a running guest, its files before and after, and volumes that move between storages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab_api.lab_api_harness import Lab
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc import mounttable, requirements
from zentoria_infra.lab.lxc.network import BRIDGES
from zentoria_infra.lab.lxc.runtime import LxcRuntime
from zentoria_infra.lab.lxc.volumes import VolumeStore
from zentoria_infra.lab.runtime import RuntimeFailure

MISSING = requirements.sentence(requirements.missing())
pytestmark = [
    pytest.mark.root,
    pytest.mark.lxc,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "everything is there"),
]
GUEST = "/nodes/pve1/lxc/9004"


def quiet(_line: str) -> None:
    """A log that nobody reads."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    # not pytest's folder: guests run as other users and cannot enter it
    root = Path(tempfile.mkdtemp(prefix="zt-snap-", dir="/var/tmp"))
    root.chmod(0o755)
    runtime = LxcRuntime(LabLayout(f"s{os.getpid() % 1_000_000}", root))
    runtime.host_up(quiet)
    try:
        runtime.ensure_template(quiet)
        found = Lab(root, runtime=runtime, bridges=BRIDGES)
        yield found
        found.close()
    finally:
        runtime.purge(quiet)
        shutil.rmtree(root)


def inside(lab: Lab, command: str) -> str:
    argv = [*lab.runtime.attach_argv(9004), "sh", "-c", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout.strip()


def test_a_running_guest_goes_back_and_its_data_moves(lab: Lab) -> None:
    def do(method: str, path: str, **data: object) -> None:
        assert lab.root.task(lab.root.call(method, f"{GUEST}{path}", data)) == "OK", path

    (template,) = lab.runtime.templates()
    lab.root.post("/storage", storage="snap", type="btrfs", path="/srv/snap")
    net = "name=eth0,bridge=vmbr40,ip=10.10.40.4/20,gw=10.10.47.254"
    lab.create(9004, ostemplate=f"local:vztmpl/{template}", rootfs="snap:0.5", mp0="snap:0.125,mp=/srv/data",
               features="nesting=1", memory=256, net0=net)  # fmt: skip
    do("POST", "/status/start")
    # written and not synced: only a snapshot that syncs has it
    inside(lab, "echo old > /root/note; echo old > /srv/data/note; chown 33 /srv/data/note")
    inside(lab, "setsid sleep 600 >/dev/null 2>&1 </dev/null &")
    sleeper = inside(lab, "pidof sleep")
    do("POST", "/snapshot", snapname="before")
    assert inside(lab, "pidof sleep") == sleeper, "it was frozen, and goes on"
    inside(lab, "echo new > /root/note; rm /srv/data/note; touch /root/later; apt-mark hold bash")

    do("POST", "/snapshot/before/rollback", start=1)
    assert lab.server.node.tasks.wait(60)
    assert inside(lab, "cat /root/note /srv/data/note; stat -c %u /srv/data/note; ls /root") == "old\nold\n33\nnote"
    assert inside(lab, "apt-mark showhold") == ""

    do("POST", "/status/stop")
    do("DELETE", "/snapshot/before")
    do("POST", "/move_volume", volume="mp0", storage="local", delete=1)
    do("POST", "/move_volume", volume="rootfs", storage="local", delete=1)
    do("POST", "/status/start")
    assert inside(lab, "cat /root/note /srv/data/note; stat -c %u /srv/data/note") == "old\nold\n33"
    assert {volume.partition(":")[0] for volume in lab.runtime.volumes()} == {"local"}
    assert lab.root.task(lab.root.post(f"{GUEST}/snapshot", snapname="no")) == "snapshot feature is not available"
    do("DELETE", "", force=1)
    assert lab.runtime.volumes() == {}


@pytest.mark.parametrize("loops", [True, False])
def test_snapshots_and_copies_of_one_volume(tmp_path: Path, loops: bool) -> None:
    store, target = VolumeStore(LabLayout("t", tmp_path), loops), tmp_path / "mounted"
    volume, copy = "snap:1/vm-1-disk-0.raw", "local:1/vm-1-disk-0.raw"
    store.allocate(volume, 16 << 20)

    def content(name: str, write: str = "") -> str:
        store.mount(name, target)
        try:
            if write:
                (target / "note").write_text(write)
            return (target / "note").read_text()
        finally:
            mounttable.unmount(target)

    content(volume, "old")
    store.snapshot(volume, "before")
    assert store.sizes() == {volume: 16 << 20}, "a snapshot is no volume"
    with pytest.raises(RuntimeFailure, match="already exists"):
        store.snapshot(volume, "before")
    store.grow(volume, 32 << 20)
    content(volume, "new")
    store.copy(volume, copy)
    with pytest.raises(RuntimeFailure, match="already exists"):
        store.copy(volume, copy)
    store.rollback(volume, "before")
    assert (content(volume), content(copy)) == ("old", "new")
    assert store.sizes() == {volume: 16 << 20, copy: 32 << 20}
    store.rollback(volume, "before")
    store.drop_snapshot(volume, "before")
    for action in (store.drop_snapshot, store.rollback):
        with pytest.raises(RuntimeFailure, match="does not exist"):
            action(volume, "before")
    assert content(volume) == "old"
    store.snapshot(volume, "again")
    store.free(volume)
    assert [path for path in tmp_path.rglob("*@*")] == []
    assert content(copy) == "new"
