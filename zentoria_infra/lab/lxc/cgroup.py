"""Limits and use of guests through cgroups, on v1 (one hierarchy a controller) and on v2."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from pathlib import Path

from zentoria_infra.lab.runtime import RuntimeFailure

ROOT = Path("/sys/fs/cgroup")

_CONTROLLERS = ("memory", "cpu", "cpuset")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a guest may use: memory and swap in bytes, processors by number, quota in µs a period."""

    memory: int
    swap: int
    cpus: tuple[int, ...]
    quota: int
    """0 for no quota."""
    period: int


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value of one cgroup file, as ``memory.max``."""

    controller: str
    file: str
    value: str
    version: int

    @property
    def lxc_key(self) -> str:
        """The key in LXC's configuration."""
        return f"lxc.{'cgroup2' if self.version == 2 else 'cgroup'}.{self.file}"


@dataclasses.dataclass(frozen=True)
class Use:
    """What a guest uses: bytes, and processor time in nanoseconds."""

    memory: int = 0
    swap: int = 0
    cpu: int = 0
    read: int = 0
    written: int = 0


@dataclasses.dataclass(frozen=True)
class Host:
    """The host's cgroups: which version holds the controllers, and which limits it can enforce."""

    root: Path
    version: int
    """2 when the controllers are in the unified hierarchy, else 1."""
    controllers: frozenset[str]
    swap: bool
    """Whether the kernel counts swap."""

    def settings(self, limits: Limits) -> tuple[Setting, ...]:
        """The files to set, in the order for a guest that has no limits yet."""
        if self.version == 2:
            quota = f"{limits.quota} {limits.period}" if limits.quota else f"max {limits.period}"
            found = [
                Setting("memory", "memory.max", str(limits.memory), 2),
                Setting("memory", "memory.swap.max", str(limits.swap), 2),
                Setting("cpu", "cpu.max", quota, 2),
                Setting("cpuset", "cpuset.cpus", _ranges(limits.cpus), 2),
            ]
        else:
            found = [
                Setting("memory", "memory.limit_in_bytes", str(limits.memory), 1),
                Setting("memory", "memory.memsw.limit_in_bytes", str(limits.memory + limits.swap), 1),
                Setting("cpu", "cpu.cfs_period_us", str(limits.period), 1),
                Setting("cpu", "cpu.cfs_quota_us", str(limits.quota or -1), 1),
                Setting("cpuset", "cpuset.cpus", _ranges(limits.cpus), 1),
            ]
        return tuple(
            setting
            for setting in found
            if setting.controller in self.controllers
            and (self.swap or setting.file not in ("memory.memsw.limit_in_bytes", "memory.swap.max"))
        )

    def folder(self, controller: str, name: str) -> Path:
        """Folder of the cgroup ``name`` (as ``zt-lab/404``) in a controller's hierarchy."""
        return self.root / name if self.version == 2 else self.root / controller / name

    def change(self, name: str, limits: Limits) -> None:
        """Set the limits of a running guest.

        Raises:
            RuntimeFailure: the kernel refused, as when less memory is asked for than is in use.
        """
        settings = list(self.settings(limits))
        if self.version == 1 and _number(self.folder("memory", name) / "memory.memsw.limit_in_bytes") < (
            limits.memory + limits.swap
        ):
            # v1 refuses a memory limit above the sum of both: when that grows, it goes first
            settings.sort(key=lambda setting: setting.file != "memory.memsw.limit_in_bytes")
        for setting in settings:
            file = self.folder(setting.controller, name) / setting.file
            try:
                file.write_text(setting.value)
            except OSError as failure:
                raise RuntimeFailure(
                    f"unable to set {setting.file} to {setting.value}: {failure.strerror}"
                ) from failure

    def use(self, name: str) -> Use:
        """What the guest uses now; zeros where the kernel does not say."""
        memory = self.folder("memory", name)
        if self.version == 2:
            reads, writes = _io(memory / "io.stat")
            return Use(
                memory=max(_number(memory / "memory.current") - _stat(memory / "memory.stat", "inactive_file"), 0),
                swap=_number(memory / "memory.swap.current"),
                cpu=_stat(memory / "cpu.stat", "usage_usec") * 1000,
                read=reads,
                written=writes,
            )
        used = _number(memory / "memory.usage_in_bytes")
        reads, writes = _blkio(self.root / "blkio" / name / "blkio.throttle.io_service_bytes_recursive")
        return Use(
            # the page cache that goes away on demand is not in use, as in lxcfs's "available"
            memory=max(used - _stat(memory / "memory.stat", "total_inactive_file"), 0),
            swap=max(_number(memory / "memory.memsw.usage_in_bytes") - used, 0),
            cpu=_number(self.root / "cpuacct" / name / "cpuacct.usage"),
            read=reads,
            written=writes,
        )

    def members(self, name: str) -> set[int]:
        """Pids of all processes in the cgroup ``name`` and below it, in any hierarchy."""
        found: set[int] = set()
        for top in self._tops(name):
            for file in top.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):  # it went away, or is a threaded cgroup
                    found.update(int(word) for word in file.read_text().split())
        return found

    def remove(self, name: str, patience: float = 5.0) -> list[Path]:
        """Remove the cgroup ``name`` with all below it from every hierarchy; returns what would not go.

        The kernel refuses while a process that has ended is not yet reaped, so we ask for a while.
        """
        end = time.monotonic() + patience
        while True:
            left = [top for top in self._tops(name) if not _remove_tree(top)]
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.05)

    def _tops(self, name: str) -> list[Path]:
        places = [self.root, *(entry for entry in self.root.iterdir() if entry.is_dir())]
        return [place / name for place in places if (place / name).is_dir()]


def probe(root: Path = ROOT) -> Host:
    """Look at the host's cgroups. ``root`` is where they are mounted."""
    if (root / "cgroup.controllers").exists():
        names = frozenset((root / "cgroup.controllers").read_text().split()) & frozenset(_CONTROLLERS)
        # swap is counted unless the kernel says otherwise; the file is in every cgroup but the root
        swap = any(root.glob("*/memory.swap.max"))
        return Host(root, 2, names, swap)
    names = frozenset(name for name in _CONTROLLERS if (root / name / "cgroup.procs").exists())
    return Host(root, 1, names, (root / "memory" / "memory.memsw.limit_in_bytes").exists())


def processors() -> tuple[int, ...]:
    """Numbers of the processors that we may use."""
    return tuple(sorted(os.sched_getaffinity(0)))


def _ranges(numbers: tuple[int, ...]) -> str:
    return ",".join(str(number) for number in numbers)


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _stat(file: Path, key: str) -> int:
    try:
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    except (OSError, ValueError):
        return 0
    return 0


def _blkio(file: Path) -> tuple[int, int]:
    """Bytes read and written, from lines as ``7:0 Read 4096``."""
    total = {"Read": 0, "Write": 0}
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in total:
                total[words[1]] += int(words[2])
    return total["Read"], total["Write"]


def _io(file: Path) -> tuple[int, int]:
    """Bytes read and written, from lines as ``7:0 rbytes=4096 wbytes=0 ...``."""
    total = {"rbytes": 0, "wbytes": 0}
    with contextlib.suppress(OSError):
        for word in file.read_text().split():
            key, _, value = word.partition("=")
            if key in total:
                total[key] += int(value)
    return total["rbytes"], total["wbytes"]


def _remove_tree(top: Path) -> bool:
    """Remove cgroup folders from the leaves up; False when one would not go."""
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not top.exists()
