"""From Proxmox's configuration to LXC's: pure, no effects."""

from __future__ import annotations

import ipaddress
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.errors import LabError
from zentoria_infra.lab.lxc import cgroup, config, etcfiles, requirements, rootfs, template
from zentoria_infra.lab.runtime import RuntimeFailure

DB = {
    "hostname": "db.zentoria.local",
    "memory": "2048",
    "swap": "512",
    "cores": "2",
    "cpulimit": "1.5",
    "rootfs": "local:404/vm-404-disk-0.raw,size=8G",
    "mp1": "local:404/vm-404-disk-2.raw,mp=/var/lib/data/deep,size=1G,ro=1",
    "mp0": "local:404/vm-404-disk-1.raw,mp=/var/lib/data/,backup=1,size=4G",
    "net0": "name=eth0,bridge=vmbr40,firewall=1,gw=10.10.47.254,hwaddr=BC:24:11:00:04:04,ip=10.10.40.4/20,type=veth",
    "net1": "name=eth1,bridge=vmbr0,ip=dhcp",
    "unprivileged": "1",
}
PATHS = config.GuestPaths(Path("/lab/guests/404"))
V1 = cgroup.Host(Path("/none"), 1, frozenset({"memory", "cpu", "cpuset"}), True)
V2 = cgroup.Host(Path("/none"), 2, frozenset({"memory", "cpu", "cpuset"}), True)


def text(values: dict[str, str], host: cgroup.Host = V1, apparmor: bool = False) -> list[str]:
    settings = host.settings(config.limits(404, values, (0, 1, 2, 3)))
    return config.lxc_text(404, values, PATHS, config.HostFacts("zt-lab", apparmor), settings).splitlines()


def test_the_file_for_lxc_is_unprivileged_and_below_the_labs_cgroup() -> None:
    lines = text(DB)
    assert "lxc.idmap = u 0 100000 65536" in lines
    assert "lxc.idmap = g 0 100000 65536" in lines
    assert "lxc.uts.name = db" in lines
    assert "lxc.rootfs.path = dir:/lab/guests/404/rootfs" in lines
    assert "lxc.cgroup.dir.container = zt-lab/404" in lines
    assert lines.index("lxc.mount.auto =") < lines.index("lxc.mount.auto = proc:mixed sys:mixed")
    assert "lxc.apparmor.profile = unconfined" in lines
    assert "lxc.apparmor.allow_nesting = 1" in text(DB, apparmor=True)


def test_volumes_go_in_by_number_as_in_proxmox_and_read_only_when_asked() -> None:
    entries = [line for line in text(DB) if line.startswith("lxc.mount.entry = /lab")]
    assert entries == [
        "lxc.mount.entry = /lab/guests/404/mp0 var/lib/data none bind,create=dir 0 0",
        "lxc.mount.entry = /lab/guests/404/mp1 var/lib/data/deep none bind,ro,create=dir 0 0",
    ]
    root, *_ = config.mounts(DB)
    assert root.volume == "local:404/vm-404-disk-0.raw"
    others = {"mp10": "local:1/c.raw,mp=/srv", "mp9": "local:1/b.raw,mp=/srv/deep"}
    assert [point.path for point in config.mounts({"rootfs": "local:1/a.raw", **others})] == ["/", "/srv/deep", "/srv"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (V1, {
            "lxc.cgroup.memory.limit_in_bytes": str(2 << 30),
            "lxc.cgroup.memory.memsw.limit_in_bytes": str((2 << 30) + (512 << 20)),
            "lxc.cgroup.cpu.cfs_period_us": "100000",
            "lxc.cgroup.cpu.cfs_quota_us": "150000",
            "lxc.cgroup.cpuset.cpus": "0,1",
        }),
        (V2, {
            "lxc.cgroup2.memory.max": str(2 << 30),
            "lxc.cgroup2.memory.swap.max": str(512 << 20),
            "lxc.cgroup2.cpu.max": "150000 100000",
            "lxc.cgroup2.cpuset.cpus": "0,1",
        }),
    ],
)  # fmt: skip
def test_limits_take_the_keys_of_the_hosts_cgroup_version(host: cgroup.Host, expected: dict[str, str]) -> None:
    found = dict(
        line.split(" = ", 1) for line in text(DB, host) if line.startswith("lxc.cgroup") and ".dir" not in line
    )
    assert found == expected


