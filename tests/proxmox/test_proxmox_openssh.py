"""``pct`` over OpenSSH's own sshd, as a Proxmox node runs it: quoting by a real shell, MaxSessions, real cuts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import psutil
import pytest
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF

from zentoria_infra.errors import UnreachableError
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.proxmox.shell.ssh import SshTarget

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="sshd lets in other users than its own only as root"),
    pytest.mark.skipif(not Path(SSHD).exists(), reason="openssh-server is not installed"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="openssh-client is not installed"),
]
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
HostKey {folder}/host-rsa
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
ForceCommand PATH={folder}/bin:$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], SshTarget, Path]]:
    folder = tmp_path_factory.mktemp("sshd")
    for name, kind in {"host": "ed25519", "host-rsa": "rsa", "user": "ed25519"}.items():
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", kind, "-f", str(folder / name)], check=True)
    (folder / "bin").mkdir()
    pct = folder / "bin" / "pct"
    pct.write_text('#!/bin/sh\n[ "$1 $3" = "exec --" ] || exit 99\nshift 3\nexec "$@"\n')
    pct.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own; absent until its service has run once
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    target = SshTarget("127.0.0.1", (folder / "host.pub").read_text(), port=port, key_file=folder / "user")
    yield server, target, folder
    server.terminate()
    server.wait(10)


@pytest.fixture
def pct(sshd: tuple[subprocess.Popen[bytes], SshTarget, Path]) -> Iterator[Pct]:
    made = Pct(sshd[1], Gates(), timeout=30)
    yield made
    made.close()


def test_shell_quoting_streams_and_exit_codes(pct: Pct) -> None:
    nasty = ["it's", "", "a b", '$HOME `id` \\ "x"', "*", "ä\n|;&", "-n"]
    result = pct.exec(404, ["printf", "%s\\0", *nasty])
    assert result.stdout.decode().split("\0")[:-1] == nasty
    result = pct.exec(404, ["sh", "-c", "cat >&2; exit 42"], b"to stderr")
    assert (result.exit, result.stdout, result.stderr) == (42, b"", b"to stderr")
    assert pct.exec(404, ["no-such-command"]).exit == 127


def test_big_streams(pct: Pct) -> None:
    data = os.urandom(1 << 20) * 16
    assert pct.exec(404, ["cat"], data).stdout == data


def test_twenty_at_once_stay_below_max_sessions(pct: Pct) -> None:
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda n: pct.exec(404, ["sh", "-c", f"sleep 0.1; exit {n}"]).exit, range(20)))
    assert results == list(range(20))


@pytest.mark.parametrize("late", ["data", "end of input"])
def test_what_comes_after_a_command_has_ended_does_not_cost_the_connection(
    pct: Pct, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """sshd ends a connection on which something comes for a channel that both sides have closed."""
    with pct.connection.channel("first") as other, pct.connection.channel("second") as channel:
        transport = channel.get_transport()
        send = type(transport)._send_user_message
        mine = threading.get_ident()

        def delayed(self: paramiko.Transport, data: paramiko.Message) -> None:
            if threading.get_ident() == mine and data.asbytes()[0] in (MSG_CHANNEL_DATA, MSG_CHANNEL_EOF):
                for _ in range(1000):
                    if channel.closed:
                        break
                    time.sleep(0.01)
                time.sleep(0.2)
            send(self, data)

        pct.connection.begin(other, "pct exec 404 -- sleep 1", "sleep")
        pct.connection.begin(channel, "pct exec 404 -- sh -c 'sleep 0.2; exit 3'", "end")
        with monkeypatch.context() as patch:
            patch.setattr(type(transport), "_send_user_message", delayed)
            if late == "data":
                channel.send(b"too late")
            else:
                channel.shutdown_write()
        assert channel.recv_exit_status() == 3
        assert other.recv_exit_status() == 0
        assert transport.is_active()


def test_talking(pct: Pct) -> None:
    with pct.session(404, [sys.executable, "-uc", "while True: print(input()[::-1])"]) as session:
        for word in (b"abc", b"defg"):
            session.write(word + b"\n")
            assert session.read_line() == word[::-1] + b"\n"
        assert session.close() == 1
        assert b"EOFError" in session.stderr


def test_host_key_is_pinned_by_fingerprint(sshd: tuple[subprocess.Popen[bytes], SshTarget, Path]) -> None:
    _, target, folder = sshd
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(folder / "host.pub")], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    good = Pct(SshTarget("127.0.0.1", printed, port=target.port, key_file=target.key_file), Gates())
    assert good.exec(404, ["true"]).exit == 0
    good.close()
    rsa = (folder / "host-rsa.pub").read_text()
    good = Pct(SshTarget("127.0.0.1", rsa, port=target.port, key_file=target.key_file), Gates())
    assert good.exec(404, ["true"]).exit == 0, "of several host keys, the pinned kind is asked for"
    good.close()
    user = (folder / "user.pub").read_text()
    bad = Pct(SshTarget("127.0.0.1", user, port=target.port, key_file=target.key_file), Gates())
    with pytest.raises(UnreachableError) as caught:
        bad.exec(404, ["true"])
    assert printed in caught.value.got
    bad.close()


def test_connection_that_the_server_kills(pct: Pct, sshd: tuple[subprocess.Popen[bytes], SshTarget, Path]) -> None:
    with pct.session(404, ["sh", "-c", "echo began; exec cat"]) as session:
        assert session.read_line() == b"began\n"
        for child in psutil.Process(sshd[0].pid).children():
            child.kill()
        with pytest.raises(UnreachableError, match="SSH connection broke"):
            session.read_line()
    assert pct.exec(404, ["echo", "next"]).stdout == b"next\n"
