"""A key for a node's SSH that lets in what Zentoria runs there, and nothing else: made here, put there by root."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from zentoria_infra.errors import AuthError, ZentoriaError
from zentoria_infra.firewall.identity import OPENING
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.materials import private_file
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget
from zentoria_infra.proxmox.shell.stream import PctSession

PYTHON = "/usr/bin/python3"
_SHEBANG = f"#!{PYTHON} -IS\n"
NO_KEY = "ssh-ed25519 AAAA"
"""Stands for a public key that is not made yet."""
_SECONDS = 180.0
"""For a program on the node; systemd there has its share of it for each command."""
TIMER = "zentoria-firewall"
"""Name of the units that close, on the node, package sources which a dead workstation has left open."""
# pvesh asks other nodes of a cluster by ssh, with root's key: it must be able to read that (PVE::CLI::pvesh).
_SERVICE = """[Unit]
Description=Close package sources that nobody is at work with any more

[Service]
Type=oneshot
ExecStart={python} -IS {program} close
StandardOutput=null
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=read-only
TimeoutStartSec=300
"""
_TIMER = """[Unit]
Description=Each minute: close package sources that nobody is at work with any more

[Timer]
OnCalendar=minutely
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


class InstallError(ZentoriaError):
    """The key could not be put on the node, or does not do there what it shall."""


class NoShellError(InstallError):
    """The node lets us in, and runs no program of ours: there is a forced command already, or no shell."""


@dataclass(frozen=True)
class Places:
    """Where things are on a node; others in tests."""

    gate: str = "/usr/local/sbin/zentoria-gate"
    state: str = "/usr/local/sbin/zentoria-state"
    firewall: str = "/usr/local/sbin/zentoria-firewall"
    units: str = "/etc/systemd/system"
    systemctl: tuple[str, ...] = ("/usr/bin/systemctl",)
    settings: str = "/etc/zentoria"
    keys: str = "/root/.ssh/authorized_keys"
    python: str = PYTHON
    more: dict[str, Any] = field(default_factory=dict)
    """Further settings of the gate."""


@dataclass(frozen=True)
class Installed:
    """What was changed on the node (or would be), and what was as it shall be."""

    changed: tuple[str, ...]
    same: tuple[str, ...]


def ensure_key(path: Path, comment: str) -> bool:
    """Have an Ed25519 key pair (``path``, 0600, and ``path.pub``); whether it was made now.

    Raises:
        PrivateFileError: it cannot be written.
    """
    if path.exists():
        return False
    key = ed25519.Ed25519PrivateKey.generate()
    encoding, private, public = serialization.Encoding, serialization.PrivateFormat, serialization.PublicFormat
    with private_file.locked(path.parent):
        text = key.public_key().public_bytes(encoding.OpenSSH, public.OpenSSH).decode()
        private_file.write(path, key.private_bytes(encoding.PEM, private.OpenSSH, serialization.NoEncryption()))
        private_file.write(path.with_name(f"{path.name}.pub"), f"{text} {comment}\n".encode())
    return True


