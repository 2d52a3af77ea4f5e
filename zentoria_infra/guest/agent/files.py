"""Files, directories, links, absent paths, users, volumes."""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import hmac
import os
import pwd
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import common, paths
from .common import SAME, Failed, Outcome, Resource

if TYPE_CHECKING:
    from .run import Run

DIFF_LINES = 60
COUNTED = 10_000
"""Entries of a folder that are looked at to say how much is in it: enough to know that it is not empty."""


def file(resource: Resource, run: Run) -> Outcome:
    """A regular file with content, mode, owner."""
    path = resource["path"]
    wanted = resource["blob"] or hashlib.sha256(resource["text"].encode()).hexdigest()
    there = common.sha256_of(path)
    same = there == wanted
    meta = _meta(path, resource, run.apply) if there is not None else None
    if same and meta is None:
        return SAME
    detail = (meta or "") if same else ("new file" if not os.path.lexists(path) else "content")
    diff = "" if same or resource["secret"] else _diff(path, resource)
    words = ("", "") if same else (_fingerprint(resource, run, there), _fingerprint(resource, run, wanted))
    if run.apply:
        if os.path.isdir(path) and not os.path.islink(path):
            raise Failed(f"{path} is a directory, and shall be a file")
        uid, gid = _owner(resource)
        run.will_change(resource)
        with paths.parent(path, make=True) as (folder, name):
            data = _data(folder, name, resource, wanted, run)
            paths.replace(folder, name, data, int(resource["mode"], 8), uid, gid)
    return Outcome(True, detail, diff, *words)


def _fingerprint(resource: Resource, run: Run, sha256: str | None) -> str:
    """A few digits that tell two contents apart: keyed where the content is secret, or was not for everybody's eyes.

    A plain hash of a short password would give it away to whoever tries them all.
    """
    if sha256 is None:
        return ""
    path = resource["path"]
    hidden = os.path.isfile(path) and not os.stat(path).st_mode & stat.S_IROTH
    if not resource["secret"] and not hidden:
        return f"sha256 {sha256[:8]}"
    if not run.key:
        return "secret"
    return "hmac " + hmac.new(run.key, sha256.encode(), "sha256").hexdigest()[:8]


def _data(folder: int, name: str, resource: Resource, wanted: str, run: Run) -> Iterator[bytes]:
    """The content; that of a blob may be there already, and only its owner or mode differ. It may be large."""
    if not resource["blob"]:
        yield str(resource["text"]).encode()
        return
    seen = paths.open_file(folder, name)
    if seen is not None:
        with seen:
            if common.sha256_in(seen) == wanted:
                seen.seek(0)
                changed = f"{resource['path']} changed while it was read: run again"
                yield from paths.checked(paths.pieces(seen), wanted, changed)
                return
    with open(run.blob_path(wanted), "rb") as sent:
        yield from paths.pieces(sent)


def _diff(path: str, resource: Resource) -> str:
    """Lines that differ. What not everybody may read is not shown: it may have been a secret until now."""
    if resource["blob"]:
        return ""
    try:
        with paths.parent(path) as (folder, name):
            seen = paths.read(folder, name)
        before = seen[0].decode().splitlines() if seen else []
    except (OSError, UnicodeDecodeError):
        seen, before = None, []
    if seen and not seen[1].st_mode & stat.S_IROTH:
        return ""
    after = resource["text"].splitlines()
    import difflib  # only where something differs: a look starts sooner

    lines = list(difflib.unified_diff(before, after, path, path, lineterm="", n=2))
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"... {len(lines) - DIFF_LINES} more lines"]
    return "\n".join(lines)


def _owner(resource: Resource) -> tuple[int, int]:
    entry = common.account(resource["owner"])
    try:
        return entry.pw_uid, grp.getgrnam(resource["group"]).gr_gid
    except KeyError:
        raise Failed("there is no group '{}'".format(resource["group"])) from None


def _meta(path: str, resource: Resource, strict: bool) -> str | None:
    """What of mode and owner differs, in words; None when nothing does."""
    seen = os.lstat(path)
    found = []
    if stat.S_IMODE(seen.st_mode) != int(resource["mode"], 8):
        found.append("mode {:04o}, shall be {}".format(stat.S_IMODE(seen.st_mode), resource["mode"]))
    try:
        wanted = _owner(resource)
    except Failed:
        if strict:
            raise
        wanted = None  # looking only: the user comes with a package that is not there yet
    if (seen.st_uid, seen.st_gid) != wanted:
        found.append("owner, shall be {}:{}".format(resource["owner"], resource["group"]))
    return ", ".join(found) or None


