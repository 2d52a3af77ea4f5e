"""A lab and a stack of one test or bench run, driven through the ``zentoria`` command as a user would."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import requests

ROOT = Path(__file__).resolve().parents[2]
ZENTORIA = Path(sys.executable).with_name("zentoria")


SMALL_MODELS = """\
# Small enough for every test run; it answers nothing right.
containers:
  ai:
    resources: {memory: 1024}
    services:
      ollama:
        models: {chat: smollm2-135m, code: smollm2-135m}
        settings: {parallel: 1}
  voice:
    services:
      api:
        models: {transcription: whisper-tiny-en}
"""


@dataclasses.dataclass
class Run:
    """A finished command. ``memory`` is its peak resident size in bytes, the time is wall time."""

    code: int
    out: str
    err: str
    seconds: float
    memory: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    @property
    def result(self) -> dict[str, Any]:
        """The last event of ``up --json``."""
        return next(event for event in reversed(self.events) if event["event"] == "result")

    def said(self) -> str:
        """Everything, for an assertion's message."""
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Stack:
    """One lab by name, on ports of its own, with the shipped inventory.

    Args:
        name: the lab's name.
        project: folder of the inventory to use; default this project's.
    """

    def __init__(self, name: str, project: Path = ROOT) -> None:
        self.name = name
        self.project = project
        self.ports: dict[str, int] = {}

    def zentoria(self, *arguments: str, timeout: float = 900, check: bool = False, **more: Any) -> Run:
        """Run the command against this lab's site."""
        command = [str(ZENTORIA), "--root", str(self.project), "--site", f"lab:{self.name}", *arguments]
        return self._run(command, timeout, check, **more)

    def lab(self, *arguments: str, timeout: float = 600, check: bool = True) -> Run:
        """Run a ``zentoria lab`` command for this lab."""
        command = [str(ZENTORIA), "--root", str(self.project), "lab", *arguments, "--name", self.name]
        return self._run(command, timeout, check)

    def start(self, *options: str) -> None:
        """Bring the lab up on free ports."""
        self.lab("up", "--ports", "auto", "--guests", "lxc", *options)
        self.ports = json.loads(self.lab("up", "--json").out)["ports"]
        (self.folder / "own.yaml").write_text(SMALL_MODELS)

    def reset(self) -> None:
        """Remove the lab and everything in it."""
        self.lab("reset", "--yes")

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command against this lab's site, to be interrupted."""
        command = [str(ZENTORIA), "--root", str(self.project), "--site", f"lab:{self.name}", *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=_env()
        )

    def get(self, path: str, *, https: bool = True, host: str = "localhost", **more: Any) -> requests.Response:
        """One request at the proxy, with the site's CA trusted."""
        scheme, port = ("https", self.ports["https"]) if https else ("http", self.ports["http"])
        with requests.Session() as session:
            session.trust_env = False
            url = f"{scheme}://{host}:{port}{path}"
            return session.get(url, verify=str(self.ca), timeout=30, **{"allow_redirects": False} | more)

    @property
    def ca(self) -> Path:
        """The site's CA certificate."""
        return self.folder / "secrets" / "stack" / "ca" / "ca.crt"

    @functools.cached_property
    def folder(self) -> Path:
        """The lab's folder."""
        return Path(json.loads(self.lab("up", "--json").out)["folder"])

    @staticmethod
    def _run(command: list[str], timeout: float, check: bool, **more: Any) -> Run:
        begun = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=_env(), **more)
            late = threading.Timer(timeout, process.kill)
            late.daemon = True  # else Ctrl-C would wait for it
            late.start()
            _, status, usage = os.wait4(process.pid, 0)
            late.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - begun
            texts = [_text(stream) for stream in (out, err)]
        run = Run(process.returncode, texts[0], texts[1], seconds, usage.ru_maxrss * 1024)
        assert not check or run.code == 0, f"{' '.join(command)}\n{run.said()}"
        return run


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def _env() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("ZENTORIA_SITE")}


class RequestLoop:
    """Asks a URL again and again in a thread of its own, and keeps what did not answer 200.

    At most 4,000 requests, so that it ends even when nobody stops it.
    """

    def __init__(self, stack: Stack, path: str) -> None:
        self._url = f"https://localhost:{stack.ports['https']}{path}"
        self._ca = str(stack.ca)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.good = 0
        self.bad: list[str] = []
        self.slowest = 0.0

    def _work(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(4000):
                if self._stop.is_set():
                    return
                begun = time.monotonic()
                try:
                    answer = session.get(self._url, verify=self._ca, timeout=30)
                    if answer.status_code == 200:
                        self.good += 1
                    else:
                        self.bad.append(f"{answer.status_code} {answer.text[:200]}")
                except requests.RequestException as error:
                    self.bad.append(repr(error))
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self._stop.wait(0.02)

    def __enter__(self) -> RequestLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def no_lxc() -> str:
    """Why real containers cannot be had here; empty where they can."""
    from zentoria_infra.lab.lxc import requirements

    missing = requirements.missing()
    return requirements.sentence(missing) if missing else ""


_NOT_COPIED = ("__pycache__", ".venv", "*.egg-info", "node_modules", ".next")


def copy_project(target: Path) -> Path:
    """A copy of the inventory, zones and templates that a test may change."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("inventory", "templates", "services", "npm"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    shutil.copy(ROOT / "zones.yaml", target)
    return target
