"""A lab with real guests, from nothing to nothing."""

from __future__ import annotations

import getpass
import hashlib
import os
import shlex
import shutil
import signal
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab_daemon.lab_daemon_tools import LabCommand, kernel, listening, traces, until
from zentoria_infra.lab.lxc import host, requirements
from zentoria_infra.lab.lxc.network import OUTSIDE
from zentoria_infra.lab.lxc.template import NAME, default_cache
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.proxmox.shell.ssh import SshTarget

MISSING = requirements.sentence(requirements.missing())
pytestmark = [
    pytest.mark.root,
    pytest.mark.lxc,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "everything is there"),
]
PROXY = "http://10.10.47.254:3128"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCommand]:
    # not pytest's folder: guests run as other users and cannot enter it
    root = Path(tempfile.mkdtemp(prefix="zt-dmn-", dir="/var/tmp"))
    root.chmod(0o755)
    if (built := default_cache() / NAME).exists():
        (root / ".cache").mkdir()
        shutil.copy(built, root / ".cache" / NAME)
    found = LabCommand(root, f"d{os.getpid() % 1_000_000}")
    yield found
    found.run("reset", "--yes", check=False)
    shutil.rmtree(root, ignore_errors=True)


def create(lab: LabCommand, vmid: int, last: int, order: int) -> None:
    made = lab.api(
        "POST", "/nodes/pve/lxc", vmid=vmid, ostemplate=f"local:vztmpl/{NAME}", pool="zentoria", rootfs="local:1",
        unprivileged=1, onboot=1, startup=f"order={order}", features="nesting=1", memory=256,
        net0=f"name=eth0,bridge=vmbr40,firewall=1,ip=10.10.40.{last}/20,gw=10.10.47.254",
    )  # fmt: skip
    assert lab.task(made) == "OK"
    assert lab.task(lab.api("POST", f"/nodes/pve/lxc/{vmid}/status/start")) == "OK"


def inside(lab: LabCommand, vmid: int, *argv: str, feed: bytes | None = None) -> str:
    done = lab.pct(shlex.join(["pct", "exec", str(vmid), "--", *argv]), feed)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout.decode()


def test_from_nothing_to_nothing(lab: LabCommand) -> None:
    before, ports = kernel(), listening()
    alone = not host.STATE.exists()  # no other lab on this machine, then and now
    first = lab.up("--guests", "lxc")
    create(lab, 404, 4, 1)
    create(lab, 408, 8, 2)

    assert inside(lab, 404, "id", "-u") == "0\n"
    assert inside(lab, 404, "cat", feed=b"one\0two\n") == "one\0two\n"
    assert lab.pct("pct exec 404 -- sh -c 'exit 7'").returncode == 7
    assert lab.pct("pct exec 999 -- id").stderr == b"Configuration file 'nodes/pve/lxc/999.conf' does not exist\n"
    assert set(inside(lab, 404, "env").split()) >= {"HOME=/root", "container=lxc"}
    assert "SSH_" not in inside(lab, 404, "env")

    (lab.folder / "files/page").write_bytes(b"hello")
    assert lab.pct("pct push 404 page /srv/page --perms 0640 --group www-data").returncode == 0
    assert inside(lab, 404, "stat", "-c", "%a %U %G", "/srv/page") == "640 root www-data\n"
    assert lab.pct("pct pull 404 /srv/page copy").returncode == 0
    assert (lab.folder / "files/copy").read_bytes() == b"hello"
    assert lab.pct("pct pull 404 /srv/page /etc/zentoria-test").returncode == 255
    assert not Path("/etc/zentoria-test").exists()

    _many_at_once(lab)
    _proxy(lab)
    _forward(lab, first["ports"]["http"])
    _firewall(lab, first["ports"]["http"])
    _killed_and_back(lab, first)

    assert lab.run("down").stdout.endswith("is down.\n")
    left = traces(lab)
    assert not left["processes"] + left["mounts"] + left["namespaces"] + left["loops"]
    assert lab.up()["ports"] == first["ports"]
    assert inside(lab, 404, "cat", "/srv/page") == "hello", "data stays"
    assert lab.pct("pct status 408").stdout == b"status: running\n"
    lab.run("reset", "--yes")
    assert {kind: found for kind, found in traces(lab).items() if found} == {
        "files": [str(lab.root / f"{lab.name}.known")]
    }
    assert not set(first["ports"].values()) & (listening() - ports)
    after = kernel()
    if alone and not host.STATE.exists():
        assert after == before


def _many_at_once(lab: LabCommand) -> None:
    """Our own client: one connection, eight channels, more callers than that; streams of some size."""
    secrets = lab.folder / "secrets"
    target = SshTarget(
        "127.0.0.1", (secrets / "ssh_host_key.pub").read_text().strip(), port=lab.settings["ports"]["ssh"],
        user=getpass.getuser(), key_file=secrets / "ssh_client_key",
    )  # fmt: skip
    pct = Pct(target, Gates(1))
    data = os.urandom(1 << 20)

    def one(number: int) -> bool:
        result = pct.exec(404 if number % 2 else 408, ["sha256sum"], stdin=data + bytes([number]))
        return result.stdout.decode().split()[0] == hashlib.sha256(data + bytes([number])).hexdigest()

    try:
        with ThreadPoolExecutor(17) as pool:
            assert all(pool.map(one, range(51)))
    finally:
        pct.close()