def directory(resource: Resource, run: Run) -> Outcome:
    """A directory with mode and owner."""
    path = resource["path"]
    if os.path.isdir(path) and not os.path.islink(path):
        detail = _meta(path, resource, run.apply)
        if detail is None:
            return SAME
    elif os.path.lexists(path):
        raise Failed(f"{path} is there and is no directory")
    else:
        detail = "new directory"
    if run.apply:
        _own(resource, run, make=True)
    return Outcome(True, detail)


def _own(resource: Resource, run: Run, make: bool = False) -> None:
    """Owner and mode of a directory, which is made where it is missing."""
    uid, gid = _owner(resource)
    run.will_change(resource)
    with paths.parent(resource["path"], make=make) as (folder, name):
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
        stream = paths.open_folder(folder, name)
        try:
            paths.set_owner(stream, int(resource["mode"], 8), uid, gid)
        finally:
            os.close(stream)


def symlink(resource: Resource, run: Run) -> Outcome:
    """A link, switched atomically."""
    path, target = resource["path"], resource["target"]
    if os.path.islink(path) and os.readlink(path) == target:
        return SAME
    before = os.readlink(path) if os.path.islink(path) else ("a file" if os.path.lexists(path) else "nothing")
    if os.path.isdir(path) and not os.path.islink(path):
        raise Failed(f"{path} is a directory, and shall be a link")
    if run.apply:
        run.will_change(resource)
        link(path, target)
    return Outcome(True, f"{path} -> {target} (was {before})", "", before, target)


def link(path: str, target: str) -> None:
    """Make or turn a link in one step."""
    with paths.parent(path, make=True) as (folder, name):
        paths.link(folder, name, target)


def absent(resource: Resource, run: Run) -> Outcome:
    """A path that is not there."""
    path = resource["path"]
    if not os.path.lexists(path):
        return SAME
    if run.apply:
        run.will_change(resource)
        try:
            with paths.parent(path) as (folder, name):
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    os.rmdir(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise Failed(f"{path} is not empty") from None
            raise Failed(f"remove {path}: {error.strerror}") from None
    return Outcome(True, f"remove {path}")


def user(resource: Resource, run: Run) -> Outcome:
    """A system user with a group of its own name."""
    name = resource["name"]
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        entry = None
    missing = [one for one in resource["groups"] if not _member(name, one)]
    wanted = (resource["home"], resource["shell"])
    if entry is not None and (entry.pw_dir, entry.pw_shell) == wanted and not missing:
        return SAME
    if run.apply:
        run.will_change(resource)
        if entry is None:
            argv = ["useradd", "--system", "--user-group", "--no-create-home"]
            argv += ["--home-dir", resource["home"], "--shell", resource["shell"], name]
        else:
            argv = ["usermod", "--home", resource["home"], "--shell", resource["shell"], name]
        common.must(argv, f"user {name} cannot be made")
        for group in missing:
            common.must(["usermod", "--append", "--groups", group, name], f"{name} cannot join {group}")
    return Outcome(True, "new user" if entry is None else "user differs")


def _member(name: str, group: str) -> bool:
    try:
        return name in grp.getgrnam(group).gr_mem
    except KeyError:
        return False


def volume(resource: Resource, run: Run) -> Outcome:
    """A mount point that Proxmox has mounted, with mode and owner."""
    path = resource["path"]
    if not os.path.ismount(path):
        if not run.apply:
            return Outcome(True, f"{path} is not mounted", beneath=_beneath(path))
        raise Failed(f"{path} is not a mount point: the container lacks its data volume")
    detail = _meta(path, resource, run.apply)
    if detail is None:
        return SAME
    if run.apply:
        _own(resource, run)
    return Outcome(True, detail)


def _beneath(path: str) -> int:
    """Bytes of the files below a folder, at least 1 a file; no links, no mounts, and no more than COUNTED of them."""
    found, folders, left = 0, [path], COUNTED
    while folders and left:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if entry.is_dir(follow_symlinks=False):
                        if not os.path.ismount(entry.path):
                            folders.append(entry.path)
                    else:
                        found += max(1, entry.stat(follow_symlinks=False).st_size)
                    if not left:
                        break
        except (FileNotFoundError, NotADirectoryError):
            continue  # nothing there, or it went meanwhile
    return found
