"""The inventory as it was in a revision of the project, read out of git without touching the work tree."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from zentoria_infra.errors import InventoryError, ZentoriaError
from zentoria_infra.inventory.load import ZONES, load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.inventory.problems import InvalidInventoryError

PARTS = (ZONES, "inventory")
"""What an inventory is made of."""

PATIENCE = 60
"""Seconds that git may take."""


def inventory_at(root: Path, revision: str, site: str, overlay_files: Sequence[Path] = ()) -> Inventory:
    """Read the inventory of a revision.

    Args:
        root: the project folder, in a git work tree.
        revision: whatever git takes for a commit: ``HEAD~2``, a tag, a branch, a hash.
        site: which site to lay over it.
        overlay_files: further layers from outside the revision.

    Raises:
        ZentoriaError: there is no git, or no such revision.
        InventoryError: the revision has no inventory, or its inventory has errors.
    """
    commit = commit_of(root, revision)
    packed = _git(root, revision, "archive", "--format=tar", commit, "--", *PARTS)
    with tempfile.TemporaryDirectory(prefix="zentoria-revision-") as folder:
        _unpack(packed, Path(folder))
        try:
            return load(Path(folder), site=site, overlay_files=overlay_files)
        except InvalidInventoryError as error:
            raise InventoryError(
                f"read the inventory of revision {revision}",
                got=error.got,
                todo=f"compare revisions whose inventory is valid; see a file of it with `git show {revision}:{ZONES}`",
            ) from None


def commit_of(root: Path, revision: str) -> str:
    """The hash of the commit that a revision means.

    Raises:
        ZentoriaError: there is no git, or no such revision.
    """
    return _git(root, revision, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()


def is_changed(root: Path) -> bool:
    """Whether the inventory in the work tree differs from the last commit, new files among it.

    Raises:
        ZentoriaError: there is no git, or the folder is in no work tree.
    """
    return bool(_git(root, "HEAD", "--no-optional-locks", "status", "--porcelain", "--", *PARTS).strip())


def _git(root: Path, revision: str, *arguments: str) -> bytes:
    tried = f"read revision {revision}"
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise ZentoriaError(tried, on=str(root), got="there is no git on this machine", todo="install git") from None
    except subprocess.TimeoutExpired:
        raise ZentoriaError(
            tried, on=str(root), got=f"git did not answer in {PATIENCE} s", todo="try it by hand: git -C FOLDER status"
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"git left with {done.returncode}"
        raise ZentoriaError(
            tried, on=str(root), got=said, todo="name a commit, tag or branch that holds the project: see `git log`"
        )
    return done.stdout


def _unpack(packed: bytes, folder: Path) -> None:
    """Write the plain files of an archive; links and whatever leads out of the folder are left out."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None or path.is_absolute() or ".." in path.parts:
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(stream.read())
