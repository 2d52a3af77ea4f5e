"""Up, down, status and reset of a lab, from outside of its daemon."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import psutil

from zentoria_infra.errors import LabError
from zentoria_infra.lab import marks, power, prepared, registry
from zentoria_infra.lab.firewall.enforcer import CYCLE
from zentoria_infra.lab.layout import LabLayout, default_root
from zentoria_infra.lab.lxc import mounttable, requirements, template
from zentoria_infra.lab.lxc.rootfs import locked
from zentoria_infra.lab.lxc.runtime import LxcRuntime
from zentoria_infra.lab.network import ports
from zentoria_infra.lab.network.package_cache import PACKAGES
from zentoria_infra.lab.registry import Guests, Lab, Ports
from zentoria_infra.lab.releases import NAMES, NEWEST
from zentoria_infra.lab.runtimes import runtime_of
from zentoria_infra.lab.shell import ssh

Say = Callable[[str], None]
_START_SECONDS = 1800.0
_STOP_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What ``up`` is asked for; None leaves what the lab had, or the default."""

    guests: Literal["auto", "lxc", "none"] = "auto"
    auto_ports: bool = False
    api: int | None = None
    ssh: int | None = None
    https: int | None = None
    http: int | None = None
    allow: tuple[str, ...] = ()
    strict: bool | None = None
    firewall_cycle: float | None = None
    pve: str | None = None

    def ports(self, base: Ports) -> Ports:
        """These ports, with ``base`` for those that are not given."""
        given = {"api": self.api, "ssh": self.ssh, "https": self.https, "http": self.http}
        return dataclasses.replace(base, **{name: port for name, port in given.items() if port is not None})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A lab that is up. ``began`` says whether this call started it; ``notes`` are what did not work all the same."""

    lab: Lab
    began: bool
    notes: tuple[str, ...] = ()


def up(name: str, wanted: Wanted, say: Say) -> Outcome:
    """Have the lab up; nothing happens when it is.

    Raises:
        LabError: it does not start, or runs with other settings than those asked for.
    """
    with _alone(name):
        known = registry.find(name)
        if known is not None and marks.daemon_pid(known.layout).alive():
            _same(known, wanted)
            _wait_ready(known)
            return Outcome(known, began=False)
        if known is not None:
            marks.sshd_pid(known.layout).end(2.0)  # of a daemon that was killed; sessions go on
        elif not registry.is_lab(name):
            registry.require_nothing(name)
        lab, notes = _choose(name, known, wanted)
        passed = ("https", "http") if lab.guests == "none" else ()
        ports.require_free(lab.ports, passed)
        began = registry.claim(name)
        _folders(lab.layout)
        lab.save()
        try:
            notes += _launch(lab, say)
        except LabError:
            if began:
                _remove(lab, say)
            raise
        return Outcome(lab, began=True, notes=tuple(notes))


def _same(known: Lab, wanted: Wanted) -> None:
    asked = wanted.ports(known.ports)
    other = wanted.guests not in ("auto", known.guests) or asked != known.ports
    other = other or wanted.firewall_cycle not in (None, known.firewall_cycle)
    other = other or wanted.pve not in (None, known.pve)
    if other or not set(wanted.allow) <= set(known.allow) or wanted.strict not in (None, known.strict):
        raise LabError(
            f"change lab '{known.name}'", got="it runs with other settings",
            todo=f"zentoria lab down --name {known.name}, then up again",
        )  # fmt: skip


def _choose(name: str, known: Lab | None, wanted: Wanted) -> tuple[Lab, list[str]]:
    guests, notes = _guests(known, wanted.guests)
    base = known.ports if known else Ports()
    asked = wanted.ports(base)
    if wanted.auto_ports and not (known and all(ports.is_free(port) for port in asked.named().values())):
        asked = wanted.ports(ports.free_ports())
    allow = tuple(sorted({*(known.allow if known else ()), *wanted.allow}))
    strict = wanted.strict if wanted.strict is not None else known is None or known.strict
    cycle = wanted.firewall_cycle or (known.firewall_cycle if known else CYCLE)
    return Lab(name, guests, asked, allow, strict, cycle, _release(known, wanted.pve)), notes


def _release(known: Lab | None, asked: str | None) -> str:
    """Which release to be. A lab with containers goes up to a newer one, as a node does, and never back."""
    if known is None:
        return asked or NEWEST
    back = asked is not None and NAMES.index(asked) < NAMES.index(known.pve)
    if back and power.configurations(known.layout):
        raise LabError(
            f"start lab '{known.name}' with --pve {asked}",
            got=f"its containers were made with {known.pve}, and Proxmox VE does not go back",
            todo=f"zentoria lab reset --name {known.name}",
        )
    return asked or known.pve


def _guests(known: Lab | None, asked: Literal["auto", "lxc", "none"]) -> tuple[Guests, list[str]]:
    """What to have inside, and what the user must know about it."""
    filled = known is not None and bool(power.configurations(known.layout))
    if known is not None and filled:
        if asked not in ("auto", known.guests):
            raise LabError(
                f"start lab '{known.name}' with --guests {asked}",
                got=f"its containers were made with --guests {known.guests}",
                todo=f"zentoria lab reset --name {known.name}",
            )
        asked = known.guests
    if asked == "none":
        return "none", []
    lacking = requirements.sentence(requirements.missing())
    if not lacking:
        return "lxc", []
    if asked == "lxc":
        raise LabError("start the lab with --guests lxc", got=lacking, todo="or use --guests none: the API alone")
    return "none", [f"no guests inside (--guests none): {lacking}"]


def _folders(layout: LabLayout) -> None:
    """Make the lab's folders. Guests run as other users: they must get through the outer ones."""
    for folder in (default_root(), layout.root):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(folder.stat().st_mode & 0o7777 | 0o711)
    for folder in (layout.run, layout.logs):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
    layout.secrets.mkdir(mode=0o700, exist_ok=True)


