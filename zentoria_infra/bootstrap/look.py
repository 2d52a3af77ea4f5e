"""What ``zentoria bootstrap`` looks at before it writes anything: this machine's files, and the way in over SSH."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zentoria_infra.bootstrap import ssh as bootstrap_ssh
from zentoria_infra.bootstrap.files import SiteFiles
from zentoria_infra.bootstrap.ssh import NoShellError
from zentoria_infra.errors import AuthError, ZentoriaError
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.materials import private_file
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget

_WITHOUT = "or leave SSH out with --no-ssh; nothing was changed"


@dataclass(frozen=True)
class Door:
    """The way into a node.

    Args:
        own: where Zentoria's own key goes; None for a site that pins no host key.
        login: as root, with a shell; None where there is none.
        why_not: why there is none, in words.
    """

    own: SshTarget | None
    login: SshConnection | None = None
    why_not: str = ""

    def close(self) -> None:
        """Log out."""
        if self.login is not None:
            self.login.close()


def require_usable(files: SiteFiles, root_key: Path | None, *, with_ssh: bool) -> None:
    """See that what is to be written on this machine can be, and that the keys that are named are keys.

    Raises:
        PrivateFileError: a folder or a file is not as private as it must be, or cannot be written.
        AuthError: a key cannot be read, or is none.
    """
    folders = {files.folder} | (set() if files.has_token else {files.token.parent})
    if with_ssh and not files.key.exists():
        folders.add(files.key.parent)
    for folder in sorted(folders):
        private_file.require_usable(folder)
    if with_ssh and files.key.exists():
        bootstrap_ssh.public_line(files.key)
    if with_ssh and root_key is not None:
        _require_key(root_key)


def _require_key(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            got = "" if b"PRIVATE KEY" in stream.read(1 << 16) else "it is no private key"
    except OSError as error:
        got = error.strerror or str(error)
    if got:
        raise AuthError("read root's SSH key", on=str(path), got=got, todo=f"name the right file, {_WITHOUT}")


def door(
    inventory: Inventory, target: SshTarget | None, files: SiteFiles, root_key: Path | None, *, remove: bool
) -> Door | None:
    """Log in as root, and see that Zentoria's key could be put there; nothing is changed.

    Args:
        inventory: with the site.
        target: the node's SSH, with Zentoria's own key where there is one; None for a site that pins no host key.
        files: of the site.
        root_key: the private key for root; None for the SSH agent.
        remove: all is to be taken away; None is given back when nothing was put there.

    Raises:
        AuthError: no login is let in.
        InstallError: the key could not be put there.
        UnreachableError: the node's SSH cannot be reached.
    """
    host, made = inventory.site.ssh_host, {(step.kind, step.name) for step in files.made()}
    if remove and made.isdisjoint({("node", host), ("nat", host)}):
        return None
    if target is None:
        return Door(
            None,
            why_not="nothing was installed on the node: the site pins no SSH host key. Set `proxmox.ssh.host_key` "
            "to what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the node's console, then run again.",
        )
    try:
        login = bootstrap_ssh.root_login(_root_targets(target, root_key))
    except NoShellError as error:
        return Door(target, why_not=_no_shell(target, error))
    try:
        public = bootstrap_ssh.public_line(files.key) if files.key.exists() else bootstrap_ssh.NO_KEY
        bootstrap_ssh.install(login, inventory, public, dry=True, remove=remove)
    except BaseException:
        login.close()
        raise
    return Door(target, login)


def _no_shell(own: SshTarget, error: NoShellError) -> str:
    """What it means that the node runs no program of ours: the key may be in place already."""
    try:
        bootstrap_ssh.prove(own)
    except ZentoriaError:
        return f"nothing was installed on the node: {error.got}. To put Zentoria's key there: {error.todo}."
    return (
        f"the restricted key {own.key_file} is in place. Whether its list of containers is up to date was not looked "
        f"at: for that, {error.todo}."
    )


def _root_targets(own: SshTarget, root_key: Path | None) -> list[SshTarget]:
    def target(key: Path | None) -> SshTarget:
        return SshTarget(own.host, own.host_key, port=own.port, user=own.user, key_file=key)

    if root_key is not None:
        return [target(root_key)]
    return [target(None), *([target(own.key_file)] if own.key_file else [])]
