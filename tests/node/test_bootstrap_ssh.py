"""The restricted key, as bootstrap installs it, on OpenSSH's own sshd with a fake ``pct``."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from zentoria_infra.bootstrap import look
from zentoria_infra.bootstrap import ssh as bootstrap_ssh
from zentoria_infra.bootstrap.files import SiteFiles
from zentoria_infra.bootstrap.ssh import InstallError, NoShellError, Places
from zentoria_infra.cli import context
from zentoria_infra.cli.commands import bootstrap
from zentoria_infra.errors import ApiError, AuthError
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.node import install
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.shell.conntrack import Conntrack, ConntrackError
from zentoria_infra.proxmox.shell.filtered import FilterReader
from zentoria_infra.proxmox.shell.node_state import ProgramState, SshRunner
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget

ROOT = Path(__file__).resolve().parents[2]
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
needs_sshd = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="sshd lets in other users than its own only as root"),
    pytest.mark.skipif(not Path(SSHD).exists(), reason="openssh-server is not installed"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="openssh-client is not installed"),
]
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/root/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""
PCT = """#!/bin/sh
case "$1" in
exec) shift 3; exec "$@" ;;
status) echo "status: running" ;;
set) echo "$@" >{folder}/set ;;
esac
"""
FOREIGN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjLq2a2c1Zb1kZkYV3pGv1Kf8mBq3nq4bq8Xy0aZ7wd somebody@example.org"


FILTERED = '{"enabled": true, "there": ["veth404i0-IN"], "pending": ["veth404i0-OUT"]}'
SYSTEMCTL = """#!/bin/sh
# A timer is on from `enable` to `disable`.
echo "$@" >>{folder}/systemctl
case $1 in
enable) touch {folder}/timer-on ;;
disable) rm -f {folder}/timer-on ;;
is-*) test -e {folder}/timer-on ;;
esac
"""


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load(ROOT, site="lab")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Path]:
    """A folder that stands for a node: containers 404 (ours) and 405 (not), and a linked authorized_keys, as on PVE."""
    for name in ("lxc", "bin", "root", "etc", "pve"):
        (tmp_path / name).mkdir()
    (tmp_path / "lxc" / "404.conf").write_text("#zentoria-id%3A lab/404\nmemory: 512\nunprivileged: 1\n")
    (tmp_path / "lxc" / "412.conf").write_text("#zentoria-id%3A lab/412\nmemory: 512\nunprivileged: 1\n")
    (tmp_path / "lxc" / "405.conf").write_text("memory: 512\n")
    pct = tmp_path / "bin" / "pct"
    pct.write_text(PCT.format(folder=tmp_path))
    pct.chmod(0o755)
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(SYSTEMCTL.format(folder=tmp_path))
    systemctl.chmod(0o755)
    (tmp_path / "pve" / "authorized_keys").write_text(f"# of the cluster\n{FOREIGN}\n")
    (tmp_path / "root" / "authorized_keys").symlink_to("../pve/authorized_keys")
    yield tmp_path


@pytest.fixture
def places(node: Path) -> Places:
    programs = {
        "pct": [str(node / "bin" / "pct")],
        "conntrack": ["/bin/sh", "-c", "echo '3 flow entries have been deleted.' >&2"],
        "zentoria-state": [sys.executable, "-IS", str(node / "bin" / "zentoria-state")],
        "zentoria-firewall": ["/bin/sh", "-c", f"echo '{FILTERED}'"],
    }
    return Places(
        gate=str(node / "bin" / "zentoria-gate"),
        state=str(node / "bin" / "zentoria-state"),
        firewall=str(node / "bin" / "zentoria-firewall"),
        units=str(node / "units"),
        systemctl=(str(node / "bin" / "systemctl"),),
        settings=str(node / "etc" / "zentoria"),
        keys=str(node / "root" / "authorized_keys"),
        python=sys.executable,
        more={"guests": str(node / "lxc"), "locks": str(node / "lock"), "programs": programs},
    )


@pytest.fixture
def sshd(node: Path) -> Iterator[SshTarget]:
    """A sshd whose authorized_keys is the node's, with root's own key in it."""
    for name in ("host", "admin"):
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", str(node / name)], check=True)
    with (node / "pve" / "authorized_keys").open("a") as stream:
        stream.write((node / "admin.pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (node / "config").write_text(CONFIG.format(port=port, folder=node))
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(node / "config")], stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield SshTarget("127.0.0.1", (node / "host.pub").read_text(), port=port, key_file=node / "admin")
    server.terminate()
    server.wait(10)


class TestOverSsh:
    pytestmark = needs_sshd

    def test_our_clients_work_through_it_and_nothing_else_does(
        self, sshd: SshTarget, node: Path, places: Places, inventory: Inventory
    ) -> None:
        key = node / "own" / "ssh_key"
        assert bootstrap_ssh.ensure_key(key, "zentoria")
        assert not bootstrap_ssh.ensure_key(key, "zentoria")
        assert key.stat().st_mode & 0o777 == 0o600
        public = bootstrap_ssh.public_line(key)
        root = SshConnection(sshd)
        before = (node / "pve" / "authorized_keys").read_text()
        dry = bootstrap_ssh.install(root, inventory, public, places=places, dry=True)
        assert len(dry.changed) == 8
        assert not (node / "units").exists() and not (node / "timer-on").exists()
        assert (node / "pve" / "authorized_keys").read_text() == before
        done = bootstrap_ssh.install(root, inventory, public, places=places)
        assert done.changed == dry.changed
        assert (node / "root" / "authorized_keys").is_symlink()
        assert (node / "pve" / "authorized_keys").read_text().startswith(before)
        again = bootstrap_ssh.install(root, inventory, public, places=places)
        assert (again.changed, again.same) == ((), done.changed)
        assert (node / "timer-on").exists()
        unit = (node / "units" / "zentoria-firewall.service").read_text()
        assert f"ExecStart={sys.executable} -IS {places.firewall} close\n" in unit
        (node / "timer-on").unlink()
        put_right = bootstrap_ssh.install(root, inventory, public, places=places)
        assert put_right.changed == ("the timer zentoria-firewall.timer",)

        ours = SshTarget(sshd.host, sshd.host_key, port=sshd.port, key_file=key)
        bootstrap_ssh.prove(ours)
        pct = Pct(ours, Gates(), timeout=30)
        assert pct.exec(404, ["sh", "-c", "cat; echo 'a;b' >&2; exit 7"], b"in").exit == 7
        assert pct.exec(404, ["printf", "%s", "it's $HOME; `id`\n"]).stdout == b"it's $HOME; `id`\n"
        assert pct.status(404) == "running"
        pct.set(412, features="keyctl=1,nesting=1")
        assert (node / "set").read_text().startswith("set 412 --features keyctl=1,nesting=1 --digest ")
        with pytest.raises(ApiError, match="none of container 404"):
            pct.set(404, features="keyctl=1,nesting=1")
        with pytest.raises(ApiError, match="not allowed with these arguments"):
            pct.set(404, memory=99999)
        foreign = pct.exec(405, ["id"])
        assert (foreign.exit, foreign.stdout) == (126, b"")
        assert b"not Zentoria's" in foreign.stderr
        assert b"none of the VMIDs" in pct.exec(999, ["id"]).stderr
        connections = Conntrack(pct.connection)
        assert connections.cut("10.10.40.4", "192.0.2.2", "tcp", 443) == 3
        with pytest.raises(ConntrackError, match="neither end"):
            connections.cut("192.0.2.1", "192.0.2.2")
        reader = FilterReader(ours)
        assert reader.read().lacking(404) == ("veth404i*-OUT", "veth404i0-OUT")
        reader.close()
        state = ProgramState("lab", SshRunner(pct.connection, "pve"))
        assert state.holder() is None
        for command in ("", "bash -i", "pct status 404; id", "scp -t /tmp", "cat /etc/shadow"):
            code, stdout, stderr = bootstrap_ssh._command(pct.connection, command, b"", "try")
            assert (code, stdout) == (126, b""), command
            assert b"zentoria-gate" in stderr
        with pct.connection.channel("a terminal") as channel, pytest.raises(paramiko.SSHException):
            channel.get_pty()
        with pct.connection.channel("a shell") as channel:
            channel.invoke_shell()
            assert channel.recv(100) == b""
            assert channel.recv_exit_status() == 126
        pct.close()

        gone = bootstrap_ssh.install(root, inventory, public, places=places, remove=True)
        assert len(gone.changed) == 7
        assert not (node / "timer-on").exists() and not list((node / "units").iterdir())
        assert (node / "pve" / "authorized_keys").read_text() == before
        assert not list((node / "etc" / "zentoria").iterdir())
        root.close()

    def test_without_a_root_shell_it_says_so(
        self, sshd: SshTarget, node: Path, places: Places, inventory: Inventory
    ) -> None:
        key = node / "own" / "ssh_key"
        bootstrap_ssh.ensure_key(key, "zentoria")
        ours = SshTarget(sshd.host, sshd.host_key, port=sshd.port, key_file=key)
        with pytest.raises(AuthError, match=r"no root shell on the node to do it with: with .*ssh_key: "):
            bootstrap_ssh.root_login([ours])
        root = bootstrap_ssh.root_login([ours, sshd])
        bootstrap_ssh.install(root, inventory, bootstrap_ssh.public_line(key), places=places)
        root.close()
        with pytest.raises(NoShellError, match="only Zentoria's own commands may be run here"):
            bootstrap_ssh.root_login([ours])

    def test_a_key_that_is_let_in_elsewhere_is_not_restricted(
        self, sshd: SshTarget, node: Path, places: Places, inventory: Inventory
    ) -> None:
        root = SshConnection(sshd)
        with pytest.raises(InstallError, match="another line with the same key"):
            bootstrap_ssh.install(root, inventory, bootstrap_ssh.public_line(node / "admin"), places=places)
        root.close()
        with pytest.raises(InstallError, match="not restricted by the gate"):
            bootstrap_ssh.prove(sshd)

    def test_the_commands_part(
        self, sshd: SshTarget, node: Path, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap_ssh, "Places", lambda: places)
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        ssh: dict[str, Any] = {"host": sshd.host, "port": sshd.port, "host_key": " ".join(sshd.host_key.split()[:2])}
        inventory = load(
            ROOT, site="lab", overrides={"secrets_file": str(node / "own" / "secrets.json"), "proxmox": {"ssh": ssh}}
        )
        files = SiteFiles(inventory.site)

        def run(*, dry: bool = False, remove: bool = False, key: Path | None = sshd.key_file) -> dict[str, Any]:
            look.require_usable(files, key, with_ssh=True)
            door = look.door(inventory, context.ssh_of(inventory.site), files, key, remove=remove)
            try:
                return bootstrap._ssh(inventory, files, door, dry=dry, remove=remove)
            finally:
                if door is not None:
                    door.close()

        def nothing_was_done() -> None:
            assert not files.folder.exists()
            assert not (node / "etc" / "zentoria").exists()

        before = (node / "pve" / "authorized_keys").read_text()
        with pytest.raises(AuthError, match=r"the SSH agent has no key.*\n.*--no-ssh"):
            run(key=None)
        foreign = node / "keys" / "foreign"
        bootstrap_ssh.ensure_key(foreign, "of another node")
        with pytest.raises(AuthError, match=r"foreign: .*\n.*--no-ssh"):
            run(key=foreign)
        assert run(remove=True) == {}
        nothing_was_done()
        dry = run(dry=True)
        nothing_was_done()
        done = run()
        assert done["changed"] == dry["changed"]
        assert len(done["changed"]) == 9
        assert context.ssh_of(inventory.site) == SshTarget(sshd.host, ssh["host_key"], sshd.port, key_file=files.key)
        again = run()
        assert (again["changed"], len(again["same"])) == ([], 8)
        assert "is in place" in run(key=files.key)["why_not"]
        gone = run(remove=True)
        assert len(gone["changed"]) == 8
        own = {"secrets_file": str(node / "own" / "secrets.json")}
        roots = load(ROOT, site="lab", overrides={**own, "proxmox": {"ssh": {**ssh, "key_file": str(node / "admin")}}})
        with pytest.raises(InstallError, match="another line with the same key"):
            look.door(roots, sshd, SiteFiles(roots.site), sshd.key_file, remove=False)
        assert (node / "pve" / "authorized_keys").read_text() == before
        (node / "pve" / "authorized_keys").write_text(f'command="echo no" {(node / "admin.pub").read_text()}')
        assert "nothing was installed on the node: there is no root shell" in run()["why_not"]
        assert not files.key.exists()
        assert files.made() == ()


LINE = 'restrict,command="x" ssh-ed25519 AAAA zentoria-gate:home'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{LINE}\n"),
        (FOREIGN, f"{FOREIGN}\n{LINE}\n"),
        (f"{FOREIGN}\n\n", f"{FOREIGN}\n{LINE}\n"),
        (f"# zentoria-gate:home\n{FOREIGN}\r\n", f"# zentoria-gate:home\n{FOREIGN}\r\n{LINE}\n"),
        (f"{LINE.replace('x', 'old')}\n{FOREIGN}\n{LINE}\n", f"{FOREIGN}\n{LINE}\n"),
        ("ssh-ed25519 BBBB zentoria-gate:other\n", f"ssh-ed25519 BBBB zentoria-gate:other\n{LINE}\n"),
    ],
)
def test_only_our_line_of_authorized_keys_changes(tmp_path: Path, before: str, after: str) -> None:
    keys = tmp_path / "authorized_keys"
    keys.write_bytes(before.encode())
    keys.chmod(0o640)
    assert install.authorize(str(keys), LINE, "zentoria-gate:home", dry=False)
    assert keys.read_bytes() == after.encode()
    assert keys.stat().st_mode & 0o777 == 0o640
    assert not install.authorize(str(keys), LINE, "zentoria-gate:home", dry=False)
    assert [file.name for file in tmp_path.iterdir()] == ["authorized_keys"]


def test_programs_stay_while_another_site_needs_them(node: Path, places: Places, inventory: Inventory) -> None:
    settings = Path(places.settings)
    settings.mkdir()
    (settings / "other.json").write_text("{}")
    Path(places.gate).write_text("x")
    order = {
        "dry": False, "remove": True, "programs": {places.gate: ""}, "settings": str(settings / "lab.json"),
        "keys": places.keys, "mark": "zentoria-gate:lab",
        "units": {}, "timer": "zentoria-firewall.timer", "systemctl": places.systemctl,
    }  # fmt: skip
    assert install.carry_out(order)["changed"] == []
    assert Path(places.gate).exists()
    (settings / "other.json").unlink()
    assert install.carry_out(order)["changed"] == [places.gate]


def test_the_timers_service_can_read_the_key_that_leads_to_other_nodes() -> None:
    """``pvesh`` asks a container's own node, by ssh as root."""
    assert "ProtectHome=read-only\n" in bootstrap_ssh._SERVICE


def test_settings_hold_what_the_site_has(inventory: Inventory) -> None:
    values = bootstrap_ssh.gate_settings(inventory)
    assert values["site"] == "lab"
    assert 404 in values["vmids"]
    assert len(values["vmids"]) == len(inventory.containers)
    assert values["networks"] == ["10.10.32.0/20"]
    assert values["features"]["412"] == ["keyctl", "nesting"]
    assert values["features"]["404"] == ["nesting"]
    assert values["privileged"] == []
    assert json.dumps(values)


def test_a_systemd_that_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\nexec sleep 60\n")
    systemctl.chmod(0o755)
    monkeypatch.setattr(install, "SECONDS", 0.1, raising=False)
    order = {"dry": False, "remove": False, "programs": {}, "units": {}, "timer": "x.timer"}
    assert install.main(json.dumps({**order, "systemctl": [str(systemctl)]})) == 1
    assert "`systemctl is-enabled --quiet x.timer` took more than" in json.loads(capsys.readouterr().out)["error"]
