"""Start a guest with ``lxc-start`` and say why it did not come up."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from zentoria_infra.lab.lxc.commands import PATH
from zentoria_infra.lab.lxc.config import GuestPaths
from zentoria_infra.lab.runtime import RuntimeFailure

_SECONDS = 60.0


def lxc_start(lxcpath: Path, vmid: int, paths: GuestPaths) -> None:
    """Run ``lxc-start`` in the background mode; it returns when the guest's init runs or has failed.

    Raises:
        RuntimeFailure: it failed, or took longer than a minute.
    """
    for file in (paths.pid, paths.log, paths.console):
        file.unlink(missing_ok=True)
    with paths.output.open("wb") as sink:
        # a file and not a pipe: the monitor lives on and would hold a pipe open
        process = subprocess.Popen(
            ["lxc-start", "-P", str(lxcpath), "-n", str(vmid), "--daemon"],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/",
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        try:
            code = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if code != 0:
        raise failure(vmid, paths)


def failure(vmid: int, paths: GuestPaths) -> RuntimeFailure:
    """A guest that did not come up, in Proxmox's words and with the end of LXC's log."""
    told = _tail(paths.log) or _tail(paths.output) or _tail(paths.console) or "init ended at once"
    return RuntimeFailure(f"startup for container '{vmid}' failed: {told}")


def apparmor() -> bool:
    """Whether AppArmor is on in the kernel and LXC can load profiles."""
    try:
        enabled = Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except OSError:
        return False
    return enabled and shutil.which("apparmor_parser", path=PATH) is not None


def _tail(file: Path, lines: int = 8) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