def public_line(path: Path) -> str:
    """The public half of a private key: type and key, without a comment.

    Raises:
        AuthError: it cannot be read, others may read it, or it is no key.
    """
    content = private_file.read(path)
    try:
        key = serialization.load_ssh_private_key(content or b"", None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthError(
            "read the SSH key", on=str(path), got=str(error), todo="name a key without a passphrase as `ssh.key_file`"
        ) from None
    text = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return text.decode()


def mark(site_id: str) -> str:
    """The comment of our line in authorized_keys."""
    return f"zentoria-gate:{site_id}"


def gate_settings(inventory: Inventory, places: Places | None = None) -> dict[str, Any]:
    """What the key of a site may do, for :mod:`zentoria_infra.node.gate`."""
    containers = desired_containers(inventory)
    networks = {str(network.cidr) for network in inventory.networks}
    for one in containers:
        addresses = [net.get("ip", "") for key, net in one.nets.items() if key != "net0"]
        networks |= {address.partition("/")[0] for address in addresses if address[:1].isdigit()}
    return {
        "site": inventory.site.id,
        "vmids": sorted(one.vmid for one in containers),
        "networks": sorted(networks),
        "features": {str(one.vmid): sorted(one.features) for one in containers if one.features},
        "privileged": sorted(one.vmid for one in containers if not one.unprivileged),
        "opening": OPENING,
        **(places.more if places else {}),
    }


def key_line(site_id: str, public: str, places: Places) -> str:
    """Our line of authorized_keys."""
    forced = shlex.join([places.python, "-IS", places.gate, f"{places.settings}/{site_id}.json"])
    return f'restrict,command="{forced}" {public} {mark(site_id)}'


def install(
    ssh: SshConnection,
    inventory: Inventory,
    public: str,
    *,
    places: Places | None = None,
    dry: bool = False,
    remove: bool = False,
) -> Installed:
    """Put programs, settings and the key on the node, or take them away.

    Args:
        ssh: as root, with a shell.
        inventory: with the site.
        public: the public half of the key.
        places: where.
        dry: change nothing.
        remove: take away.

    Raises:
        NoShellError: no program can be run there.
        InstallError: something could not be written.
        UnreachableError: SSH; AuthError when no key is accepted.
    """
    places = places or Places()
    site_id = inventory.site.id
    content = json.dumps(gate_settings(inventory, places), indent=1) + "\n"
    programs = {
        places.gate: _program("gate", places),
        places.state: _program("state", places),
        places.firewall: _program("firewall", places),
    }
    timer, service = f"{TIMER}.timer", f"{TIMER}.service"
    units = {
        f"{places.units}/{service}": _SERVICE.format(python=places.python, program=places.firewall),
        f"{places.units}/{timer}": _TIMER,
    }
    order = {
        "dry": dry,
        "remove": remove,
        "programs": {path: base64.b64encode(text).decode() for path, text in programs.items()},
        "units": {path: base64.b64encode(text.encode()).decode() for path, text in units.items()},
        "timer": timer,
        "systemctl": places.systemctl,
        "settings": f"{places.settings}/{site_id}.json",
        "content": base64.b64encode(content.encode()).decode(),
        "keys": places.keys,
        "line": key_line(site_id, public, places),
        "mark": mark(site_id),
    }
    answer = run_program(ssh, "install", order, places.python)
    if "error" in answer:
        raise InstallError(
            "put the SSH key on the node",
            on=ssh.target.where,
            got=str(answer["error"]),
            todo="a key that has a line of its own there is no key for this: name a file that is not there yet as "
            "`proxmox.ssh.key_file`, and bootstrap makes one"
            if "same key" in str(answer["error"])
            else "put that right there, then run again",
        )
    return Installed(tuple(answer["changed"]), tuple(answer["same"]))


def prove(target: SshTarget) -> None:
    """Log in with the restricted key, and see that it runs no program of one's own.

    Raises:
        InstallError: it does, or the gate does not answer.
        UnreachableError: SSH; AuthError when the key is not accepted.
    """
    ssh = SshConnection(target)
    try:
        code, stdout, stderr = _command(ssh, "echo not-restricted", b"", "try the restricted key")
    finally:
        ssh.close()
    if b"not-restricted" in stdout or b"zentoria-gate" not in stderr:
        said = (stderr or stdout)[-300:].decode("utf-8", "replace").strip()
        raise InstallError(
            "try the restricted key",
            on=target.where,
            got=f"it is not restricted by the gate: exit code {code}, {said}",
            todo="look for other lines with that key in root's authorized_keys, and for what the shell says at login",
        )


def root_login(targets: Sequence[SshTarget]) -> SshConnection:
    """The first login that runs programs. The caller closes it.

    Raises:
        NoShellError: we are let in, and may run no program; says why not of each login.
        AuthError: no login is let in.
        UnreachableError: the node's SSH cannot be reached.
    """
    why: list[str] = []
    let_in = False
    for target in targets:
        if target.key_file is None and not paramiko.Agent().get_keys():
            why.append("the SSH agent has no key")
            continue
        ssh = SshConnection(target)
        key = f"with {target.key_file}" if target.key_file else "with the SSH agent"
        try:
            _run(ssh, 'print("{}")', PYTHON)
        except AuthError as error:
            why.append(f"{key}: {error.got}")
        except NoShellError as error:
            let_in = True
            why.append(f"{key}: {error.got}")
        except BaseException:
            ssh.close()
            raise
        else:
            return ssh
        ssh.close()
    kind = NoShellError if let_in else AuthError
    raise kind(
        "put the SSH key on the node",
        on=targets[0].where if targets else "",
        got="there is no root shell on the node to do it with: " + "; ".join(why),
        todo="load a key of root into the SSH agent, or name it with --root-key; or leave SSH out with --no-ssh",
    )


def run_program(ssh: SshConnection, name: str, order: dict[str, Any], python: str = PYTHON) -> dict[str, Any]:
    """Run one of :mod:`zentoria_infra.node`'s programs with an order, and give back its answer.

    Raises:
        NoShellError: no program can be run there.
        UnreachableError: SSH; AuthError when no key is accepted.
    """
    return _run(ssh, _source(name) + f"\nsys.exit(main({json.dumps(order)!r}))\n", python)


def _program(name: str, places: Places) -> bytes:
    return (_SHEBANG.replace(PYTHON, places.python) + _source(name)).encode()


def _source(name: str) -> str:
    return resources.files("zentoria_infra.node").joinpath(f"{name}.py").read_text()


def _run(ssh: SshConnection, program: str, python: str) -> dict[str, Any]:
    """Run a Python program given by standard input; its answer is one JSON object."""
    tried = "run a program on the node"
    code, stdout, stderr = _command(ssh, shlex.join([python, "-IS", "-"]), program.encode(), tried)
    try:
        answer = json.loads(stdout)
    except ValueError:
        said = (stderr or stdout).decode("utf-8", "replace").strip()[-300:]
        raise NoShellError(
            tried, on=ssh.target.where, got=f"exit code {code}, {said!r}", todo="use an SSH login of root with a shell"
        ) from None
    return answer if isinstance(answer, dict) else {}


def _command(ssh: SshConnection, line: str, stdin: bytes, tried: str) -> tuple[int, bytes, bytes]:
    with ssh.channel(tried) as channel:
        ssh.begin(channel, line, tried)
        session = PctSession(channel, ssh.target, tried, _SECONDS)
        try:
            session.write(stdin)
        except ZentoriaError:
            if not session.ended:  # it ended without reading its input: what it said tells more
                raise
        session.close_stdin()
        stdout = session.read_all()
        return session.close(), stdout, session.stderr