def _launch(lab: Lab, say: Say) -> list[str]:
    """Start the daemon and wait until all of it answers; gives back its notes."""
    reader, writer = os.pipe()
    argv = [sys.executable, "-P", "-m", "zentoria_infra.lab.daemon", lab.name, "--report", str(writer)]
    try:
        with (lab.layout.logs / "daemon.err").open("wb") as sink:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", pass_fds=(writer,),
                start_new_session=True,
            )  # fmt: skip
    finally:
        os.close(writer)
    with os.fdopen(reader) as stream:
        for line in stream:
            message: dict[str, Any] = json.loads(line)
            if "say" in message:
                say(message["say"])
            elif "ready" in message:
                # it is not our child for long; until then nobody else waits for it
                process.returncode = 0
                return list(message["ready"])
            elif "error" in message:
                process.wait(_STOP_SECONDS)
                raise LabError(**message["error"])
    code = process.wait(_STOP_SECONDS)
    tail = (lab.layout.logs / "daemon.err").read_text(errors="replace").strip()[-800:]
    raise LabError("start the lab's daemon", got=f"it ended with code {code}: {tail}", todo=f"see {lab.layout.logs}")


def _wait_ready(lab: Lab) -> None:
    """Wait for a daemon that is starting."""
    deadline = time.monotonic() + _START_SECONDS
    while not marks.ready(lab.layout).exists():
        if not marks.daemon_pid(lab.layout).alive():
            raise LabError("start the lab", on=lab.name, got="its daemon ended", todo=f"see {lab.layout.logs}")
        if time.monotonic() > deadline:
            raise LabError(
                "wait for the lab", on=lab.name, got="its daemon does not get ready",
                todo=f"see {lab.layout.logs}; zentoria lab down --name {lab.name}",
            )  # fmt: skip
        time.sleep(0.1)


def down(name: str, say: Say) -> bool:
    """Halt all guests and end the daemon; containers and their data stay. False when nothing ran.

    Raises:
        LabError: there is no such lab, or something does not end.
    """
    with _alone(name):
        lab = registry.find(name)
        if lab is None:
            raise LabError(
                "stop the lab",
                on=name,
                got="there is no such lab",
                todo="`zentoria lab status` names the labs that there are",
            )
        return _down(lab, say)