def test_a_limit_the_host_cannot_enforce_is_left_out() -> None:
    poor = cgroup.Host(Path("/none"), 1, frozenset({"memory"}), False)
    assert [line for line in text(DB, poor) if line.startswith("lxc.cgroup.") and ".dir" not in line] == [
        f"lxc.cgroup.memory.limit_in_bytes = {2 << 30}"
    ]


@given(st.integers(100, 999_999), st.integers(0, 64), st.integers(1, 16))
def test_cores_are_never_more_than_asked_for_or_there(vmid: int, cores: int, there: int) -> None:
    chosen = config.limits(vmid, {"cores": str(cores)} if cores else {}, range(there)).cpus
    assert len(chosen) == len(set(chosen)) == (min(cores, there) if cores else there)
    assert set(chosen) <= set(range(there))


def test_probe_knows_both_versions(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for name in ("memory", "cpu"):
        (old / name).mkdir(parents=True)
        (old / name / "cgroup.procs").touch()
    new.mkdir()
    (new / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (new / "system.slice").mkdir()
    (new / "system.slice" / "memory.swap.max").touch()
    assert cgroup.probe(old) == cgroup.Host(old, 1, frozenset({"memory", "cpu"}), False)
    assert cgroup.probe(new) == cgroup.Host(new, 2, frozenset({"memory", "cpu", "cpuset"}), True)


def test_use_and_changes_on_v2(tmp_path: Path) -> None:
    guest = tmp_path / "zt-lab" / "404"
    guest.mkdir(parents=True)
    for name, content in {
        "memory.current": "5000", "memory.stat": "anon 1\ninactive_file 1000\n", "memory.swap.current": "7",
        "cpu.stat": "usage_usec 3\nuser_usec 2\n", "io.stat": "7:0 rbytes=10 wbytes=20 rios=1\n8:0 rbytes=1 wbytes=2\n",
    }.items():  # fmt: skip
        (guest / name).write_text(content)
    host = cgroup.Host(tmp_path, 2, frozenset({"memory", "cpu", "cpuset"}), True)
    assert host.use("zt-lab/404") == cgroup.Use(memory=4000, swap=7, cpu=3000, read=11, written=22)
    host.change("zt-lab/404", config.limits(404, {"memory": "64", "swap": "0"}, (0, 1)))
    assert (guest / "memory.max").read_text() == str(64 << 20)
    assert (guest / "cpu.max").read_text() == "max 100000"


def test_devices_are_read_and_the_broadcast_is_that_of_the_whole_network() -> None:
    first, second = config.nets(DB)
    assert (first.name, first.bridge, str(first.gateway)) == ("eth0", "vmbr40", "10.10.47.254")
    assert second.address is None
    assert "addr add 10.10.40.4/20 broadcast 10.10.47.255 dev eth0" in config.inside_batch(first)
    assert config.inside_batch(second) == ["link set dev eth1 addrgenmode none", "link set dev eth1 up"]
    hook = config.hook_text(404, (first, second), Path("/run/netns/zt-lab"), PATHS.pid)
    assert "peer name eth0 address BC:24:11:00:04:04 netns $LXC_PID" in hook
    assert "veth404i1" in hook


def test_a_device_with_a_firewall_gets_a_bridge_of_its_own_and_all_of_it_goes_at_the_end() -> None:
    first, second = config.nets(DB)
    assert (first.firewall, second.firewall) == (True, False)
    assert config.plug_batch(404, second) == ["link set dev veth404i1 master vmbr0 up"]
    lines = config.plug_batch(404, first)
    assert "link add name fwpr404p0 group 404 type veth peer name fwln404i0" in lines
    assert "link set dev fwpr404p0 master vmbr40 up" in lines
    assert [line.split()[3:6] for line in lines if line.endswith("master fwbr404i0 up")] == [
        ["fwln404i0", "master", "fwbr404i0"],
        ["veth404i0", "master", "fwbr404i0"],
    ]
    hook = config.hook_text(404, (first, second), Path("/run/netns/zt-lab"), PATHS.pid)
    removed, made = hook.split('[ "${3-}" != stop ] || exit 0\n')
    assert "ip link delete group 404 2>/dev/null || true\n" in removed
    for device in ("veth404i0", "fwpr404p0", "fwbr404i0", "veth404i1"):
        assert f"link add name {device} group 404 type" in made
    assert made.count("nsenter") == 2, "one batch for the lab's side, one for the guest's: starts stay fast"
    assert f"lxc.hook.stop = {PATHS.hook}" in text(DB)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ("name=eth0,ip=10.10.40.4/20", "no bridge"),
        ("bridge=vmbr0", "no interface name"),
        ("name=eth0,bridge=vmbr0,ip=10.10.40.999/20", "net0"),
    ],
)
def test_a_device_that_cannot_be_made_is_a_clear_failure(net: str, words: str) -> None:
    with pytest.raises(RuntimeFailure, match=words):
        config.nets({"net0": net})


