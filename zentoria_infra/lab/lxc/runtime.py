"""Real unprivileged LXC guests: the runtime behind the lab's API on a machine with root and LXC.

Everything of a guest is in files (LXC's folder, the volumes, the kernel's tables), nothing in this process:
guests go on when the lab's daemon ends, and a new one finds them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zentoria_infra.errors import LabError
from zentoria_infra.lab.layout import LabLayout, default_root
from zentoria_infra.lab.lxc import cgroup, etcfiles, launch, mounttable, network, template
from zentoria_infra.lab.lxc import config as pve
from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.lxc.config import GuestPaths
from zentoria_infra.lab.lxc.host import SharedHost
from zentoria_infra.lab.lxc.rootfs import Bases, mount_overlay
from zentoria_infra.lab.lxc.storage import Storage
from zentoria_infra.lab.lxc.usage import Sampler
from zentoria_infra.lab.lxc.volumes import detach_below
from zentoria_infra.lab.network import netns
from zentoria_infra.lab.runtime import Config, GuestStatus, Interface, Log, RuntimeFailure

GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LxcRuntime(Storage):
    """Implements :class:`zentoria_infra.lab.runtime.GuestRuntime` with LXC.

    Args:
        layout: names and folders of the lab.
        bridges: the node's bridges and its own address with prefix on each.
        cache: folder for the built template, shared by all labs; the default is beside the labs.
        host: the machine's shared state.
    """

    def __init__(
        self,
        layout: LabLayout,
        *,
        bridges: Mapping[str, str] = network.BRIDGES,
        cache: Path | None = None,
        host: SharedHost | None = None,
    ) -> None:
        if set(":,\\ ") & set(str(layout.root)):
            raise LabError(
                "use the lab's folder", on=str(layout.root), got="overlay mounts cannot take ':', ',', '\\' or ' '",
                todo="choose another folder",
            )  # fmt: skip
        super().__init__(layout)
        self._cache = cache or template.default_cache()
        self._network = network.Network(layout.netns, bridges)
        self._host = host or SharedHost()
        self._bases = Bases(layout.root / "bases")
        self._cgroups = cgroup.probe()
        self._sampler = Sampler(self._cgroups, layout.netns)

    # the machine

    def host_up(self, log: Log) -> None:
        """Prepare the machine and the lab's network; what is there already stays. Starts no guest.

        Raises:
            LabError: guests could not reach their files here, or the machine refuses something.
        """
        for folder in (self._layout.guests, self._layout.storage / "template/cache"):
            folder.mkdir(parents=True, exist_ok=True)
        ours = [self._layout.root, self._layout.guests]
        if self._layout.root.parent == default_root():
            ours.append(default_root())
        for folder in ours:
            folder.chmod(0o711)  # to go through, not to look into: guests' own folders are below
        self._check_reachable()
        self._host.join(self._layout.netns, self._layout.root, log)
        try:
            self._network.up()
        except RuntimeFailure as failure:
            raise LabError(
                "make the lab's network",
                on=self._layout.netns,
                got=str(failure),
                todo="see what `ip` says there; `zentoria lab reset` begins anew",
            ) from failure
        if not self._store.enforced:
            log("this machine has no loop devices: sizes of disks are not enforced")

    def ensure_template(self, log: Log) -> Path:
        """Have Debian 13's template in ``template/cache``; built once a machine (under a minute).

        Raises:
            LabError: it cannot be built here.
        """
        return template.ensure(self._cache, self._layout.storage / "template/cache", log)

    def host_down(self, log: Log) -> None:
        """Stop all guests at once and leave nothing on the machine but the lab's files.

        Gone are: processes, mounts, loop devices, the namespace, cgroups; with the last lab of the machine
        also lxcfs (if we started it), sysctls and sub-ids. A part that fails does not keep the others.

        Raises:
            LabError: something stayed; it says what.
        """
        left: list[str] = []
        running = [vmid for vmid in self._vmids() if self._sampler.pid(vmid, self._paths(vmid).pid)]
        with ThreadPoolExecutor(8) as pool:
            for vmid, outcome in [(vmid, pool.submit(self.stop, vmid, log)) for vmid in running]:
                try:
                    outcome.result()
                except RuntimeFailure as failure:
                    left.append(f"guest {vmid}: {failure}")
        for step in (
            self._kill_left,
            lambda: mounttable.unmount_below(self._layout.root),
            lambda: detach_below(self._layout.root),
            self._network.down,
            lambda: self._host.leave(self._layout.netns, log),
        ):
            try:
                step()
            except (RuntimeFailure, OSError) as failure:
                left.append(str(failure))
        # LXC's locks: one folder a path
        shutil.rmtree(f"/run/lxc/lock{self._layout.root}", ignore_errors=True)
        left += [f"cgroup {folder}" for folder in self._cgroups.remove(self._layout.netns)]
        if left:
            raise LabError(
                "take the lab down",
                on=self._layout.netns,
                got="\n".join(left),
                todo="end what is named there by hand, then run again",
            )

    def purge(self, log: Log) -> None:
        """:meth:`host_down`, then remove guests, volumes and templates of this lab.

        Raises:
            LabError: something stayed. No file is removed then: a mount might be below.
        """
        self.host_down(log)
        for folder in (self._layout.guests, self._layout.storage, self._layout.storages, self._layout.root / "bases"):
            shutil.rmtree(folder, ignore_errors=True)

    def attach_argv(self, vmid: int) -> list[str]:
        """The prefix that runs a program inside a running guest as its root: ``[*attach_argv(404), "id"]``.

        The environment is the guest's own, not ours. Input, output and exit code are passed on as they are
        (126/127 when the program is not executable/found). It takes about 10 ms.
        """
        return ["lxc-attach", "-P", str(self._layout.guests), "-n", str(vmid), "--clear-env",
                "--set-var", f"PATH={GUEST_PATH}", "--set-var", "HOME=/root", "--set-var", "TERM=dumb",
                "--"]  # fmt: skip

    # guests

    def unpack(self, vmid: int, template: str, config: Config, log: Log) -> None:
        """See :class:`GuestRuntime`. ``template`` is the file's name in ``template/cache``."""
        archive = self._layout.storage / "template/cache" / template
        if "/" in template or not archive.is_file():
            raise RuntimeFailure(f"volume 'local:vztmpl/{template}' does not exist")
        paths = self._paths(vmid)
        paths.folder.mkdir(parents=True, exist_ok=True)
        # the guest's root may enter, the host's other users may not: there are set-uid programs below
        os.chown(paths.folder, 0, pve.UID_BASE)
        paths.folder.chmod(0o750)
        log(f"extracting archive '{archive}'")
        base = self._bases.ensure(archive)
        paths.base.write_text(base)
        try:
            self._mount(vmid, config)
            etcfiles.write(paths.rootfs, vmid, config)
            log("Detected container architecture: amd64")
        finally:
            mounttable.unmount_below(paths.folder)

    def destroy(self, vmid: int, log: Log) -> None:
        """See :class:`GuestRuntime`."""
        if self._pid(vmid):
            raise RuntimeFailure(f"CT {vmid} is running")
        folder = self._paths(vmid).folder
        mounttable.unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self._sampler.forget(vmid)

    def start(self, vmid: int, config: Config, log: Log) -> None:
        """See :class:`GuestRuntime`."""
        if self._pid(vmid):
            raise RuntimeFailure(f"CT {vmid} already running")
        self._network.require(pve.nets(config))
        paths = self._paths(vmid)
        if config.get("unprivileged") != "1":
            log("the lab runs every container unprivileged")
        mounttable.unmount_below(paths.folder)  # of a guest that halted by itself
        try:
            self._mount(vmid, config)
            etcfiles.write(paths.rootfs, vmid, config)
            settings = self._cgroups.settings(pve.limits(vmid, config, cgroup.processors()))
            host = pve.HostFacts(cgroups=self._layout.netns, apparmor=launch.apparmor())
            paths.config.write_text(pve.lxc_text(vmid, config, paths, host, settings))
            self._write_hook(vmid, config)
            launch.lxc_start(self._layout.guests, vmid, paths)
            if not self._pid(vmid):
                raise launch.failure(vmid, paths)
        except RuntimeFailure:
            with contextlib.suppress(RuntimeFailure):
                self._kill(vmid)
            mounttable.unmount_below(paths.folder)
            raise

    def stop(self, vmid: int, log: Log) -> None:
        """See :class:`GuestRuntime`."""
        self._kill(vmid)
        self._network.clear(vmid)
        mounttable.unmount_below(self._paths(vmid).folder)

    def shutdown(self, vmid: int, timeout: int, log: Log) -> bool:
        """See :class:`GuestRuntime`."""
        if self._pid(vmid):
            words = ["lxc-stop", "-P", str(self._layout.guests), "-n", str(vmid), "--nokill",
                     "--timeout", str(timeout)]  # fmt: skip
            try:
                run(words, timeout=timeout + 30)
            except RuntimeFailure:
                if self._pid(vmid):
                    log(f"command 'lxc-stop -n {vmid} --nokill --timeout {timeout}' failed: exit code 1")
                    return False
        self._network.clear(vmid)
        mounttable.unmount_below(self._paths(vmid).folder)
        return True

    def freeze(self, vmid: int) -> None:
        """See :class:`GuestRuntime`."""
        run(["lxc-freeze", "-P", self._layout.guests, "-n", str(vmid)], timeout=60)
        run(["sync", "--file-system", *(mount.target for mount in mounttable.below(self._paths(vmid).folder))])

    def thaw(self, vmid: int) -> None:
        """See :class:`GuestRuntime`."""
        if self._pid(vmid):
            run(["lxc-unfreeze", "-P", self._layout.guests, "-n", str(vmid)], timeout=60)

    def apply(self, vmid: int, config: Config, changed: frozenset[str], log: Log) -> None:
        """See :class:`GuestRuntime`. Raises RuntimeFailure for a key that needs a restart."""
        pid = self._pid(vmid)
        if not pid:
            raise RuntimeFailure(f"CT {vmid} not running")
        limits = changed & {"memory", "swap", "cores", "cpulimit"}
        devices = {key for key in changed if re.fullmatch(r"net\d+", key)}
        # A new host name is in the configuration alone until the next start, as with Proxmox (its setup of a guest's
        # files runs before a start; see LXC_FASTPLUG_OPTIONS in PVE::LXC::Config).
        if rest := changed - limits - devices - {"hostname"}:
            raise RuntimeFailure(f"unable to hotplug {', '.join(sorted(rest))}: it takes a restart")
        if limits:
            name = f"{self._layout.netns}/{vmid}"
            self._cgroups.change(name, pve.limits(vmid, config, cgroup.processors()))
        wanted = {net.index: net for net in pve.nets(config)}
        for key in sorted(devices):
            index = int(key[3:])
            if index in wanted:
                self._network.plug(vmid, wanted[index], pid)
            else:
                self._network.unplug(vmid, index)
        self._write_hook(vmid, config)

    def status(self, vmid: int) -> GuestStatus:
        """See :class:`GuestRuntime`. Reads a few kernel files; no program runs."""
        pid = self._pid(vmid)
        if not pid:
            return GuestStatus(running=False)
        return self._sampler.status(vmid, pid, self._paths(vmid).disk)

    def interfaces(self, vmid: int) -> tuple[Interface, ...]:
        """See :class:`GuestRuntime`."""
        pid = self._pid(vmid)
        if not pid:
            raise RuntimeFailure(f"CT {vmid} not running")
        return network.interfaces(pid)

    # inside

    def _paths(self, vmid: int) -> GuestPaths:
        return GuestPaths(self._layout.guests / str(vmid))

    def _vmids(self) -> list[int]:
        if not self._layout.guests.is_dir():
            return []
        return sorted(int(entry.name) for entry in self._layout.guests.iterdir() if entry.name.isdigit())

    def _pid(self, vmid: int) -> int:
        return self._sampler.pid(vmid, self._paths(vmid).pid)

    def _mount(self, vmid: int, config: Config) -> None:
        paths = self._paths(vmid)
        root, *points = pve.mounts(config)
        try:
            base = self._bases.path(paths.base.read_text().strip())
        except FileNotFoundError as failure:
            raise RuntimeFailure(f"CT {vmid} has no root file system") from failure
        self._store.mount(root.volume, paths.disk)
        mount_overlay(paths, base)
        for point in points:
            self._store.mount(point.volume, paths.point(point.key), point.read_only)

    def _write_hook(self, vmid: int, config: Config) -> None:
        paths = self._paths(vmid)
        group = f"{self._layout.netns}/{vmid}"
        limits = pve.limits(vmid, config, cgroup.processors())
        writes = [
            (self._cgroups.folder(setting.controller, group) / setting.file, setting.value)
            for setting in self._cgroups.settings(limits)
        ]
        text = pve.hook_text(vmid, pve.nets(config), netns.path(self._layout.netns), paths.pid, writes)
        partial = paths.hook.with_suffix(".new")
        partial.write_text(text)
        partial.chmod(0o700)
        partial.replace(paths.hook)

    def _kill(self, vmid: int) -> None:
        """End a guest at once. ``lxc-stop -k`` waits until it is gone; one that does not run is no error."""
        if not self._pid(vmid):
            return
        try:
            run(["lxc-stop", "-P", self._layout.guests, "-n", str(vmid), "--kill"], timeout=60)
        except RuntimeFailure:
            if self._pid(vmid):
                raise

    def _kill_left(self) -> None:
        """Kill what still runs in the lab's cgroups: guests or monitors whose files are gone."""
        end = time.monotonic() + 5
        while pids := self._cgroups.members(self._layout.netns):
            if time.monotonic() > end:
                raise RuntimeFailure(f"processes that do not end: {sorted(pids)}")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _check_reachable(self) -> None:
        for folder in (self._layout.guests, *self._layout.guests.parents):
            if not folder.stat().st_mode & 0o001:
                raise LabError(
                    "use the lab's folder", on=str(self._layout.root),
                    got=f"{folder} may not be entered by others, and guests run as other users",
                    todo=f"chmod o+x {folder}, or choose another folder",
                )  # fmt: skip