_ASK = """
import sys, urllib.request as u
opener = u.build_opener(u.ProxyHandler({"http": sys.argv[1], "https": sys.argv[1]}))
for address in sys.argv[2:]:
    try:
        print(opener.open(address, timeout=30).status)
    except u.HTTPError as error:
        print(error.code)
    except OSError as error:
        print(error)
"""


def _proxy(lab: LabCommand) -> None:
    """Hosts of the machine's package sources are let through, others are not; there is no other way out."""
    said = inside(lab, 404, "python3", "-c", _ASK, PROXY, "http://192.0.2.1/", "https://192.0.2.1/").splitlines()
    assert said[0] == "403"
    assert "403" in said[1]
    inside(lab, 404, "apt-get", "-o", f"Acquire::http::Proxy={PROXY}", "-o", "APT::Update::Error-Mode=any", "update")
    direct = lab.pct("pct exec 404 -- python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 5)'")
    assert direct.returncode != 0
    inside(lab, 404, "apt-get", "-o", f"Acquire::http::Proxy={PROXY}", "install", "-y", "-qq",
           "--no-install-recommends", "hello")  # fmt: skip
    assert inside(lab, 404, "hello") == "Hello, world!\n"
    assert "hello_" in (lab.folder / "log/proxy.log").read_text()


def _forward(lab: LabCommand, port: int) -> None:
    inside(lab, 408, "sh", "-c", "mkdir /srv/www; echo from 408 >/srv/www/index.html")
    inside(lab, 408, "systemd-run", "--unit=www", "python3", "-m", "http.server", "80", "-d", "/srv/www")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=5) as found:
                return bool(found.read() == b"from 408\n")
        except OSError:
            return False

    until(answers)
    assert lab.task(lab.api("POST", "/nodes/pve/lxc/408/status/reboot")) == "OK"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.settimeout(20)
        assert connection.recv(1) == b"", "nobody listens there now: closed, and not left hanging"
    until(lambda: lab.pct("pct exec 408 -- test -S /run/dbus/system_bus_socket").returncode == 0)
    inside(lab, 408, "systemd-run", "--unit=www", "python3", "-m", "http.server", "80", "-d", "/srv/www")
    until(answers)


_REACHES = "import socket; socket.create_connection(('10.10.40.8', 80), 0.4)"


def _firewall(lab: LabCommand, port: int) -> None:
    """What is written through the API is in force with the next cycle; users come from outside; a cut is over SSH."""
    guest = "/nodes/pve/lxc/408/firewall"

    def reaches() -> bool:
        return lab.pct(shlex.join(["pct", "exec", "404", "--", "python3", "-c", _REACHES])).returncode == 0

    def said(status: str) -> bool:
        return bool(lab.status()["firewall"] == status)

    assert said("off (the datacenter's switch)")
    switches: dict[str, dict[str, Any]] = {
        f"{guest}/options": {"enable": 1, "policy_in": "DROP"},
        "/cluster/firewall/options": {"enable": 1},
    }
    for path, values in switches.items():
        assert reaches()
        assert lab.api("PUT", path, **values).status_code == 200
    until(lambda: said("on, 1 network devices filtered"), 20)
    assert not reaches()

    users: dict[str, Any] = {
        "type": "in",
        "action": "ACCEPT",
        "source": OUTSIDE,
        "proto": "tcp",
        "dport": "80",
        "enable": 1,
    }
    assert lab.api("POST", f"{guest}/rules", **users).status_code == 200
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=1) as found:
                return bool(found.read() == b"from 408\n")
        except OSError:
            return False

    until(answers, 20)
    assert not reaches(), "another guest is no user"
    client: dict[str, Any] = {**users, "source": "10.10.40.4"}
    assert lab.api("POST", f"{guest}/rules", **client).status_code == 200
    until(reaches, 20)
    cut = lab.pct("conntrack -D -s 10.10.40.4 -d 10.10.40.8 -p tcp --dport 80")
    assert (cut.returncode, b"flow entries have been deleted" in cut.stderr) == (0, True)
    assert b"src=10.10.40.4 dst=10.10.40.8" in cut.stdout
    assert lab.pct("conntrack -F").returncode == 255


def _killed_and_back(lab: LabCommand, first: dict[str, object]) -> None:
    boot = inside(lab, 404, "cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat").split()[22]
    os.kill(int((lab.folder / "run/daemon.pid").read_text().split()[0]), signal.SIGKILL)
    until(lambda: lab.status()["daemon"] == 0)
    assert inside(lab, 404, "cat", "/srv/page") == "hello", "pct exec needs no daemon"
    assert lab.pct("pct list").returncode == 255
    again = lab.up()
    assert (again["began"], again["ports"]) == (True, first["ports"])
    now = inside(lab, 404, "cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat").split()[22]
    assert now == boot, "the guest went on"
    assert lab.status()["running"] == 2
    assert lab.status()["firewall"] == "on, 1 network devices filtered"