@pytest.mark.parametrize("path", ["var", "/../etc", ""])
def test_a_volume_outside_of_the_guest_is_refused(path: str) -> None:
    with pytest.raises(RuntimeFailure, match="mp0"):
        config.mounts({"rootfs": "local:1/a.raw", "mp0": f"local:1/b.raw,mp={path}"})


@pytest.mark.parametrize(("written", "size"), [("8G", 8 << 30), ("102M", 102 << 20), ("0T", 0), ("512", 512)])
def test_sizes(written: str, size: int) -> None:
    assert config.size(written) == size


def test_a_size_without_sense_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match="1X"):
        config.size("1X")


@given(
    st.text("ab# -\n", max_size=60),
    st.lists(st.text("xyz", min_size=1, max_size=5), max_size=3),
    st.lists(st.text("xyz", min_size=1, max_size=5), max_size=3),
)
def test_a_section_is_replaced_in_place_and_the_rest_kept(before: str, first: list[str], second: list[str]) -> None:
    once = etcfiles.section(before, first)
    assert etcfiles.section(once, first) == once
    if first:
        assert etcfiles.section(once, second) == etcfiles.section(before, second) or not second
    assert once.startswith(before)


def test_hosts_and_resolver() -> None:
    values = {**DB, "searchdomain": "zentoria.local", "nameserver": "10.10.47.254 10.10.47.253"}
    assert etcfiles.hosts_lines(404, values) == ["10.10.40.4 db.zentoria.local db"]
    assert etcfiles.resolver_lines(values) == [
        "search zentoria.local", "nameserver 10.10.47.254", "nameserver 10.10.47.253",
    ]  # fmt: skip
    assert etcfiles.resolver_lines({}) == []
    assert etcfiles.hosts_lines(404, {}) == ["127.0.1.1 CT404"]
    assert etcfiles.hosts_lines(404, {"hostname": "a.b.c", "searchdomain": "d.e"}) == ["127.0.1.1 a.b.c a"]


def test_files_are_never_written_through_a_guests_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    guest = tmp_path / "guest"
    (guest / "etc").mkdir(parents=True)
    (guest / "etc" / "hosts").symlink_to(outside)
    try:
        etcfiles.write(guest, 404, DB)
    except RuntimeFailure:
        pytest.skip("giving files to the guest's ids needs root")
    assert outside.read_text() == "mine"
    assert not (guest / "etc" / "hosts").is_symlink()
    assert "10.10.40.4 db" in (guest / "etc" / "hosts").read_text()
    elsewhere = tmp_path / "second"
    elsewhere.mkdir()
    (elsewhere / "etc").symlink_to(tmp_path)
    with pytest.raises(RuntimeFailure, match="CT 404"):
        etcfiles.write(elsewhere, 404, DB)