def _down(lab: Lab, say: Say) -> bool:
    layout = lab.layout
    ran = marks.daemon_pid(layout).end(_STOP_SECONDS)
    ran = marks.sshd_pid(layout).end(3.0) or ran
    _end_sessions(lab.ports.ssh)
    runtime = runtime_of(lab)
    ran = marks.booted(layout).exists() or ran
    problems = power.halt_all(layout, runtime, say)
    if isinstance(runtime, LxcRuntime):
        runtime.host_down(say)
    marks.booted(layout).unlink(missing_ok=True)
    marks.ready(layout).unlink(missing_ok=True)
    layout.control_socket.unlink(missing_ok=True)
    if not any(marks.daemon_pid(other.layout).alive() for other in registry.every()):
        ssh.drop_privsep(layout)
    if problems:
        raise LabError(
            "stop the lab", on=lab.name, got="\n".join(problems), todo="end what is named there by hand, then run again"
        )
    return ran


def _end_sessions(port: int) -> None:
    """End the SSH sessions of this lab: sshd's processes that serve a connection to its port."""
    try:
        entries = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return
    for entry in entries:
        if entry.pid and entry.laddr and entry.laddr.port == port and entry.laddr.ip == "127.0.0.1":
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(entry.pid)
                if process.name().startswith("sshd"):
                    process.terminate()


def reset(name: str, say: Say) -> None:
    """Take the lab down and remove everything of it: containers, volumes, keys, folders.

    Raises:
        LabError: something stayed; its files are kept then. Or the folder is no lab's: it is left as it is.
    """
    with _alone(name):
        if not registry.is_lab(name):
            registry.require_nothing(name)
        # without its file we do not know its ports: 0 is nobody's
        unknown = Lab(name, "lxc" if os.geteuid() == 0 else "none", Ports(0, 0, 0, 0))
        try:
            lab = registry.find(name) or unknown
        except LabError as error:
            say(f"{error.tried}: {error.got}; it is removed all the same")
            lab = unknown
        if lab.layout.root.exists():
            _remove(lab, say)


def _remove(lab: Lab, say: Say) -> None:
    if not registry.is_lab(lab.name):
        registry.require_nothing(lab.name)
    _down(lab, say)
    runtime = runtime_of(lab)
    if isinstance(runtime, LxcRuntime):
        runtime.purge(say)
    if left := mounttable.below(lab.layout.root):
        raise LabError(
            "remove the lab",
            on=lab.name,
            got=f"still mounted: {', '.join(str(one.target) for one in left)}",
            todo="end what uses these mounts, then run again",
        )
    try:
        shutil.rmtree(lab.layout.root)
    except OSError as error:
        raise LabError(
            "remove the lab's files", on=str(lab.layout.root), got=str(error), todo="remove the folder by hand"
        ) from error


def cache_folder() -> Path:
    """What all labs share: the built template and kept packages."""
    return template.default_cache()


def drop_cache() -> None:
    """Remove what all labs share: the built template and kept packages.

    Raises:
        LabError: a lab is up.
    """
    if running := [lab.name for lab in registry.every() if marks.daemon_pid(lab.layout).alive()]:
        raise LabError("remove the labs' cache", got=f"up: {', '.join(running)}", todo="take them down first")
    cache = cache_folder()
    if cache.is_dir():  # with $ZENTORIA_LAB_ROOT, its name may be that of a folder of others
        prepared_files = (*cache.glob(prepared.PATTERN), *cache.glob(f".{prepared.PATTERN}.*"))
        for entry in (*cache.glob(f"*{template.NAME}*"), *prepared_files, cache / ".lock"):
            entry.unlink(missing_ok=True)
        shutil.rmtree(cache / PACKAGES, ignore_errors=True)
        with contextlib.suppress(OSError):
            cache.rmdir()
    with contextlib.suppress(OSError):
        default_root().rmdir()


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let nobody else change this lab meanwhile; leaves no file when the lab is gone at the end."""
    root = registry.root_of(name)
    file = default_root() / f".{name}.lock"
    try:
        with locked(file):
            try:
                yield
            finally:
                if not root.exists():
                    file.unlink(missing_ok=True)
    except PermissionError as error:
        raise LabError(
            "use the lab", on=str(error.filename or root), got="permission denied", todo="as root"
        ) from error
    with contextlib.suppress(OSError):
        default_root().rmdir()


def lab_folder(name: str) -> Path:
    """The folder of a lab, whether it is there or not."""
    return registry.root_of(name)
