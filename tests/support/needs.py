"""What a test needs of the machine. Where it is not there a test is skipped; in CI that is an error.

``make test`` brings every program (``DEBIAN_PACKAGES`` and ``JUDGES`` in the Makefile), and a CI run has the reference
data beside the checkout: a test that is skipped there all the same shows nothing, and nobody notices.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
"""Reference data beside the checkout: what Proxmox's documentation, schemas and servers say."""

EXCUSED = (
    "root reads everything",
    "fakepve does not have this endpoint",
    "the shipped site's name server is another one",
    "needs nginx ",  # newer than the distribution's
    "needs unshare with ",  # as a container that CI runs in may forbid
)
"""How reasons begin that hold in CI too."""


def need_program(*names: str) -> str:
    """Where the first of these programs is; without one of them the test is skipped."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    places = [shutil.which(name, path=path) for name in names]
    for name, place in zip(names, places, strict=True):
        if place is None:
            pytest.skip(f"{name} is not installed")
    return str(places[0])


def need_shared(*parts: str) -> Path:
    """A file or folder of the reference data; without it the test is skipped."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no reference data: {path} is not there")
    return path


def is_excused(reason: str, *, as_root: bool, marks: set[str]) -> bool:
    """Whether a test may be skipped in CI for this reason: nothing that set-up brings would change it."""
    if not as_root and (marks & {"root", "lxc"} or "root" in reason):
        return True
    return reason.removeprefix("Skipped: ").startswith(EXCUSED)


def as_error(item: pytest.Item, report: pytest.TestReport) -> None:
    """Make a skipped test's report one of an error, unless the reason is excused."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not is_excused(reason, as_root=os.geteuid() == 0, marks={mark.name for mark in item.iter_markers()}):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nIn CI no test is skipped for what set-up should have brought: see {__name__}"
