"""Are the requirements.lock files what a resolution gives? With --write: make them so, keeping pins that still fit.

Locks are resolved by ``uv pip compile`` from the pyproject.toml files, for every platform, with hashes and without
the address of any index. A lock is fresh when resolving again with its own pins as preferences changes nothing.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMON = ["--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--python-version", "3.11"]


def own_names() -> list[str]:
    """Options that leave our own distributions out: they are built, and have no hash that a lock could name."""
    files = sorted(ROOT.glob("services/*/pyproject.toml"))
    names = [tomllib.loads(file.read_text())["project"]["name"] for file in files]
    return [part for name in names for part in ("--no-emit-package", name)]


def has_dev_group(service: Path) -> bool:
    """Whether a service has things of its own that only its tests want."""
    return "dev" in tomllib.loads((service / "pyproject.toml").read_text()).get("dependency-groups", {})


def has_program(service: Path) -> bool:
    """Whether it runs by itself; what others share is locked with them."""
    return "scripts" in tomllib.loads((service / "pyproject.toml").read_text())["project"]


def inputs() -> dict[Path, list[str]]:
    """Each lock file and the arguments that resolve it. A service's lock keeps to the pins of the root's."""
    services = sorted(path.parent for path in ROOT.glob("services/*/pyproject.toml"))
    root = ["pyproject.toml", *(str(s.relative_to(ROOT) / "pyproject.toml") for s in services)]
    groups = ["--group", "dev"]
    for service in filter(has_dev_group, services):
        groups += ["--group", f"{service.relative_to(ROOT)}/pyproject.toml:dev"]
    found = {ROOT / "requirements.lock": [*root, *groups]}
    for service in filter(has_program, services):
        own = [str(service.relative_to(ROOT) / "pyproject.toml"), "--constraint", "requirements.lock"]
        found[service / "requirements.lock"] = own
    # What `make bench` compares with lives by itself: its pins are nobody else's.
    peer = ROOT / "tests/bench/ansible"
    found[peer / "requirements.lock"] = [str(peer.relative_to(ROOT) / "requirements.in")]
    return found


def main(arguments: list[str]) -> int:
    """Check or write every lock; exit 1 when one is stale."""
    uv, write = arguments[0], "--write" in arguments[1:]
    stale = 0
    for lock, sources in inputs().items():
        before = lock.read_text() if lock.exists() else ""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "requirements.lock"
            output.write_text(before)
            command = [uv, "pip", "compile", *COMMON, *own_names(), *sources, "--output-file", str(output)]
            subprocess.run(command, cwd=ROOT, check=True)
            after = output.read_text()
        if after == before:
            continue
        if write:
            lock.write_text(after)
            continue
        stale += 1
        name = str(lock.relative_to(ROOT))
        sys.stderr.writelines(difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, "resolved"))
        sys.stderr.write(f"{name} is stale: run `make lock`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
