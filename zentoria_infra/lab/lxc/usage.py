"""What guests use, read from the kernel's files: fast enough to ask for all guests at every API call."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

from zentoria_infra.lab.lxc import network
from zentoria_infra.lab.lxc.cgroup import Host
from zentoria_infra.lab.runtime import GuestStatus

_TICKS = os.sysconf("SC_CLK_TCK")


class Sampler:
    """Reads the use of a lab's guests, and remembers processor time between two reads.

    Args:
        host: the machine's cgroups.
        lab: the lab's cgroup.
    """

    def __init__(self, host: Host, lab: str) -> None:
        self._host = host
        self._lab = lab
        self._last: dict[int, tuple[int, float, int]] = {}
        self._lock = threading.Lock()

    def pid(self, vmid: int, file: Path) -> int:
        """Pid of a guest's init, 0 when it does not run.

        The hook wrote the pid. That it still is our guest's shows in its cgroup: the name holds lab and VMID,
        so a number that the kernel gave to another process since is not taken for it.
        """
        try:
            pid = int(file.read_text())
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            dead = _stat(pid)[0] in "ZX"
        except (OSError, ValueError, IndexError):
            return 0
        ours = re.search(rf":/{re.escape(self._lab)}/{vmid}(/|$)", groups, re.MULTILINE)
        return pid if ours and not dead else 0

    def status(self, vmid: int, pid: int, disk: Path) -> GuestStatus:
        """What the running guest uses; ``disk`` is where its root volume is mounted."""
        use = self._host.use(f"{self._lab}/{vmid}")
        now = time.monotonic()
        cores = self._cores(vmid)
        received, sent = network.traffic(pid)
        total, used = _disk(disk)
        return GuestStatus(
            running=True,
            pid=pid,
            uptime=_uptime(pid),
            cpu=self._fraction(vmid, pid, use.cpu, now) / cores,
            mem=use.memory,
            swap=use.swap,
            disk=used,
            maxdisk=total,
            netin=received,
            netout=sent,
            diskread=use.read,
            diskwrite=use.written,
        )

    def forget(self, vmid: int) -> None:
        """Drop what is remembered of a guest."""
        with self._lock:
            self._last.pop(vmid, None)

    def _fraction(self, vmid: int, pid: int, nanoseconds: int, now: float) -> float:
        """Processors kept busy since the last read; over the guest's life at the first."""
        with self._lock:
            last = self._last.get(vmid)
            self._last[vmid] = (pid, now, nanoseconds)
        if last is None or last[0] != pid:
            return nanoseconds / 1e9 / max(_uptime(pid), 1)
        return max(nanoseconds - last[2], 0) / 1e9 / max(now - last[1], 1e-3)

    def _cores(self, vmid: int) -> int:
        file = self._host.folder("cpuset", f"{self._lab}/{vmid}") / "cpuset.cpus"
        try:
            text = file.read_text().strip()
        except OSError:
            text = ""
        if not text:
            return os.cpu_count() or 1
        count = 0
        for part in text.split(","):
            first, _, last = part.partition("-")
            count += int(last or first) - int(first) + 1
        return count


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the state on; the name before may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _uptime(pid: int) -> int:
    try:
        started = int(_stat(pid)[19]) / _TICKS
        return max(int(float(Path("/proc/uptime").read_text().split()[0]) - started), 0)
    except (OSError, ValueError, IndexError):
        return 0


def _disk(folder: Path) -> tuple[int, int]:
    """Size and used bytes of the file system at ``folder``."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return 0, 0
    return facts.f_blocks * facts.f_frsize, (facts.f_blocks - facts.f_bfree) * facts.f_frsize
