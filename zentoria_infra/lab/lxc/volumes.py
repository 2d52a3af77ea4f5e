"""Volumes of the storages: sparse ext4 images on loop devices, so a full disk is really full.

Where the machine has no loop devices the content is a plain folder beside the image, and sizes are not
enforced; :meth:`VolumeStore.enforced` says so. The image is there in both cases and carries the size.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
from pathlib import Path

from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc import images, mounttable
from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.lxc.config import UID_BASE
from zentoria_infra.lab.runtime import RuntimeFailure

_HEADROOM = 64 * 1024 * 1024
"""Bytes that must be free on the storage for a new image: its own tables and journal take room at once."""


def loop_devices() -> bool:
    """Whether this machine can make loop devices."""
    try:
        if not Path("/dev/loop-control").exists():
            run(["modprobe", "loop"])
        return bool(run(["losetup", "--find"]).strip())
    except RuntimeFailure:
        return False


class VolumeStore:
    """The volumes of one lab, by ids as ``local:404/vm-404-disk-0.raw``.

    Args:
        layout: where the lab's storages are.
        loops: whether to use loop devices; probed when None.
    """

    def __init__(self, layout: LabLayout, loops: bool | None = None) -> None:
        self._layout = layout
        self._loops = loop_devices() if loops is None else loops

    @property
    def enforced(self) -> bool:
        """Whether the sizes of volumes hold."""
        return self._loops

    def sizes(self) -> dict[str, int]:
        """All volumes and their sizes in bytes."""
        return images.volume_sizes(self._layout)

    def allocate(self, volume: str, size: int) -> None:
        """Make an empty volume of ``size`` bytes, thin as Proxmox's raw images on a directory storage.

        Raises:
            RuntimeFailure: it is there already, or the storage is full or smaller than the volume.
        """
        image = self._image(volume)
        if image.exists():
            raise RuntimeFailure(f"unable to create image: {image} already exists")
        image.parent.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(image.parent)
        if size > room.total or room.free < min(size, _HEADROOM):
            raise RuntimeFailure(f"unable to create image: {image}: Could not resize file: No space left on device")
        try:
            _truncate(image, size)
            if self._loops:
                _format(image)
            else:
                content = self._content(volume)
                content.mkdir(parents=True)
                content.chmod(0o755)
                os.chown(content, UID_BASE, UID_BASE)
        except (RuntimeFailure, OSError) as failure:
            self.free(volume)
            if isinstance(failure, OSError):
                raise RuntimeFailure(
                    f"unable to create image: {image}: Could not resize file: {failure.strerror}"
                ) from failure
            raise

    def free(self, volume: str) -> None:
        """Remove a volume and its snapshots; a missing one is no error."""
        image, content = self._image(volume), self._content(volume)
        for path in (image, content):
            for entry in (path, *images.belongings(path)):
                images.remove(entry)
        with contextlib.suppress(OSError):  # other volumes of the guest may still be in its folder
            image.parent.rmdir()

    def rename(self, volume: str, new: str) -> None:
        """Give a volume another name; what is on it stays as it is.

        Raises:
            RuntimeFailure: it is not there or in use, or there is one of the new name.
        """
        image, target = self._image(volume), self._image(new)
        if not image.exists():
            raise RuntimeFailure(f"volume '{volume}' does not exist")
        if target.exists():
            raise RuntimeFailure(f"unable to rename image: {target} already exists")
        if self._loops and attached(image):
            raise RuntimeFailure(f"unable to rename image: {image} is in use")
        target.parent.mkdir(parents=True, exist_ok=True)
        content = self._content(volume)
        if content.exists():
            self._content(new).parent.mkdir(parents=True, exist_ok=True)
            content.rename(self._content(new))
        image.rename(target)
        with contextlib.suppress(OSError):  # other volumes of the guest may still be in its folder
            image.parent.rmdir()

    def copy(self, volume: str, new: str) -> None:
        """Copy a volume, to another storage too.

        Raises:
            RuntimeFailure: it is not there or in use, or there is one of the new name, or it did not fit.
        """
        image = self._image(volume)
        if self._loops and image.exists() and attached(image):
            raise RuntimeFailure(f"unable to copy image: {image} is in use")
        if self._image(new).exists():
            raise RuntimeFailure(f"unable to create image: {self._image(new)} already exists")
        try:
            for source, target in self._parts(image, self._content(volume), self._image(new), self._content(new)):
                images.copy(source, target)
        except RuntimeFailure:
            self.free(new)
            raise

    def snapshot(self, volume: str, name: str) -> None:
        """Take a snapshot of a volume; one that is mounted must be still, and all that was written on it.

        Raises:
            RuntimeFailure: the volume is not there, the snapshot is, or it did not fit.
        """
        paths = self._image(volume), self._content(volume)
        kept = [images.snapshot_of(path, name) for path in paths]
        try:
            for source, target in self._parts(*paths, *kept):
                images.copy(source, target)
        except RuntimeFailure:
            # what is left has no image, which is copied last: it is no snapshot
            if not kept[0].exists():
                images.remove(kept[1])
            raise

    def rollback(self, volume: str, name: str) -> None:
        """Put a volume back to a snapshot, which stays.

        Raises:
            RuntimeFailure: there is no such snapshot, the volume is in use, or it did not fit.
        """
        image, content = self._image(volume), self._content(volume)
        if self._loops and attached(image):
            raise RuntimeFailure(f"unable to roll back: {image} is in use")
        kept = images.snapshot_of(image, name), images.snapshot_of(content, name)
        for source, target in self._parts(*kept, image, content):
            images.put_back(source, target)

    def drop_snapshot(self, volume: str, name: str) -> None:
        """Remove a snapshot.

        Raises:
            RuntimeFailure: there is none of that name.
        """
        kept = images.snapshot_of(self._image(volume), name)
        if not kept.exists():
            raise RuntimeFailure(f"'{kept}' does not exist")
        images.remove(kept)
        images.remove(images.snapshot_of(self._content(volume), name))

    def _parts(self, image: Path, content: Path, new_image: Path, new_content: Path) -> list[tuple[Path, Path]]:
        """What to copy where: without loop devices the files are beside the image, which goes last."""
        return [*([] if self._loops else [(content, new_content)]), (image, new_image)]

    def mount(self, volume: str, target: Path, read_only: bool = False) -> None:
        """Mount a volume on a host's folder, which is made; once mounted, nothing happens.

        Raises:
            RuntimeFailure: the volume is not there or cannot be mounted.
        """
        if mounttable.mounted(target):
            return
        image = self._image(volume)
        if not image.exists():
            raise RuntimeFailure(f"volume '{volume}' does not exist")
        target.mkdir(parents=True, exist_ok=True)
        if self._loops:
            _fit(image)
            # 'discard' gives the room of deleted files back to the storage; -o loop detaches by itself
            mode = "loop,ro,noload" if read_only else "loop,discard"
            run(["mount", "-t", "ext4", "-o", mode, image, target])
        else:
            run(["mount", "--bind", *(["-o", "ro"] if read_only else []), self._content(volume), target])

    def grow(self, volume: str, size: int) -> None:
        """Grow a volume to ``size`` bytes, online when it is mounted.

        Raises:
            RuntimeFailure: it would shrink, the storage is too small, or a mounted file system would not grow
                (the image has grown then, and the file system follows when it is mounted the next time).
        """
        image = self._image(volume)
        if not image.exists():
            raise RuntimeFailure(f"volume '{volume}' does not exist")
        if size < image.stat().st_size:
            raise RuntimeFailure("unable to shrink disk size")
        if size > shutil.disk_usage(image.parent).total:
            raise RuntimeFailure(f"unable to resize image: {image}: No space left on device")
        try:
            _truncate(image, size)
        except OSError as failure:
            raise RuntimeFailure(f"unable to resize image: {image}: {failure.strerror}") from failure
        if not self._loops:
            return
        devices = attached(image)
        for device in devices:
            run(["losetup", "--set-capacity", device])
            try:
                run(["resize2fs", device])
            except RuntimeFailure as failure:
                # ext4 wants CAP_SYS_RESOURCE for this, which root in some virtual machines lacks
                raise RuntimeFailure(
                    f"Failed to update the container's filesystem, it grows at the next start: {failure}"
                ) from failure
        if not devices:
            _fit(image)

    def _image(self, volume: str) -> Path:
        return images.locate(self._layout, volume)

    def _content(self, volume: str) -> Path:
        image = self._image(volume)
        return image.parents[2] / "folders" / image.parent.name / image.name


def attached(image: Path) -> list[str]:
    """Loop devices that an image is attached to."""
    output = run(["losetup", "--noheadings", "--output", "NAME", "--associated", image])
    return output.split()


def detach_below(folder: Path) -> None:
    """Detach all loop devices whose file is (or was) below a folder."""
    for line in run(["losetup", "--noheadings", "--list", "--output", "NAME,BACK-FILE"]).splitlines():
        device, _, file = line.strip().partition(" ")
        if folder in Path(file.strip().removesuffix(" (deleted)")).parents:
            run(["losetup", "--detach", device])


def _truncate(image: Path, size: int) -> None:
    try:
        descriptor = os.open(image, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as failure:
        if failure.errno == errno.EFBIG:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from failure
        raise


def _fit(image: Path) -> None:
    """Let the ext4 file system of an image that is not attached fill the image."""
    with image.open("rb") as file:
        file.seek(1024)
        block = file.read(1024)
    low, exponent, high = (struct.unpack_from("<I", block, offset)[0] for offset in (0x4, 0x18, 0x150))
    unit = 1024 << exponent
    if low + (high << 32) < image.stat().st_size // unit:
        run(["e2fsck", "-f", "-p", image])
        run(["resize2fs", image])


def _format(image: Path) -> None:
    run(
        [
            "mkfs.ext4", "-q", "-F", "-m", "0",
            "-E", f"root_owner={UID_BASE}:{UID_BASE},lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            image,
        ]
    )  # fmt: skip