def test_capabilities_become_those_of_the_guests_root() -> None:
    plain = struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0)
    assert rootfs.namespaced_capability(plain) == struct.pack("<6I", 0x03000001, 0x2000, 0, 0, 0, 100000)
    done = rootfs.namespaced_capability(plain)
    assert rootfs.namespaced_capability(done) == done


LISTED = """http://packages.test/tool/ bookworm main
http://mirror.test/debian/ bookworm main
http://mirror.test/debian/ bookworm-updates main
http://mirror.test/debian/ bookworm contrib
http://mirror.test/debian-security/ bookworm-security main
http://other.test/node/ nodistro main
"""


def origin(line: str) -> str:
    return "Debian" if "mirror.test" in line else "Somebody"


@pytest.mark.parametrize("known", [True, False])
def test_the_mirror_is_this_machines(known: bool) -> None:
    lines = [f"{line} {origin(line) if known else '$(ORIGIN)'}" for line in LISTED.splitlines()]
    found = template.choose("\n".join(lines), "bookworm")
    assert found == template.Mirrors("http://mirror.test/debian", "http://mirror.test/debian-security")
    assert "deb http://mirror.test/debian-security trixie-security main" in found.lines()
    assert "Suites: trixie trixie-updates" in found.stanzas("/k.gpg")
    assert template.choose("http://mirror.test/debian stable main", "").security == ""


def test_two_labs_at_once_build_the_template_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []

    def build(target: Path, log: object) -> None:
        builds.append(target)
        target.write_text("template")

    monkeypatch.setattr(template, "_build", build)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: template.ensure(tmp_path / "cache", tmp_path / f"lab{n}", print), range(4)))
    assert len(builds) == 1
    assert [path.read_text() for path in found] == ["template"] * 4
    assert [path.name for path in (tmp_path / "lab0").iterdir()] == [template.NAME]


def test_a_template_that_cannot_be_built_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: list[str], **_: object) -> str:
        if words[0] == "mmdebstrap":
            (tmp_path / "cache" / f".partial-{template.NAME}").write_text("half")
            raise RuntimeFailure("no route")
        return ""

    monkeypatch.setattr(template, "run", fail)
    monkeypatch.setattr(template, "mirrors", lambda: template.Mirrors("http://mirror.test/debian", ""))
    monkeypatch.setattr(template, "_keyring", lambda *_: tmp_path / "k.gpg")
    with pytest.raises(LabError, match="no route"):
        template.ensure(tmp_path / "cache", tmp_path / "lab", print)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert list((tmp_path / "lab").iterdir()) == []


def test_a_suite_that_no_key_verifies_is_never_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def nothing_fits(words: list[str], **_: object) -> str:
        asked.append(words[0])
        if words[0] == "gpgv":
            raise RuntimeFailure("no public key")
        return ""

    monkeypatch.setattr(template, "run", nothing_fits)
    monkeypatch.setattr(template, "mirrors", lambda: template.Mirrors("http://mirror.test/debian", ""))
    with pytest.raises(LabError, match="verify the signature"):
        template.ensure(tmp_path / "cache", tmp_path / "lab", lambda line: None)
    assert "mmdebstrap" not in asked
    assert "apt-get" in asked


def test_a_machine_without_debians_archive_is_told_so() -> None:
    with pytest.raises(LabError, match="no source for Debian"):
        template.choose("http://other.test/node nodistro main", "jammy")


def test_what_is_missing_is_one_line() -> None:
    found = [
        requirements.Missing("root", "run it as root"),
        requirements.Missing("lxc-start", "install lxc", "lxc"),
        requirements.Missing("lxc-attach", "install lxc", "lxc"),
        requirements.Missing("zstd", "install zstd", "zstd"),
    ]
    assert requirements.sentence(found) == (
        "real guests need root, lxc-start, lxc-attach, zstd: run it as root; "
        "apt-get install --no-install-recommends lxc zstd"
    )
    assert requirements.sentence([]) == ""


def test_addresses_of_the_default_bridges_leave_room_for_all() -> None:
    from zentoria_infra.lab.lxc.network import BRIDGES

    inside = ipaddress.IPv4Interface(BRIDGES["vmbr40"])
    assert str(inside) == "10.10.47.254/20"
