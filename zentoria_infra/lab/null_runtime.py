"""A runtime without guests, for ``--guests none``: containers exist and "run", but nothing is inside."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc import images
from zentoria_infra.lab.runtime import Config, GuestStatus, Interface, Log, RuntimeFailure

_NET = re.compile(r"net\d+")
_LOOPBACK = Interface("lo", "00:00:00:00:00:00", ("127.0.0.1/8",), ("::1/128",))


def _properties(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _link_local(mac: str) -> str:
    """The IPv6 address that the kernel makes from a hardware address (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    raw = bytes([0xFE, 0x80, *([0] * 6), *octets[:3], 0xFF, 0xFE, *octets[3:]])
    return f"{ipaddress.IPv6Address(raw)}/64"


class NullRuntime:
    """Keeps volumes as sparse files and, for each container that runs, one small file.

    Args:
        layout: where volumes, templates and the state lie.
        templates: templates that are there without a file (name to size in bytes).
        delays: seconds that ``start``, ``stop``, ``unpack``, ``snapshot`` or ``rollback`` take, for tests that look at
            running tasks.
    """

    def __init__(
        self,
        layout: LabLayout,
        *,
        templates: Mapping[str, int] | None = None,
        delays: Mapping[str, float] | None = None,
    ) -> None:
        self._layout = layout
        self._cache = layout.storage / "template" / "cache"
        self._guests = layout.guests
        self._templates = dict(templates or {})
        self._delays = dict(delays or {})
        for folder in (layout.storage / "images", self._cache, self._guests):
            folder.mkdir(parents=True, exist_ok=True)

    def _wait(self, what: str) -> None:
        if seconds := self._delays.get(what, 0.0):
            time.sleep(seconds)

    def templates(self) -> Mapping[str, int]:
        """See ``GuestRuntime``."""
        return {**self._templates, **{path.name: path.stat().st_size for path in self._cache.iterdir()}}

    def volumes(self) -> Mapping[str, int]:
        """See ``GuestRuntime``."""
        return images.volume_sizes(self._layout)

    def space(self) -> tuple[int, int]:
        """See ``GuestRuntime``."""
        usage = shutil.disk_usage(self._layout.root)
        return usage.total, usage.free

    def _volume(self, volume: str) -> Path:
        return images.locate(self._layout, volume)

    def allocate(self, volume: str, size: int) -> None:
        """See ``GuestRuntime``. Sparse: it takes no room, but what can never fit is refused."""
        path = self._volume(volume)
        if path.exists():
            raise RuntimeFailure(f"disk image '{path}' already exists")
        if size > self.space()[0]:
            raise RuntimeFailure(f"unable to create image: no space for {size} bytes")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".subvol":
            path.mkdir()
            return
        with path.open("wb") as stream:
            stream.truncate(size)

    def free(self, volume: str) -> None:
        """See ``GuestRuntime``."""
        path = self._volume(volume)
        for entry in (path, *images.belongings(path)):
            images.remove(entry)
        with contextlib.suppress(OSError):  # other volumes of the container may still be in its folder
            path.parent.rmdir()

    def rename(self, volume: str, new: str) -> None:
        """See ``GuestRuntime``."""
        path, target = self._volume(volume), self._volume(new)
        if not path.exists():
            raise RuntimeFailure(f"volume '{volume}' does not exist")
        if target.exists():
            raise RuntimeFailure(f"disk image '{target}' already exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()

    def copy(self, volume: str, new: str) -> None:
        """See ``GuestRuntime``."""
        images.copy(self._volume(volume), self._volume(new))

    def snapshot(self, volume: str, name: str) -> None:
        """See ``GuestRuntime``."""
        self._wait("snapshot")
        path = self._volume(volume)
        images.copy(path, images.snapshot_of(path, name))

    def rollback(self, volume: str, name: str) -> None:
        """See ``GuestRuntime``."""
        self._wait("rollback")
        path = self._volume(volume)
        images.put_back(images.snapshot_of(path, name), path)

    def drop_snapshot(self, volume: str, name: str) -> None:
        """See ``GuestRuntime``."""
        path = images.snapshot_of(self._volume(volume), name)
        if not path.exists():
            raise RuntimeFailure(f"'{path}' does not exist")
        images.remove(path)

    def freeze(self, vmid: int) -> None:
        """See ``GuestRuntime``; there is nobody to hold."""

    def thaw(self, vmid: int) -> None:
        """See ``GuestRuntime``."""

    def grow(self, vmid: int, key: str, volume: str, size: int) -> None:
        """See ``GuestRuntime``."""
        path = self._volume(volume)
        if not path.is_file():
            raise RuntimeFailure(f"{key} of CT {vmid}: volume '{volume}' does not exist")
        os.truncate(path, size)

    def unpack(self, vmid: int, template: str, config: Config, log: Log) -> None:
        """See ``GuestRuntime``; nothing is unpacked, and the log says so."""
        if template not in self.templates():
            raise RuntimeFailure(f"template '{template}' does not exist")
        self._wait("unpack")
        log(f"no guests in this lab: {template} is not unpacked")

    def destroy(self, vmid: int, log: Log) -> None:
        """See ``GuestRuntime``."""
        self._state(vmid).unlink(missing_ok=True)

    def _state(self, vmid: int) -> Path:
        return self._guests / f"{vmid}.running"

    def _save(self, vmid: int, config: Config, since: float) -> None:
        temporary = self._guests / f".{vmid}.tmp"
        temporary.write_text(json.dumps({"since": since, "config": dict(config)}))
        temporary.replace(self._state(vmid))

    def _load(self, vmid: int) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self._state(vmid).read_text())
        except FileNotFoundError:
            return None
        return state

    def start(self, vmid: int, config: Config, log: Log) -> None:
        """See ``GuestRuntime``."""
        self._wait("start")
        self._save(vmid, config, time.time())

    def stop(self, vmid: int, log: Log) -> None:
        """See ``GuestRuntime``."""
        self._wait("stop")
        self._state(vmid).unlink(missing_ok=True)

    def shutdown(self, vmid: int, timeout: int, log: Log) -> bool:
        """See ``GuestRuntime``."""
        self.stop(vmid, log)
        return True

    def apply(self, vmid: int, config: Config, changed: frozenset[str], log: Log) -> None:
        """See ``GuestRuntime``."""
        if state := self._load(vmid):
            self._save(vmid, config, state["since"])

    def status(self, vmid: int) -> GuestStatus:
        """See ``GuestRuntime``; nothing runs, so nothing is used."""
        state = self._load(vmid)
        if state is None:
            return GuestStatus(running=False)
        return GuestStatus(running=True, uptime=max(1, int(time.time() - state["since"])))

    def interfaces(self, vmid: int) -> tuple[Interface, ...]:
        """See ``GuestRuntime``; what the configuration says, since there is nobody to ask."""
        state = self._load(vmid)
        if state is None:
            return ()
        found = [_LOOPBACK]
        for key, text in sorted(state["config"].items()):
            if _NET.fullmatch(key):
                net = _properties(text)
                mac = net.get("hwaddr", "00:00:00:00:00:00").lower()
                inet = (net["ip"],) if "/" in net.get("ip", "") else ()
                found.append(Interface(net.get("name", key), mac, inet, (_link_local(mac),)))
        return tuple(found)
