"""A lab without guests, from up to reset: the API, SSH with pct, and nothing inside."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab_daemon.lab_daemon_tools import LabCommand, listening, traces, until

pytestmark = pytest.mark.skipif(
    shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin") is None or shutil.which("ssh") is None,
    reason="needs OpenSSH's server and client (apt-get install openssh-server openssh-client)",
)
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabCommand]:
    found = LabCommand(tmp_path / "labs", f"n{os.getpid() % 1_000_000}")
    yield found
    found.run("reset", "--yes", check=False)


def create(lab: LabCommand, vmid: int) -> None:
    made = lab.api(
        "POST", "/nodes/pve/lxc", vmid=vmid, ostemplate=TEMPLATE, pool="zentoria", rootfs="local:1", unprivileged=1,
        onboot=1, features="nesting=1",
    )  # fmt: skip
    assert lab.task(made) == "OK"


def take_snapshots(lab: LabCommand) -> None:
    """Every lab has a storage that can, and one that cannot, and pct says so as Proxmox's."""
    cannot = lab.pct("pct snapshot 404 before")
    assert (cannot.returncode, cannot.stderr) == (255, b"snapshot feature is not available\n")
    assert lab.task(lab.api("POST", "/nodes/pve/lxc/404/status/stop")) == "OK"
    move = lab.api("POST", "/nodes/pve/lxc/404/move_volume", volume="rootfs", storage="local-btrfs", delete=1)
    assert lab.task(move) == "OK"
    for line in ("pct snapshot 404 before --description 'as it was'", "pct set 404 --memory 600",
                 "pct rollback 404 before --start"):  # fmt: skip
        done = lab.pct(line)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), line
    assert b"memory: 512\n" in lab.pct("pct config 404").stdout
    shown = lab.pct("pct listsnapshot 404").stdout.decode().splitlines()
    assert [line.split()[1] for line in shown] == ["before", "current"]
    assert shown[0].endswith("as it was")
    assert lab.pct("pct delsnapshot 404 before").returncode == 0
    again = lab.pct("pct delsnapshot 404 before")
    assert (again.returncode, again.stderr) == (255, b"snapshot 'before' does not exist\n")
    until(lambda: lab.pct("pct status 404").stdout == b"status: running\n")


def test_a_life_without_guests(lab: LabCommand) -> None:
    before = listening()
    first = lab.up("--guests", "none")
    assert first["began"] is True
    assert first["guests"] == "none"
    again = lab.up("--guests", "none")
    assert (again["began"], again["ports"]) == (False, first["ports"])
    status = lab.status()
    assert (status["up"], status["api"], status["ssh"]) == (True, "ok", "ok")

    assert lab.api("GET", "/version").json()["data"]["release"] == "9.2"
    create(lab, 404)
    assert lab.task(lab.api("POST", "/nodes/pve/lxc/404/status/start")) == "OK"
    users = [user["userid"] for user in lab.api("GET", "/access/users").json()["data"]]
    assert users == ["zentoria@pve"]

    listed = lab.pct("pct list")
    assert listed.returncode == 0
    assert listed.stdout.decode().splitlines()[1].split() == ["404", "running", "CT404"]
    inside = lab.pct("pct exec 404 -- id")
    assert (inside.returncode, inside.stderr) == (255, b"this lab has no guests inside (--guests none)\n")
    refused = lab.pct("pct set 404 --memory much")
    assert refused.returncode == 255
    assert b"400 Parameter verification failed.\nmemory: type check ('integer') failed - got 'much'" in refused.stderr
    assert lab.pct("pct set 404 --features keyctl=1,nesting=1").returncode == 0
    assert b"features: keyctl=1,nesting=1" in lab.pct("pct config 404").stdout
    take_snapshots(lab)
    assert lab.pct("").returncode == 255
    assert lab.pct("id").stderr == b"only 'pct' may be run here, not 'id'\n"

    assert lab.run("down").stdout == f"Lab '{lab.name}' is down.\n"
    assert lab.status()["up"] is False
    assert lab.run("status", check=False).returncode == 1
    assert lab.run("down").stdout == f"Lab '{lab.name}' was down already.\n"
    assert lab.up()["ports"] == first["ports"]
    assert lab.pct("pct status 404").stdout == b"status: running\n", "onboot=1: it starts with the node"

    lab.run("reset", "--yes")
    assert {kind: found for kind, found in traces(lab).items() if found} == {
        "files": [str(lab.root / f"{lab.name}.known")]
    }
    assert not set(first["ports"].values()) & (listening() - before)


def test_a_killed_daemon_is_taken_over(lab: LabCommand) -> None:
    first = lab.up("--guests", "none")
    create(lab, 404)
    token = (lab.folder / "secrets/token").read_text()
    assert lab.task(lab.api("POST", "/nodes/pve/lxc/404/status/start")) == "OK"
    os.kill(int((lab.folder / "run/daemon.pid").read_text().split()[0]), signal.SIGKILL)
    until(lambda: lab.status()["daemon"] == 0)
    assert lab.status()["up"] is False
    again = lab.up()
    assert (again["began"], again["ports"]) == (True, first["ports"])
    assert (lab.folder / "secrets/token").read_text() == token
    assert lab.api("GET", "/nodes/pve/lxc/404/status/current").json()["data"]["status"] == "running"


def test_sshd_comes_back_when_it_dies(lab: LabCommand) -> None:
    lab.up("--guests", "none")
    old = (lab.folder / "run/sshd.pid").read_text()
    os.kill(int(old.split()[0]), signal.SIGKILL)
    until(lambda: (lab.folder / "run/sshd.pid").read_text() != old and lab.pct("pct list").returncode == 0)


def test_a_taken_port_leaves_nothing_half(lab: LabCommand) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = lab.run("up", "--guests", "none", "--ports", "auto", "--ssh-port", str(port), check=False)
    assert done.returncode == 1
    assert f"port {port} is taken by pid {os.getpid()} (" in done.stderr
    assert not any(traces(lab).values())


def test_a_daemon_that_cannot_start_is_told_with_its_reason(lab: LabCommand) -> None:
    lab.up("--guests", "none")
    lab.run("down")
    (lab.folder / "pve/user.cfg").unlink()
    (lab.folder / "pve/user.cfg").mkdir()
    done = lab.run("up", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert str(lab.folder) in done.stderr
    assert not traces(lab)["processes"]
    assert lab.folder.exists(), "a lab that was up before keeps its state"


def test_other_settings_need_a_stop_first(lab: LabCommand) -> None:
    lab.up("--guests", "none")
    done = lab.run("up", "--api-port", "1", check=False)
    assert done.returncode == 1
    assert "it runs with other settings" in done.stderr


def test_a_lab_whose_file_is_broken_can_still_be_removed(lab: LabCommand) -> None:
    ports = lab.up("--guests", "none")["ports"]
    (lab.folder / "lab.json").write_text("broken")
    for words in (("status",), ("up",), ("down",)):
        done = lab.run(*words, check=False)
        assert done.returncode == 1
        assert f"zentoria lab reset --name {lab.name}" in done.stderr
    assert "removed all the same" in lab.run("reset", "--yes").stderr
    assert not any(traces(lab).values())
    assert not set(ports.values()) & listening()


def test_commands_on_no_lab(lab: LabCommand) -> None:
    assert lab.status() == {"name": lab.name, "up": False}
    assert "there is no such lab" in lab.run("down", check=False).stderr
    assert lab.run("reset").stdout == f"There is no lab '{lab.name}'.\n"
    lab.name = "Not A Name"
    assert "a lab's name has 1 to 8 characters" in lab.run("up", check=False).stderr
