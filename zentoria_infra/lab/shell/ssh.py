"""The lab node's SSH service: OpenSSH's sshd with keys and settings of its own, and only ``pct`` behind it."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from zentoria_infra.errors import LabError
from zentoria_infra.lab import marks
from zentoria_infra.lab.certificates import ensure_ssh_key, write_secret
from zentoria_infra.lab.layout import NODE, LabLayout
from zentoria_infra.lab.shell import pct

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PRIVSEP = Path("/run/sshd")
"""Where sshd, started as root, changes its root to before anybody has logged in; Debian makes it at boot."""


def client_key(layout: LabLayout) -> Path:
    """The private key with which our client logs in."""
    return layout.secrets / "ssh_client_key"


def host_key(layout: LabLayout) -> Path:
    """The private key that identifies the lab's node."""
    return layout.secrets / "ssh_host_key"


def public_host_key(layout: LabLayout) -> str:
    """The public host key as ``ssh-ed25519 AAAA...``."""
    return " ".join(host_key(layout).with_name("ssh_host_key.pub").read_text().split()[:2])


def user() -> str:
    """Who logs in: root, or whoever runs the lab without root."""
    return pwd.getpwuid(os.geteuid()).pw_name


def program() -> str:
    """Path of sshd.

    Raises:
        LabError: it is not installed.
    """
    found = shutil.which("sshd", path=PATH)
    if found is None:
        raise LabError("start the lab's SSH service", got="there is no sshd", todo="apt-get install openssh-server")
    return found


def write_files(layout: LabLayout, attach: Sequence[str], *, strict: bool = False) -> Path:
    """Write keys, settings of ``pct`` and sshd's configuration; gives back the last one's path.

    Args:
        layout: of the lab.
        strict: whether the node is closed to guests as Proxmox closes it.
        attach: the argv that runs a program in the container ``pct.VMID_MARK``; empty without guests.
    """
    ensure_ssh_key(host_key(layout), f"zentoria-lab-{layout.name}")
    line = ensure_ssh_key(client_key(layout), f"zentoria-lab-{layout.name}")
    allowed = layout.secrets / "authorized_keys"
    write_secret(allowed, f"restrict {line}\n".encode())
    files = layout.root / "files"
    files.mkdir(mode=0o755, parents=True, exist_ok=True)
    settings = layout.secrets / "pct.settings"
    values = {
        "node": NODE, "pve": str(layout.pve), "guests": str(layout.guests), "netns": layout.netns,
        "socket": str(layout.control_socket), "files": str(files), "path": PATH,
        "package": str(Path(pct.__file__).resolve().parents[3]), "state": str(layout.state),
        "in_force": str(marks.in_force(layout)), "strict": str(int(strict)),
    }  # fmt: skip
    write_secret(settings, pct.Settings.render(values, attach).encode())
    config = layout.secrets / "sshd_config"
    write_secret(config, config_text(layout.ssh_port, host_key(layout), allowed, command(settings), user()).encode())
    return config


def command(settings: Path) -> list[str]:
    """The forced command. Debian's own python3 starts in 10 ms, others may take several times that."""
    own = Path("/usr/bin/python3")
    python = str(own) if own.exists() else os.path.realpath(sys.executable)
    return [python, "-I", "-S", "-E", str(Path(pct.__file__).resolve()), str(settings)]


def config_text(port: int, key: Path, allowed: Path, forced: Sequence[str], login: str) -> str:
    """Sshd's configuration."""
    lines = [
        f"ListenAddress 127.0.0.1:{port}",
        f'HostKey "{key}"',
        "PidFile none",
        # the files are in a folder of mode 0700 of ours; the check looks at all folders above as well
        "StrictModes no",
        f'AuthorizedKeysFile "{str(allowed).replace("%", "%%")}"',
        f"AllowUsers {login}",
        "PermitRootLogin prohibit-password",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        f"UsePAM {'yes' if _locked(login) else 'no'}",
        "DisableForwarding yes",
        "PermitTTY no",
        "PermitUserRC no",
        "PermitUserEnvironment no",
        "PrintMotd no",
        "PrintLastLog no",
        "UseDNS no",
        "MaxSessions 10",
        "MaxStartups 10:30:100",
        "LoginGraceTime 30",
        # each session leaves a line, so that commands over SSH can be counted whoever sent them
        "LogLevel VERBOSE",
        # Debian's bash reads ~/.bashrc below sshd, unless it believes that it is not the outermost shell
        "SetEnv SHLVL=1",
        f"ForceCommand {shlex.join(forced)}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _locked(login: str) -> bool:
    """Whether the account's password is locked with ``!``: without PAM, sshd lets nobody in then."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{login}:!") for line in lines)


def ensure_privsep(layout: LabLayout) -> None:
    """Have the folder that sshd wants, and remember when it was us who made it."""
    if os.geteuid() == 0 and not PRIVSEP.is_dir():
        PRIVSEP.mkdir(mode=0o755, parents=True)
        (layout.run / "made-run-sshd").touch()


def drop_privsep(layout: LabLayout) -> None:
    """Remove the folder again when it was us who made it. The caller knows that no other lab needs it."""
    if (layout.run / "made-run-sshd").exists() and PRIVSEP.is_dir() and not any(PRIVSEP.iterdir()):
        PRIVSEP.rmdir()
