"""``pct`` over a real SSH connection on loopback: trust, quoting, streams, faults."""

from __future__ import annotations

import base64
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxmox.proxmox_ssh_server import FakeNode
from zentoria_infra.errors import ApiError, AuthError, GuestError, UnreachableError
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.connection import ApiToken, Endpoint
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.shell import ssh
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.proxmox.shell.ssh import CHANNELS, SshTarget, fingerprint

PYTHON = sys.executable
BIG = bytes(range(256)) * 4096 * 8  # 8 MiB: more than every window and pipe on the way


def _key(folder: Path, name: str) -> tuple[paramiko.Ed25519Key, Path]:
    private = ed25519.Ed25519PrivateKey.generate()
    file = folder / name
    file.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    file.chmod(0o600)
    return paramiko.Ed25519Key(filename=str(file)), file


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[paramiko.Ed25519Key, Path]]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: _key(folder, name) for name in ("host", "other-host", "user", "other-user")}


@pytest.fixture
def node(keys: Any) -> Iterator[FakeNode]:
    made = FakeNode(keys["host"][0])
    made.authorized.append(keys["user"][0])
    yield made
    made.stop()


def _target(node: FakeNode, keys: Any, **changes: Any) -> SshTarget:
    host = keys["host"][0]
    options: dict[str, Any] = {
        "host_key": f"{host.get_name()} {host.get_base64()} root@pve1",
        "port": node.port,
        "key_file": keys["user"][1],
        "connect_timeout": 10,
    }
    return SshTarget("127.0.0.1", **{**options, **changes})


@pytest.fixture
def pct(node: FakeNode, keys: Any) -> Iterator[Pct]:
    made = Pct(_target(node, keys), Gates(), timeout=30)
    yield made
    made.close()


def _refused(target: SshTarget) -> UnreachableError:
    pct = Pct(target, Gates())
    with pytest.raises(UnreachableError) as caught:
        pct.exec(404, ["true"])
    pct.close()
    return caught.value


def test_exit_code_and_streams(pct: Pct, node: FakeNode) -> None:
    result = pct.exec(404, ["sh", "-c", "cat; echo problem >&2; exit 7"], b"in")
    assert (result.exit, result.stdout, result.stderr) == (7, b"in", b"problem\n")
    assert node.commands == ["pct exec 404 -- sh -c 'cat; echo problem >&2; exit 7'"]
    assert pct.exec(404, ["true"]).exit == 0
    assert pct.exec(404, ["cat"]).stdout == b"", "stdin is at its end when none is given"
    assert node.connections == 1
    assert pct.round_trips == 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), max_size=6))
def test_arguments_arrive_as_they_are(pct: Pct, node: FakeNode, argv: list[str]) -> None:
    result = pct.exec(404, ["printf", "%s\\0", *argv])
    assert result.stdout.decode() == ("".join(f"{one}\0" for one in argv) or "\0")
    assert shlex.split(node.commands[-1]) == ["pct", "exec", "404", "--", "printf", "%s\\0", *argv]


def test_big_streams_do_not_block_each_other(pct: Pct) -> None:
    """The command fills stdout and stderr before it reads stdin to its end."""
    code = (
        "import sys; d = sys.stdin.buffer.read(1000)\n"
        "sys.stderr.buffer.write(b'e' * 3000000); sys.stderr.flush()\n"
        "sys.stdout.buffer.write(b'o' * 3000000); sys.stdout.flush()\n"
        "d += sys.stdin.buffer.read(); sys.stdout.buffer.write(d)"
    )
    result = pct.exec(404, [PYTHON, "-c", code], BIG)
    assert result.exit == 0
    assert result.stdout == b"o" * 3_000_000 + BIG
    assert 0 < len(result.stderr) < 3_000_000, "only the end of a long stderr is kept"


def test_command_that_does_not_read_its_input(pct: Pct) -> None:
    result = pct.exec(404, ["sh", "-c", "exec <&-; echo no >&2; exit 3"], BIG)
    assert (result.exit, result.stderr) == (3, b"no\n")


def test_session_talks_both_ways(pct: Pct) -> None:
    code = (
        "import sys\n"
        "for line in sys.stdin.buffer:\n"
        "    n = int(line)\n"
        "    print('note', n, file=sys.stderr, flush=True)\n"
        "    sys.stdout.buffer.write(b'%d\\n' % n + b'x' * n); sys.stdout.flush()\n"
        "print('bye', end='')\n"
        "sys.exit(5)"
    )
    with pct.session(404, [PYTHON, "-c", code]) as session:
        for size in (0, 1, 500_000):
            session.write(f"{size}\n".encode())
            assert session.read_line() == f"{size}\n".encode()
            assert session.read_exactly(size) == b"x" * size
        assert not session.ended
        session.close_stdin()
        assert session.read_line() == b"bye"
        assert session.read_line() == b""
        assert session.close() == 5
        assert session.stderr == b"note 0\nnote 1\nnote 500000\n"


