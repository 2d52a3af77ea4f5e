"""Real guests: one lab for the module, its own network, and nothing left of it at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.patience import patience
from zentoria_infra.errors import LabError
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc import host, mounttable, requirements, volumes
from zentoria_infra.lab.lxc.runtime import LxcRuntime
from zentoria_infra.lab.network import netns
from zentoria_infra.lab.runtime import RuntimeFailure

MISSING = requirements.sentence(requirements.missing())

pytestmark = [
    pytest.mark.root,
    pytest.mark.lxc,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "everything is there"),
]

MIB = 1 << 20
SIZE = 512 * MIB


def quiet(line: str) -> None:
    """A task log that nobody reads."""


def settings(vmid: int, last: int, **more: str) -> dict[str, str]:
    return {
        "hostname": f"guest{vmid}",
        "memory": "256",
        "swap": "0",
        "cores": "1",
        "unprivileged": "1",
        "rootfs": f"local:{vmid}/vm-{vmid}-disk-0.raw,size=512M",
        "net0": f"name=eth0,bridge=vmbr40,gw=10.10.47.254,hwaddr=BC:24:11:00:00:{last:02X},"
        f"ip=10.10.40.{last}/20,type=veth",
        "nameserver": "10.10.47.254",
        **more,
    }


@pytest.fixture(scope="module")
def layout() -> Iterator[LabLayout]:
    # not pytest's folder: guests run as other users and cannot enter it
    root = Path(tempfile.mkdtemp(prefix="zt-lxc-", dir="/var/tmp"))
    root.chmod(0o755)
    yield LabLayout(f"t{os.getpid() % 1_000_000}", root)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def runtime(layout: LabLayout) -> Iterator[LxcRuntime]:
    runtime = LxcRuntime(layout)
    runtime.host_up(quiet)
    try:
        runtime.ensure_template(quiet)
        yield runtime
    finally:
        runtime.purge(quiet)


def create(runtime: LxcRuntime, vmid: int, config: Mapping[str, str], size: int = SIZE) -> None:
    runtime.allocate(f"local:{vmid}/vm-{vmid}-disk-0.raw", size)
    (template,) = runtime.templates()
    runtime.unpack(vmid, template, config, quiet)


@contextlib.contextmanager
def guest(runtime: LxcRuntime, vmid: int, config: Mapping[str, str]) -> Iterator[None]:
    """A running guest that is gone at the end."""
    create(runtime, vmid, config)
    try:
        runtime.start(vmid, config, quiet)
        subprocess.run(
            [*runtime.attach_argv(vmid), "sh", "-c",
             "until systemctl is-system-running --wait; do [ -S /run/dbus/system_bus_socket ] && exit; done"],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        yield
    finally:
        runtime.stop(vmid, quiet)
        runtime.destroy(vmid, quiet)
        for volume in list(runtime.volumes()):
            if volume.startswith(f"local:{vmid}/"):
                runtime.free(volume)


def inside(runtime: LxcRuntime, vmid: int, command: str) -> str:
    done = subprocess.run(
        [*runtime.attach_argv(vmid), "sh", "-c", command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout.strip()


def can_grow_online() -> bool:
    """Whether root here has CAP_SYS_RESOURCE (24), which ext4 asks for."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> 24 & 1)


