"""A lab driven as a user drives it, and a look at what it leaves on the machine."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests
import typer.testing

from tests.support.patience import patience
from zentoria_infra.cli.commands.lab import lab_app
from zentoria_infra.errors import ZentoriaError


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@dataclasses.dataclass
class LabCommand:
    """``zentoria lab`` for one lab below ``root``."""

    root: Path
    name: str

    def run(self, *words: str, check: bool = True) -> Result:
        """One command. It runs in this process: a second of imports each would be most of the test."""
        runner = typer.testing.CliRunner(env={"ZENTORIA_LAB_ROOT": str(self.root)})
        result = runner.invoke(lab_app, [*words, "--name", self.name])
        said, code = result.stderr, result.exit_code
        if isinstance(result.exception, ZentoriaError):
            said, code = f"{said}error: {result.exception}\n", int(result.exception.exit_code)
        elif result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert not check or code == 0, f"{words}: {code}\n{result.stdout}\n{said}"
        return Result(code, result.stdout, said)

    def up(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("up", "--ports", "auto", "--pristine", "--json", *words).stdout)
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json", check=False).stdout)
        return found

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "lab.json").read_text())
        return found

    def pct(self, line: str, feed: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Send a command line over SSH, as OpenSSH's own client does."""
        secrets = self.folder / "secrets"
        words = line.split("\0")
        known = self.root / f"{self.name}.known"
        port = self.settings["ports"]["ssh"]
        known.write_text(f"[127.0.0.1]:{port} {(secrets / 'ssh_host_key.pub').read_text()}")
        return subprocess.run(
            ["ssh", "-F", "none", "-i", str(secrets / "ssh_client_key"), "-p", str(port), "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes",
             "127.0.0.1", *words],
            input=feed, stdin=subprocess.DEVNULL if feed is None else None, capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip

    def api(self, method: str, path: str, token: bool = True, **values: Any) -> requests.Response:
        secrets = self.folder / "secrets"
        headers = {"Authorization": f"PVEAPIToken=zentoria@pve!up={(secrets / 'token').read_text().strip()}"}
        url = f"https://127.0.0.1:{self.settings['ports']['api']}/api2/json{path}"
        place = "params" if method in ("GET", "DELETE") else "data"
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, url, headers=headers if token else {}, verify=str(secrets / "ca.pem"), timeout=60,
                **{place: values},
            )  # fmt: skip

    def task(self, answer: requests.Response) -> str:
        """Wait for the task of an answer; how it ended."""
        assert answer.status_code == 200, answer.text
        upid = answer.json()["data"]
        end = time.monotonic() + 120
        while time.monotonic() < end:
            status = self.api("GET", f"/nodes/pve/tasks/{upid}/status").json()["data"]
            if status["status"] == "stopped":
                return str(status["exitstatus"])
            time.sleep(0.05)
        raise AssertionError(f"{upid} does not end")


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience(seconds)
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def traces(lab: LabCommand) -> dict[str, list[str]]:
    """All that a lab could leave on the machine: whatever names it, and shared settings of the kernel."""
    marks = (str(lab.folder), f"zt-{lab.name}", f"zentoria_infra.lab.daemon {lab.name} ")
    processes = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ()) + " "
        mine = process.info["pid"] == os.getpid() or process.info["status"] == psutil.STATUS_ZOMBIE
        if not mine and any(mark in words for mark in marks):
            processes.append(words)
    mounts = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if marks[0] in line or marks[1] in line
    ]
    groups = [str(found) for top in _hierarchies() if (found := top / f"zt-{lab.name}").exists()]
    spaces = [found.name for found in Path("/run/netns").glob(f"zt-{lab.name}")] if Path("/run/netns").exists() else []
    loops = [text for text in _loop_files() if str(lab.folder) in text]
    files = [str(found) for found in lab.root.glob(f"**/{lab.name}*")] if lab.root.exists() else []
    locks = [str(found) for found in Path("/run/lxc/lock").glob(f"**/{lab.name}")]
    return {
        "processes": processes, "mounts": mounts, "cgroups": groups, "namespaces": spaces, "loops": loops,
        "files": files, "locks": locks,
    }  # fmt: skip


def _hierarchies() -> list[Path]:
    """Where a lab makes its cgroup: the root of the unified hierarchy, and of each controller's own.

    No deeper: what other programs have there comes and goes while one looks.
    """
    top = Path("/sys/fs/cgroup")
    return [top, *(top / name for name in os.listdir(top))] if top.exists() else []


def _loop_files() -> list[str]:
    return [file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file")]


def kernel() -> dict[str, str]:
    """Settings of the machine that labs could change while they are up."""
    files = ("/proc/sys/fs/inotify/max_user_instances", "/proc/sys/kernel/keys/maxkeys", "/etc/subuid", "/etc/subgid")
    switches = sorted(str(switch) for switch in Path("/proc/sys/net/bridge").glob("*"))
    return {file: Path(file).read_text() for file in (*files, *switches) if Path(file).exists()}


def listening() -> set[int]:
    """TCP ports of 127.0.0.1 that somebody listens on."""
    entries = psutil.net_connections("tcp")
    return {entry.laddr.port for entry in entries if entry.status == psutil.CONN_LISTEN and entry.laddr}
