"""Volumes in ``images/``: sparse ext4 images on loop devices, so a full disk is really full.

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

from zentoria_infra.lab.images import volume_sizes
from zentoria_infra.lab.lxc import mounttable
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
    """The volumes of one lab, by names as ``404/vm-404-disk-0.raw``.

    Args:
        images: the storage's ``images`` folder.
        loops: whether to use loop devices; probed when None.
    """

    def __init__(self, images: Path, loops: bool | None = None) -> None:
        self._images = images
        self._loops = loop_devices() if loops is None else loops

    @property
    def enforced(self) -> bool:
        """Whether the sizes of volumes hold."""
        return self._loops

    def sizes(self) -> dict[str, int]:
        """All volumes and their sizes in bytes."""
        return volume_sizes(self._images)

    def allocate(self, volume: str, size: int) -> None:
        """Make an empty volume of ``size`` bytes, thin as Proxmox's raw images on a directory storage.

        Raises:
            RuntimeFailure: it is there already, or the storage is full or smaller than the volume.
        """
        image = self._image(volume)
        if image.exists():
            raise RuntimeFailure(f"unable to create image: {image} already exists")
        self._images.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(self._images)
        if size > room.total or room.free < min(size, _HEADROOM):
            raise RuntimeFailure(f"unable to create image: {image}: Could not resize file: No space left on device")
        image.parent.mkdir(exist_ok=True)
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
        """Remove a volume; a missing one is no error."""
        image = self._image(volume)
        image.unlink(missing_ok=True)
        shutil.rmtree(self._content(volume), ignore_errors=True)
        with contextlib.suppress(OSError):  # other volumes of the guest may still be in its folder
            image.parent.rmdir()

    def rename(self, volume: str, new: str) -> None:
        """Give a volume another name; what is on it stays as it is.

        Raises:
            RuntimeFailure: it is not there or in use, or there is one of the new name.
        """
        image, target = self._image(volume), self._image(new)
        if not image.exists():
            raise RuntimeFailure(f"volume 'local:{volume}' does not exist")
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

    def mount(self, volume: str, target: Path, read_only: bool = False) -> None:
        """Mount a volume on a host's folder, which is made; once mounted, nothing happens.

        Raises:
            RuntimeFailure: the volume is not there or cannot be mounted.
        """
        if mounttable.mounted(target):
            return
        image = self._image(volume)
        if not image.exists():
            raise RuntimeFailure(f"volume 'local:{volume}' does not exist")
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
            raise RuntimeFailure(f"volume 'local:{volume}' does not exist")
        if size < image.stat().st_size:
            raise RuntimeFailure("unable to shrink disk size")
        if size > shutil.disk_usage(self._images).total:
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
        parts = volume.split("/")
        if len(parts) != 2 or any(part in ("", ".", "..") for part in parts):
            raise RuntimeFailure(f"unable to parse directory volume name '{volume}'")
        return self._images / volume

    def _content(self, volume: str) -> Path:
        return self._images.parent / "folders" / volume


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
