"""What all labs of a machine share: sysctls, the lxcfs daemon, root's sub-ids. The last lab puts them back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zentoria_infra.errors import LabError
from zentoria_infra.lab.lxc import mounttable
from zentoria_infra.lab.lxc.commands import environment, run
from zentoria_infra.lab.lxc.config import UID_BASE, UID_COUNT
from zentoria_infra.lab.lxc.rootfs import locked
from zentoria_infra.lab.network import netns
from zentoria_infra.lab.runtime import Log, RuntimeFailure

STATE = Path("/var/lib/zentoria-lab-host")
"""One a machine, wherever labs keep their files."""

LXCFS = Path("/var/lib/lxcfs")
"""Where Debian's LXC configuration expects lxcfs."""

SYSCTLS = {"fs/inotify/max_user_instances": 1024, "kernel/keys/maxkeys": 2000}
"""Least values: all guests run as the same host ids, so these per-user limits count them together."""

BRIDGE_SWITCHES = Path("/proc/sys/net/bridge")
"""There when the kernel can hand bridged packets to its filter: the lab's firewall takes that."""

_SUBIDS = (Path("/etc/subuid"), Path("/etc/subgid"))


@dataclasses.dataclass
class State:
    """What was changed on the machine, and for which labs."""

    boot: str = ""
    """The kernel's boot id: after a reboot sysctls and daemons are as if never touched."""
    labs: dict[str, str] = dataclasses.field(default_factory=dict)
    """Namespace to root folder."""
    sysctls: dict[str, int] = dataclasses.field(default_factory=dict)
    """Values from before."""
    lxcfs: int = 0
    """Pid of the lxcfs that we started; 0 when one ran already."""
    lxcfs_folder: bool = False
    """Whether we made lxcfs's folder."""
    netns_mount: bool = False
    """Whether iproute2 had never been used: it leaves a mount on its folder."""
    bridge_filter: bool = False
    """Whether we loaded the module for :data:`BRIDGE_SWITCHES`."""
    subids: list[str] = dataclasses.field(default_factory=list)
    """Files to which we added a line."""


