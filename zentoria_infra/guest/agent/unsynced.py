"""The first installation in a guest, without an fsync for each file: most of its time goes there, above all on disks.

dpkg's own records are always on the disk (dpkg(1), ``--force-unsafe-io``), so that after a loss of power packages could
count as installed whose files are empty. So it is noted before what is installed, and with which boot of the kernel.
What was written stays in the kernel's memory when the agent is killed; a note of another boot means that it may be
lost, and then every package that came since is installed again. The note goes when all is on the disk.
"""

from __future__ import annotations

import os

from . import common

KEPT = "unsynced.json"
OPTIONS = ("-o", "Dpkg::Options::=--force-unsafe-io")
BOOT = os.environ.get("ZENTORIA_AGENT_BOOT", "/proc/sys/kernel/random/boot_id")


def begin() -> None:
    """Note what is installed; an older note goes on to say what there was before."""
    kept = common.load_json(KEPT)
    common.save_json(KEPT, {"boot": _boot(), "before": kept.get("before") or _all()})


def end() -> None:
    """Bring everything to the disk, and forget the note."""
    path = os.path.join(common.STATE, KEPT)
    if os.path.exists(path):
        common.must(["sync", "-f", "/", "/etc", "/usr", "/var"], "packages cannot be written to the disk")
        os.unlink(path)


def lost() -> list[str]:
    """Names of packages whose files may have been lost with the machine's memory."""
    kept = common.load_json(KEPT)
    if not kept or kept.get("boot") == _boot():
        return []
    before = kept.get("before") or {}
    return [name for name, version in sorted(_all().items()) if before.get(name) != version]


def _all() -> dict[str, str]:
    """Version by name of every package that dpkg has unpacked."""
    layout = "${binary:Package}\t${db:Status-Abbrev}\t${Version}\n"
    output = common.must(["dpkg-query", "-W", "-f", layout], "packages cannot be listed")
    rows = [line.split("\t") for line in output.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1][:1] == "i"}


def _boot() -> str:
    with open(BOOT) as stream:
        return stream.read().strip()
