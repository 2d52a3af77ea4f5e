"""The root file system of a guest: a template unpacked once for all, and an overlay of the guest's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from zentoria_infra.lab.lxc import mounttable
from zentoria_infra.lab.lxc.commands import environment, failure_text, run
from zentoria_infra.lab.lxc.config import UID_BASE, UID_COUNT, GuestPaths
from zentoria_infra.lab.runtime import RuntimeFailure

_CAPABILITY = "security.capability"
_REVISION_2 = 0x02000000
_REVISION_3 = 0x03000000
_REVISION_MASK = 0xFF000000


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock on a file (made if absent) against other processes and threads.

    Who holds it may remove the file: one that waited for the removed file tries again with the new one.
    """
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the folder went away in between
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(file, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class Bases:
    """Unpacked templates, shared by all guests and all labs; they are only ever read.

    Args:
        folder: where they are kept, one folder each, owned by the guests' ids.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Folder of an unpacked template."""
        return self._folder / name

    def name_of(self, template: Path) -> str:
        """A name that changes when the template does: a base in use is never replaced."""
        facts = template.stat()
        return f"{template.name.partition('.tar')[0]}-{facts.st_size:x}-{facts.st_mtime_ns:x}"

    def ensure(self, template: Path) -> str:
        """Unpack a template if that was not done yet, and return the name of its base.

        Raises:
            RuntimeFailure: it cannot be unpacked.
        """
        name = self.name_of(template)
        target = self.path(name)
        with locked(self._folder / ".lock"):
            if target.is_dir():
                return name
            partial = self._folder / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            partial.chmod(0o755)
            try:
                _unpack(template, partial)
                shift_tree(partial)
            except (OSError, RuntimeFailure) as failure:
                shutil.rmtree(partial, ignore_errors=True)
                raise RuntimeFailure(f"unable to unpack '{template.name}': {failure}") from failure
            partial.rename(target)
        return name


def _unpack(template: Path, target: Path) -> None:
    """Unpack any archive that tar knows by its suffix; device nodes are of no use in a guest."""
    words = ["tar", "--extract", "--file", str(template), "--directory", str(target), "--auto-compress",
             "--numeric-owner", "--preserve-permissions", "--xattrs", "--xattrs-include=*",
             "--exclude=./dev/*"]  # fmt: skip
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), check=False
    )
    if done.returncode != 0:
        raise RuntimeFailure(failure_text(words, done.returncode, done.stderr))


def shift_tree(top: Path) -> None:
    """Give every file below ``top`` to the guests' ids, set-uid bits and capabilities kept."""
    _shift(str(top), os.lstat(top))
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            _shift(path, os.lstat(path))


def _shift(path: str, facts: os.stat_result) -> None:
    capability = b""
    if stat.S_ISREG(facts.st_mode):
        with contextlib.suppress(OSError):  # most files have none
            capability = os.getxattr(path, _CAPABILITY)
    os.lchown(path, UID_BASE + facts.st_uid % UID_COUNT, UID_BASE + facts.st_gid % UID_COUNT)
    if not stat.S_ISLNK(facts.st_mode) and facts.st_mode & 0o6000:
        os.chmod(path, stat.S_IMODE(facts.st_mode))  # chown took the set-uid bit away
    if capability:
        os.setxattr(path, _CAPABILITY, namespaced_capability(capability))  # and the capability


def namespaced_capability(value: bytes) -> bytes:
    """A file capability for the guests' user namespace: revision 3 names its root, 2 means the host's."""
    (magic,) = struct.unpack_from("<I", value)
    if magic & _REVISION_MASK != _REVISION_2:
        return value
    return struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_3) + value[4:] + struct.pack("<I", UID_BASE)


def mount_overlay(paths: GuestPaths, base: Path) -> None:
    """Mount the guest's root: the base below, the guest's own volume on top.

    The host mounts it: LXC's own overlay driver gives an unprivileged guest errors when it deletes
    folders of the base.

    Raises:
        RuntimeFailure: the base is gone, or the kernel refused.
    """
    if mounttable.mounted(paths.rootfs):
        return
    if not base.is_dir():
        raise RuntimeFailure(f"the unpacked template '{base.name}' is not there: create the container again")
    upper, work = paths.disk / "upper", paths.disk / "work"
    work.mkdir(exist_ok=True)
    if not upper.is_dir():
        upper.mkdir()
        upper.chmod(0o755)  # the guest's "/" has the mode of this folder, whatever our umask is
        os.chown(upper, UID_BASE, UID_BASE)
    paths.rootfs.mkdir(exist_ok=True)
    # redirect_dir lets the guest rename folders that came with the template
    layers = f"lowerdir={base},upperdir={upper},workdir={work},redirect_dir=on"
    run(["mount", "-t", "overlay", "overlay", "-o", layers, paths.rootfs])