def test_session_whose_stream_ends_too_early(pct: Pct) -> None:
    with pct.session(404, ["sh", "-c", "echo oops >&2; printf abc"]) as session:
        with pytest.raises(GuestError, match="after 3 of 10 bytes\n    oops"):
            session.read_exactly(10)
        assert session.close() == 0


def test_write_to_a_command_that_has_ended(pct: Pct) -> None:
    with pct.session(404, ["sh", "-c", "echo gone >&2; exit 4"]) as session:
        assert session.read_all() == b""
        with pytest.raises(GuestError, match=r"ended \(exit code 4\)"):
            while True:
                session.write(BIG)


def test_time_limits(pct: Pct, node: FakeNode) -> None:
    with pytest.raises(GuestError, match=r"run sleep 30 in container 404.*within 0 s") as caught:
        pct.exec(404, ["sleep", "30"], timeout=0.2)
    assert "may still run" in caught.value.todo
    with pct.session(404, ["cat"]) as session:
        with pytest.raises(GuestError, match="no answer"):
            session.read_line(timeout=0.1)
        session.write(b"late\n")
        assert session.read_line() == b"late\n", "a time limit loses nothing"
        assert session.close() == 0


def test_killed_by_a_signal(pct: Pct) -> None:
    with pytest.raises(GuestError, match="killed by a signal\n    now"):
        pct.exec(404, ["sh", "-c", "echo now >&2; kill -9 $$"])


@pytest.mark.parametrize("pin", ["line", "fingerprint"])
def test_pinned_host_key(node: FakeNode, keys: Any, pin: str) -> None:
    changes = {} if pin == "line" else {"host_key": fingerprint(keys["host"][0])}
    pct = Pct(_target(node, keys, **changes), Gates())
    assert pct.exec(404, ["true"]).exit == 0
    pct.close()


@pytest.mark.parametrize("pin", ["line", "fingerprint", "none"])
def test_other_host_key(node: FakeNode, keys: Any, pin: str) -> None:
    other = keys["other-host"][0]
    wanted = {"line": f"{other.get_name()} {other.get_base64()}", "fingerprint": fingerprint(other), "none": ""}[pin]
    error = _refused(_target(node, keys, host_key=wanted))
    assert not isinstance(error, AuthError)
    assert fingerprint(keys["host"][0]) in error.got
    assert "ssh_host_ed25519_key.pub" in error.todo
    assert "site file" in error.todo
    assert node.commands == []


def test_fingerprint_is_what_openssh_prints() -> None:
    # A host key that is published together with its fingerprint.
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    key = paramiko.PKey.from_type_string("ssh-ed25519", base64.b64decode(blob))
    assert fingerprint(key) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_pin_that_is_no_key(node: FakeNode, keys: Any) -> None:
    assert "is not a public key" in _refused(_target(node, keys, host_key="ssh-ed25519 !!!!")).got


def test_key_that_is_not_accepted(node: FakeNode, keys: Any) -> None:
    error = _refused(_target(node, keys, key_file=keys["other-user"][1]))
    assert isinstance(error, AuthError)
    assert "authorized_keys" in error.todo


@pytest.mark.parametrize("content", [None, "no key at all"])
def test_key_file_that_is_none(node: FakeNode, keys: Any, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    error = _refused(_target(node, keys, key_file=tmp_path / "key"))
    assert "key file" in error.todo or "authorized_keys" in error.todo


def test_nobody_listens(node: FakeNode, keys: Any) -> None:
    error = _refused(_target(node, keys, port=1))
    assert "sshd runs" in error.todo
    assert error.got.startswith("Unable to connect to port 1")


def test_not_an_ssh_server(node: FakeNode, keys: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def answer() -> None:
            client, _ = web.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        error = _refused(_target(node, keys, port=web.getsockname()[1], connect_timeout=3))
        thread.join()
    assert "connect over SSH" in error.tried


def test_eight_channels_at_most_on_one_connection(pct: Pct, node: FakeNode) -> None:
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda n: pct.exec(400 + n, ["sh", "-c", f"sleep 0.1; echo {n}"]), range(20)))
    assert [result.stdout for result in results] == [f"{n}\n".encode() for n in range(20)]
    assert 1 < node.most <= CHANNELS
    assert node.connections == 1


def test_a_session_that_a_busy_sshd_refuses_is_asked_for_again(pct: Pct, node: FakeNode) -> None:
    node.refuse_sessions = True

    def ready() -> None:
        node.refuse_sessions = False

    threading.Timer(0.5, ready).start()
    assert pct.exec(404, ["echo", "late"]).stdout == b"late\n"
    assert node.connections == 1


def test_sessions_refused(pct: Pct, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "PATIENCE", 0.5)
    node.refuse_sessions = True
    with pytest.raises(UnreachableError, match="refused another session") as caught:
        pct.exec(404, ["true"])
    assert "MaxSessions" in caught.value.todo