def wait(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + patience(seconds)
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_two_guests_boot_with_their_addresses_and_reach_each_other(runtime: LxcRuntime) -> None:
    one, two = settings(9004, 0), settings(9010, 10, searchdomain="lab.test", net0=(
        "name=eth0,bridge=vmbr40,gw=10.10.47.254,hwaddr=BC:24:11:00:00:0A,ip=10.10.41.0/20,type=veth"))  # fmt: skip
    with guest(runtime, 9004, one), guest(runtime, 9010, two):
        assert inside(runtime, 9004, "systemctl is-system-running") == "running"
        assert inside(runtime, 9004, "hostname") == "guest9004"
        assert inside(runtime, 9010, "getent hosts guest9010.lab.test").split()[0] == "10.10.41.0"
        assert "brd 10.10.47.255" in inside(runtime, 9004, "ip -4 address show eth0")
        assert inside(runtime, 9004, "ip route show default").startswith("default via 10.10.47.254 dev eth0")
        inside(runtime, 9004, "ping -c 1 -W 2 10.10.41.0")
        inside(runtime, 9010, "ping -c 1 -W 2 10.10.40.0 && ping -c 1 -W 2 10.10.47.254")
        names = {entry.name: entry for entry in runtime.interfaces(9004)}
        assert names["eth0"].inet == ("10.10.40.0/20",)
        assert names["eth0"].hwaddr.upper() == "BC:24:11:00:00:00"
        assert names["eth0"].inet6 == ()
        assert inside(runtime, 9004, "cat /etc/machine-id") != inside(runtime, 9010, "cat /etc/machine-id")
        assert inside(runtime, 9004, "date +%Z") == "UTC"
        assert "nameserver 10.10.47.254" in inside(runtime, 9004, "cat /etc/resolv.conf")
        assert inside(runtime, 9004, "cat /proc/self/uid_map").split() == ["0", "100000", "65536"]
        assert runtime.status(9004).running
        assert runtime.status(9004).uptime < 120
        assert 0 < runtime.status(9004).mem < 256 * MIB
        assert runtime.status(9004).netin > 0


def test_a_guest_has_nothing_of_the_hosts_environment_or_network(
    runtime: LxcRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZT_CANARY", "bird")
    with guest(runtime, 9004, settings(9004, 4)):
        assert "bird" not in inside(runtime, 9004, "env; tr '\\0' '\\n' < /proc/1/environ")
    with pytest.raises(OSError, match="no interface with this name"):
        socket.if_nametoindex("veth9004i0")


def test_memory_and_processors_are_limited_and_change_while_it_runs(runtime: LxcRuntime) -> None:
    eat = "python3 -c 'x = bytearray(120 << 20); print(len(x) >> 20)'"
    config = settings(9004, 4, memory="96", cpulimit="0.5")
    with guest(runtime, 9004, config):
        assert inside(runtime, 9004, "nproc") == "1"
        assert inside(runtime, 9004, "awk '/MemTotal/ {print $2}' /proc/meminfo") == str(96 * 1024)
        with pytest.raises(AssertionError, match="137"):
            inside(runtime, 9004, eat)
        config |= {"memory": "192", "cores": "2", "cpulimit": "0"}
        runtime.apply(9004, config, frozenset({"memory", "cores", "cpulimit"}), quiet)
        assert inside(runtime, 9004, eat) == "120"
        assert inside(runtime, 9004, "nproc") == str(min(2, len(os.sched_getaffinity(0))))
        config |= {"memory": "128"}
        runtime.apply(9004, config, frozenset({"memory"}), quiet)
        assert inside(runtime, 9004, "awk '/MemTotal/ {print $2}' /proc/meminfo") == str(128 * 1024)


def test_a_disk_is_as_large_as_asked_for_grows_and_outlives_its_guest(runtime: LxcRuntime) -> None:
    data = "local:9004/vm-9004-disk-1.raw"
    config = settings(9004, 4, mp0=f"{data},mp=/srv/data,size=64M")
    runtime.allocate(data, 64 * MIB)
    fill = "head -c 90M /dev/zero > /srv/data/big"
    with guest(runtime, 9004, config):
        with pytest.raises(AssertionError, match="No space left"):
            inside(runtime, 9004, fill)
        if can_grow_online():
            runtime.grow(9004, "mp0", data, 128 * MIB)
        else:
            with pytest.raises(RuntimeFailure, match="at the next start"):
                runtime.grow(9004, "mp0", data, 128 * MIB)
            runtime.stop(9004, quiet)
            runtime.start(9004, config, quiet)
        inside(runtime, 9004, f"{fill} && sync")
        assert runtime.volumes()[data] == 128 * MIB
        with pytest.raises(AssertionError, match="No space left"):
            inside(runtime, 9004, "head -c 600M /dev/zero > /root/big")
        inside(runtime, 9004, "rm /root/big; echo kept > /srv/data/note; echo root > /root/note; sync")
        assert 0 < runtime.status(9004).disk < runtime.status(9004).maxdisk < SIZE
        assert runtime.shutdown(9004, 30, quiet)
        runtime.grow(9004, "rootfs", "local:9004/vm-9004-disk-0.raw", 2 * SIZE)
        runtime.start(9004, config, quiet)
        assert inside(runtime, 9004, "cat /srv/data/note /root/note") == "kept\nroot"
        assert int(inside(runtime, 9004, "df --output=size -B1M / | tail -1")) > 900
        with pytest.raises(RuntimeFailure, match="shrink"):
            runtime.grow(9004, "rootfs", "local:9004/vm-9004-disk-0.raw", SIZE)


def test_network_devices_and_names_change_while_it_runs(runtime: LxcRuntime, layout: LabLayout) -> None:
    config = settings(9004, 4)
    with guest(runtime, 9004, config):
        config |= {
            "hostname": "renamed",
            "net0": config["net0"].replace("10.10.40.4/", "10.10.40.5/"),
            "net1": "name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:01:04,ip=10.99.0.4/24",
        }
        before = inside(runtime, 9004, "cat /sys/class/net/eth0/ifindex")
        runtime.apply(9004, config, frozenset({"hostname", "net0", "net1"}), quiet)
        assert inside(runtime, 9004, "hostname") == "guest9004", "Proxmox keeps it in the configuration until a start"
        assert "renamed" not in inside(runtime, 9004, "cat /etc/hosts /etc/hostname")
        assert inside(runtime, 9004, "cat /sys/class/net/eth0/ifindex") == before
        inside(runtime, 9004, "ping -c 1 -W 2 10.10.47.254 && ping -c 1 -W 2 10.99.0.1")
        assert {entry.name: entry.inet for entry in runtime.interfaces(9004)} == {
            "lo": ("127.0.0.1/8",), "eth0": ("10.10.40.5/20",), "eth1": ("10.99.0.4/24",),
        }  # fmt: skip
        bad = {**config, "net1": "name=eth1,bridge=vmbr9"}
        with pytest.raises(RuntimeFailure, match="bridge 'vmbr9' does not exist"):
            runtime.apply(9004, bad, frozenset({"net1"}), quiet)
        del config["net1"]
        runtime.apply(9004, config, frozenset({"net1"}), quiet)
        assert {entry.name for entry in runtime.interfaces(9004)} == {"lo", "eth0"}
        with pytest.raises(RuntimeFailure, match="features"):
            runtime.apply(9004, config, frozenset({"features"}), quiet)
        assert runtime.shutdown(9004, 30, quiet)
        runtime.start(9004, config, quiet)
        assert inside(runtime, 9004, "hostname") == "renamed"
        assert "10.10.40.5 renamed" in inside(runtime, 9004, "cat /etc/hosts")


def test_a_guest_can_be_found_by_a_new_daemon_restart_itself_and_halt_itself(
    runtime: LxcRuntime, layout: LabLayout
) -> None:
    config = settings(9004, 4)
    config["net0"] += ",firewall=1"
    with guest(runtime, 9004, config):
        first = runtime.status(9004).pid
        assert LxcRuntime(layout).status(9004).pid == first
        with pytest.raises(RuntimeFailure, match="already running"):
            runtime.start(9004, config, quiet)
        with pytest.raises(RuntimeFailure, match="running"):
            runtime.destroy(9004, quiet)
        config |= {"memory": "320"}
        runtime.apply(9004, config, frozenset({"memory"}), quiet)
        inside(runtime, 9004, "systemctl --no-block reboot")
        wait(lambda: runtime.status(9004).pid not in (0, first))
        wait(lambda: "running" in subprocess.run(
            [*runtime.attach_argv(9004), "systemctl", "is-system-running"],
            capture_output=True, text=True, check=False).stdout)  # fmt: skip
        inside(runtime, 9004, "ping -c 1 -W 2 10.10.47.254")
        assert links(layout, 9004) == {"veth9004i0", "fwbr9004i0", "fwln9004i0", "fwpr9004p0"}
        assert inside(runtime, 9004, "awk '/MemTotal/ {print $2}' /proc/meminfo") == str(320 * 1024)
        inside(runtime, 9004, "systemctl --no-block poweroff")
        wait(lambda: not runtime.status(9004).running)
        wait(lambda: not links(layout, 9004))
        runtime.start(9004, config, quiet)
        assert runtime.status(9004).running


def links(layout: LabLayout, vmid: int) -> set[str]:
    """What a guest's network is made of in the lab's namespace."""
    return {name for _, name in netns.run_in(layout.netns, socket.if_nameindex) if str(vmid) in name}


def test_devices_follow_the_configuration_of_a_running_guest(runtime: LxcRuntime, layout: LabLayout) -> None:
    closed = settings(9004, 4)
    closed["net0"] += ",firewall=1"
    with guest(runtime, 9004, closed):
        opened = {**closed, "net0": closed["net0"].replace("firewall=1", "firewall=0"), "memory": "300"}
        runtime.apply(9004, opened, frozenset({"memory"}), quiet)
        assert "fwbr9004i0" in links(layout, 9004), "only what is named is applied"
        runtime.apply(9004, opened, frozenset({"net0"}), quiet)
        assert links(layout, 9004) == {"veth9004i0"}
        more = {**opened, "net1": "name=eth1,bridge=vmbr0,firewall=1"}
        runtime.apply(9004, more, frozenset({"net1"}), quiet)
        assert {"veth9004i1", "fwbr9004i1"} <= links(layout, 9004)
        runtime.apply(9004, opened, frozenset({"net1"}), quiet)
        assert links(layout, 9004) == {"veth9004i0"}
    assert links(layout, 9004) == set()


def test_what_cannot_start_says_why_and_leaves_nothing(runtime: LxcRuntime, layout: LabLayout) -> None:
    config = settings(9004, 4)
    create(runtime, 9004, config)
    try:
        with pytest.raises(RuntimeFailure, match=r"^bridge 'vmbr9' does not exist$"):
            runtime.start(9004, {**config, "net0": "name=eth0,bridge=vmbr9"}, quiet)
        with pytest.raises(RuntimeFailure, match=r"volume 'local:9004/none.raw' does not exist"):
            runtime.start(9004, {**config, "mp0": "local:9004/none.raw,mp=/x"}, quiet)
        with pytest.raises(RuntimeFailure, match="startup for container '9004' failed"):
            runtime.start(9004, {**config, "net1": "name=eth0,bridge=vmbr40"}, quiet)
        assert mounttable.below(layout.guests) == []
        assert not runtime.status(9004).running
        assert runtime.shutdown(9004, 1, quiet)
        with pytest.raises(RuntimeFailure, match="not running"):
            runtime.apply(9004, config, frozenset({"memory"}), quiet)
    finally:
        runtime.destroy(9004, quiet)
        runtime.free("local:9004/vm-9004-disk-0.raw")
    assert not (layout.guests / "9004").exists()
    assert runtime.volumes() == {}
    runtime.free("local:9004/vm-9004-disk-0.raw")


def test_storage_says_no_in_proxmoxs_words(runtime: LxcRuntime) -> None:
    total, free = runtime.space()
    assert 0 < free <= total
    with pytest.raises(RuntimeFailure, match="No space left on device"):
        runtime.allocate("local:9004/vm-9004-disk-0.raw", total * 2)
    with pytest.raises(RuntimeFailure, match="unable to parse"):
        runtime.allocate("local:../escape.raw", MIB)
    with pytest.raises(RuntimeFailure, match=r"volume 'local:vztmpl/none.tar.zst' does not exist"):
        runtime.unpack(9004, "none.tar.zst", settings(9004, 4), quiet)
    with pytest.raises(RuntimeFailure, match="does not exist"):
        runtime.unpack(9004, "../../secret.tar.zst", settings(9004, 4), quiet)
    assert runtime.volumes() == {}


@pytest.mark.parametrize("loops", [True, False])
def test_volumes_with_and_without_loop_devices(tmp_path: Path, loops: bool) -> None:
    store = volumes.VolumeStore(LabLayout("t", tmp_path), loops)
    store.allocate("local:1/a.raw", 16 * MIB)
    store.allocate("local:1/b.raw", 16 * MIB)
    with pytest.raises(RuntimeFailure, match="exists"):
        store.allocate("local:1/a.raw", MIB)
    assert store.sizes() == {"local:1/a.raw": 16 * MIB, "local:1/b.raw": 16 * MIB}
    target = tmp_path / "mounted"
    store.mount("local:1/a.raw", target)
    store.mount("local:1/a.raw", target)
    try:
        assert target.stat().st_uid == 100000
        (target / "note").write_text("kept")
    finally:
        mounttable.unmount(target)
    store.grow("local:1/a.raw", 64 * MIB)
    store.mount("local:1/a.raw", target, read_only=True)
    try:
        assert (target / "note").read_text() == "kept"
        with pytest.raises(OSError, match="Read-only"):
            (target / "note").write_text("changed")
        if loops:
            assert shutil.disk_usage(target).total > 32 * MIB
    finally:
        mounttable.unmount_below(tmp_path)
    store.free("local:1/a.raw")
    store.free("local:1/a.raw")
    assert store.sizes() == {"local:1/b.raw": 16 * MIB}
    with pytest.raises(RuntimeFailure, match="does not exist"):
        store.mount("local:1/a.raw", target)
    with pytest.raises(RuntimeFailure, match="does not exist"):
        store.grow("local:1/a.raw", MIB)


def test_guests_must_be_able_to_enter_the_labs_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(LabError, match="may not be entered"):
        LxcRuntime(LabLayout("closed", closed / "lab")).host_up(quiet)


def test_a_purged_lab_leaves_nothing(runtime: LxcRuntime, layout: LabLayout) -> None:
    neighbour = (layout.netns, str(layout.root))  # of all labs on the machine only this one is sure to stay meanwhile
    root = Path(tempfile.mkdtemp(prefix="zt-lxc-", dir="/var/tmp"))
    root.chmod(0o755)
    layout = LabLayout(f"p{os.getpid() % 1_000_000}", root)
    try:
        runtime = LxcRuntime(layout)
        runtime.host_up(quiet)
        runtime.host_up(quiet)
        runtime.ensure_template(quiet)
        configs = {vmid: settings(vmid, vmid - 9000) for vmid in (9004, 9010)}
        for vmid, config in configs.items():
            create(runtime, vmid, config)
            runtime.start(vmid, config, quiet)
        pids = [runtime.status(vmid).pid for vmid in configs]
        assert {(layout.netns, str(root)), neighbour} <= host.SharedHost().labs().items()
        inside(runtime, 9004, "echo kept > /root/note && sync")
        runtime.host_down(quiet)
        assert remains(layout) == []
        runtime = LxcRuntime(layout)
        runtime.host_up(quiet)
        runtime.start(9004, configs[9004], quiet)
        assert inside(runtime, 9004, "cat /root/note") == "kept"
        LxcRuntime(layout).purge(quiet)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert remains(layout) == []
        assert layout.netns not in host.SharedHost().labs()
        assert neighbour in host.SharedHost().labs().items()
        assert list(root.iterdir()) == []
    finally:
        LxcRuntime(layout).purge(quiet)  # a second time changes nothing
        shutil.rmtree(root)


def remains(layout: LabLayout) -> list[str]:
    """Everything on the machine that has the lab's name or folder in it."""
    root = str(layout.root)
    found = [f"mount {mount.target}" for mount in mounttable.table() if root in f"{mount.target} {mount.source}"]
    listed = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout
    found += [line for line in listed.splitlines() if root in line]
    if netns.path(layout.netns).exists():
        found.append("namespace")
    found += [str(path) for path in Path("/sys/fs/cgroup").rglob(layout.netns)]
    found += [str(path) for path in Path("/run/lxc").rglob(layout.root.name)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if "\nState:\tZ" in (process / "status").read_text():
                continue  # ended; its parent has not looked yet
            if root in words or layout.netns in (process / "cgroup").read_text():
                found.append(f"process {words}")
    return found