class SharedHost:
    """The machine's part of all labs.

    Args:
        folder: where the state and its lock are kept.
    """

    def __init__(self, folder: Path = STATE) -> None:
        self._folder = folder
        self._file = folder / "state.json"

    def join(self, lab: str, root: Path, log: Log) -> None:
        """Prepare the machine for one more lab; a second time changes nothing.

        Raises:
            LabError: lxcfs does not come up, or a file of the machine cannot be written.
        """
        with self._state() as state:
            state.labs[lab] = str(root)
            self._save(state)
            if not state.netns_mount:
                state.netns_mount = not mounttable.mounted(netns.FOLDER)
            self._raise_sysctls(state, log)
            self._load_bridge_filter(state, log)
            self._add_subids(state, log)
            self._start_lxcfs(state, log)

    def leave(self, lab: str, log: Log) -> None:
        """Forget a lab; the last one undoes what was changed on the machine."""
        if not self._file.exists():
            return
        with self._state() as state:
            state.labs.pop(lab, None)
            if state.labs:
                return
            for key, value in state.sysctls.items():
                file = Path("/proc/sys") / key
                if int(file.read_text()) == SYSCTLS.get(key):  # else somebody changed it after us
                    file.write_text(str(value))
                    log(f"{key.replace('/', '.')} is {value} again")
            self._stop_lxcfs(state, log)
            if state.bridge_filter:
                with contextlib.suppress(RuntimeFailure):  # somebody else may use it by now
                    run(["modprobe", "--remove", "br_netfilter"])
                    log("module br_netfilter removed")
            self._remove_subids(state)
            if state.netns_mount and not any(netns.FOLDER.iterdir()):
                mounttable.unmount(netns.FOLDER)
                netns.FOLDER.rmdir()
            # while we hold the lock: who waits for it takes a new one (see locked)
            shutil.rmtree(self._folder, ignore_errors=True)

    def labs(self) -> dict[str, str]:
        """The labs of this machine: namespace to root folder."""
        return dict(self._load().labs)

    @contextlib.contextmanager
    def _state(self) -> Iterator[State]:
        with locked(self._folder / "lock"):
            state = self._load()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            if state.boot != boot:
                state.boot, state.sysctls, state.lxcfs, state.netns_mount = boot, {}, 0, False
                state.bridge_filter = False
            gone = [lab for lab, root in state.labs.items() if not netns.exists(lab) and not Path(root).exists()]
            for lab in gone:
                del state.labs[lab]
            try:
                yield state
            finally:
                if state.labs:
                    self._save(state)

    def _load(self) -> State:
        try:
            values: dict[str, Any] = json.loads(self._file.read_text())
            return State(**values)
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as failure:
            raise LabError(
                "read what the labs changed on this machine", on=str(self._file), got=str(failure),
                todo="remove the file when no lab runs",
            ) from failure  # fmt: skip

    def _save(self, state: State) -> None:
        partial = self._file.with_suffix(".new")
        partial.write_text(json.dumps(dataclasses.asdict(state), indent=1))
        partial.replace(self._file)

    def _raise_sysctls(self, state: State, log: Log) -> None:
        for key, least in SYSCTLS.items():
            file = Path("/proc/sys") / key
            value = int(file.read_text())
            if value < least:
                state.sysctls.setdefault(key, value)
                self._save(state)
                file.write_text(str(least))
                log(f"{key.replace('/', '.')} raised from {value} to {least}")

    def _load_bridge_filter(self, state: State, log: Log) -> None:
        """Have the module, without a change for the machine's own bridges: it would filter those as well.

        A kernel without it is no error: the lab's firewall says then that it cannot be.
        """
        if BRIDGE_SWITCHES.is_dir():
            return
        try:
            run(["modprobe", "br_netfilter"])
            for switch in BRIDGE_SWITCHES.glob("bridge-nf-call-*"):
                switch.write_text("0")
        except (RuntimeFailure, OSError) as failure:
            log(f"module br_netfilter: {failure}")
            return
        state.bridge_filter = True
        self._save(state)
        log("module br_netfilter loaded; bridges outside of the lab are not filtered")

    def _add_subids(self, state: State, log: Log) -> None:
        """Let root map the guests' ids: LXC asks newuidmap, and that looks in /etc/subuid even for root."""
        line = f"root:{UID_BASE}:{UID_COUNT}"
        for file in _SUBIDS:
            text = file.read_text() if file.exists() else ""
            if line in text.splitlines():
                continue
            state.subids.append(str(file))
            self._save(state)
            if text and not text.endswith("\n"):
                text += "\n"
            file.write_text(f"{text}{line}\n")
            log(f"added '{line}' to {file}")

    def _remove_subids(self, state: State) -> None:
        for name in state.subids:
            file = Path(name)
            kept = [line for line in file.read_text().splitlines() if line != f"root:{UID_BASE}:{UID_COUNT}"]
            file.write_text("".join(f"{line}\n" for line in kept))

    def _start_lxcfs(self, state: State, log: Log) -> None:
        if _lxcfs_works():
            return
        mounttable.unmount(LXCFS)  # a dead daemon leaves its mount behind
        if not LXCFS.exists():
            state.lxcfs_folder = True
            LXCFS.mkdir(parents=True)
        pid_file = self._folder / "lxcfs.pid"
        pid_file.unlink(missing_ok=True)
        output = self._folder / "lxcfs.log"
        with output.open("wb") as sink:
            # setsid leaves it without us as its parent; we own it by the pid that it writes
            subprocess.run(
                ["setsid", "--fork", "lxcfs", "-f", "-p", str(pid_file), str(LXCFS)],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment(), cwd="/", check=False,
            )  # fmt: skip
        if not _within(10, lambda: _lxcfs_works() and pid_file.exists()):
            raise LabError(
                "start lxcfs", on=str(LXCFS), got=output.read_text(errors="replace")[-600:],
                todo="try to run it by hand, or reinstall the package lxcfs",
            )  # fmt: skip
        state.lxcfs = int(pid_file.read_text())
        pid_file.unlink()
        self._save(state)
        log(f"lxcfs started, pid {state.lxcfs}")

    def _stop_lxcfs(self, state: State, log: Log) -> None:
        if not state.lxcfs:
            return
        if _command(state.lxcfs) == "lxcfs":
            os.kill(state.lxcfs, signal.SIGTERM)
            if not _within(5, lambda: _command(state.lxcfs) != "lxcfs"):
                os.kill(state.lxcfs, signal.SIGKILL)
            log(f"lxcfs stopped, pid {state.lxcfs}")
        mounttable.unmount(LXCFS)
        if state.lxcfs_folder:
            LXCFS.rmdir()


def _lxcfs_works() -> bool:
    try:
        return (LXCFS / "proc" / "meminfo").exists()
    except OSError:  # the daemon died: "transport endpoint is not connected"
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