def test_dead_connection_is_made_again_before_a_command_began(pct: Pct, node: FakeNode) -> None:
    assert pct.exec(404, ["true"]).exit == 0
    node.drop()
    assert pct.exec(404, ["echo", "again"]).stdout == b"again\n"
    assert node.connections == 2


@pytest.mark.parametrize("how", ["exec", "read_line", "read_exactly", "write", "close"])
def test_connection_dropped_in_mid_stream(pct: Pct, node: FakeNode, how: str) -> None:
    began = "echo began; cat >/dev/null" if how == "write" else "echo began; exec sleep 30"

    def use() -> None:
        if how == "exec":
            threading.Timer(0.3, node.drop).start()
            pct.exec(404, ["sh", "-c", began])
            return
        with pct.session(404, ["sh", "-c", began]) as session:
            assert session.read_line() == b"began\n"
            node.drop()
            if how == "read_line":
                session.read_line()
            elif how == "read_exactly":
                session.read_exactly(5)
            elif how == "close":
                session.close()
            while how == "write":
                session.write(BIG)

    with pytest.raises(UnreachableError, match="SSH connection broke") as caught:
        use()
    assert "run again" in caught.value.todo
    assert len(node.commands) == 1, "a command that began is not sent again"
    assert pct.exec(404, ["echo", "next"]).stdout == b"next\n"


def test_push_and_pull(pct: Pct, tmp_path: Path) -> None:
    dest = tmp_path / "it's a file"
    pct.push(404, BIG, str(dest), 0o640)
    assert dest.read_bytes() == BIG
    assert dest.stat().st_mode & 0o777 == 0o640
    (tmp_path / "source").write_bytes(b"other")
    pct.push(404, tmp_path / "source", str(dest))
    assert pct.pull(404, str(dest)) == b"other"
    assert dest.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it's a file", "source"]
    with pytest.raises(GuestError, match=r"write /none/x in container 404.*exit code"):
        pct.push(404, b"x", "/none/x")
    with pytest.raises(GuestError, match="No such file"):
        pct.pull(404, str(tmp_path / "none"))
    with pytest.raises(ValueError, match="absolute"):
        pct.push(404, b"x", "relative")


def test_set_status_config(pct: Pct, node: FakeNode) -> None:
    node.answers = {
        "set 412 --features keyctl=1,nesting=1 --onboot 1": (0, b"", b""),
        "set 412 --cores 2": (255, b"", b"CT is locked (backup)\n"),
        "status 412": (0, b"status: running\n", b""),
        "config 412": (0, b"arch: amd64\nnet0: name=eth0,hwaddr=BC:24:11:00:04:0C\n", b""),
        "status 999": (2, b"", b"Configuration file 'nodes/pve1/lxc/999.conf' does not exist\n"),
    }
    pct.set(412, features="keyctl=1,nesting=1", onboot=True)
    assert pct.status(412) == "running"
    assert pct.config(412) == {"arch": "amd64", "net0": "name=eth0,hwaddr=BC:24:11:00:04:0C"}
    with pytest.raises(ApiError, match=r"set cores of container 412.*\n    CT is locked") as caught:
        pct.set(412, cores=2)
    assert "pct unlock" in caught.value.todo
    with pytest.raises(ApiError, match=r"999\.conf"):
        pct.status(999)


def test_set_waits_for_the_gate(node: FakeNode, keys: Any) -> None:
    node.answers = {"set 412 --cores 2": (0, b"", b"")}
    gates = Gates()
    pct = Pct(_target(node, keys), gates)
    with gates.vmid(412):
        thread = threading.Thread(target=pct.set, args=(412,), kwargs={"cores": 2})
        thread.start()
        thread.join(0.2)
        assert node.commands == []
    thread.join(10)
    assert node.commands == ["pct set 412 --cores 2"]
    pct.close()


def test_facade(node: FakeNode, keys: Any) -> None:
    endpoint = Endpoint("127.0.0.1", "pve1", port=1)
    token = ApiToken("zentoria@pve", "up", Secret("canary-token-secret"))
    with Proxmox(endpoint, token, _target(node, keys)) as proxmox:
        assert proxmox.pct.exec(404, ["true"]).exit == 0
        assert proxmox.ssh_round_trips == 1
        assert set(proxmox.api_calls.by_path()) == {"GET /nodes/{node}/status"}, "how busy it is: in vain, and no harm"
    with Proxmox(endpoint, token) as bare, pytest.raises(UnreachableError, match="no SSH access") as caught:
        bare.pct.exec(404, ["true"])
    assert "site file" in caught.value.todo
    assert bare.ssh_round_trips == 0


def test_the_way_in_can_be_tried_without_running_anything(pct: Pct, node: FakeNode) -> None:
    pct.reach()
    assert pct.round_trips == 0
    node.authorized.clear()
    pct.close()
    with pytest.raises(AuthError):
        pct.reach()
