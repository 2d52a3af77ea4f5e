"""A real container with data on its volumes, as its file changes: nothing of it goes out of sight unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stack import ROOT, Run, Stack, copy_project
from zentoria_infra.cli.context import connect
from zentoria_infra.inventory.load import load
from zentoria_infra.lab import site_overlay

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

VMID = 410
FILE = "inventory/containers/410-redis.yaml"
SHIPPED = "volumes:\n  data: {path: /var/lib/redis, size: 16, owner: redis}\n"
REDIS = "{path: /var/lib/redis, size: 16, owner: redis}"
OUTER, DEEP = "{path: /srv/outer, size: 1}", "{path: /srv/outer/deep, size: 1}"
KEPT = ("/var/lib/redis/kept", "/srv/outer/kept", "/srv/outer/deep/kept")


def in_guest(stack: Stack, script: str) -> str:
    run = stack.zentoria("exec", "redis", "--", "sh", "-c", script, check=True)
    return run.out.strip()


def seen(stack: Stack, *paths: str) -> list[str]:
    """What files there are say; each says its path when it was written."""
    return in_guest(stack, f"cat {' '.join(paths)} 2>/dev/null || true").split()


def unused(stack: Stack, *, remove: bool = False) -> list[str]:
    """The container's unused volumes."""
    inventory = load(ROOT, site="lab", overlay_files=site_overlay.for_site("lab", stack.name))
    with connect(inventory.site) as proxmox:
        found = [key for key in proxmox.observe.config(VMID).values if key.startswith("unused")]
        if found and remove:
            proxmox.write.set_config(VMID, {}, delete=found)
    return found


def test_volumes_reordered_inserted_nested_renamed_and_removed(stack: Stack, tmp_path: Path) -> None:
    changed = Stack(stack.name, copy_project(tmp_path / "project"))
    file = changed.project / FILE
    text = file.read_text()
    assert SHIPPED in text

    def up(*allow: str, **volumes: str) -> Run:
        lines = "".join(f"  {name}: {value}\n" for name, value in volumes.items())
        file.write_text(text.replace(SHIPPED, f"volumes:\n{lines}"))
        return changed.zentoria("up", "--only", "redis", "--yes", *allow)

    def refused(run: Run, *names: str) -> None:
        assert run.code == 5, run.said()
        assert "--allow data" in run.err, run.said()
        assert all(name in run.err for name in names), run.said()
        assert seen(stack, *KEPT) == list(KEPT)

    in_guest(stack, f"echo {KEPT[0]} > {KEPT[0]}")
    # Written above what is there, one in the other, and the inner one first.
    run = up(deep=DEEP, outer=OUTER, data=REDIS)
    assert run.code == 0, run.said()
    in_guest(stack, "; ".join(f"echo {path} > {path}" for path in KEPT[1:]))
    assert in_guest(stack, "findmnt -no TARGET -T /srv/outer/deep && findmnt -no TARGET -T /srv/outer").split() == [
        "/srv/outer/deep",
        "/srv/outer",
    ]
    # In another order, one more, and another name for one.
    run = up(data=REDIS, extra="{path: /srv/extra, size: 1}", other=OUTER, deep=DEEP)
    assert run.code == 0, run.said()
    assert seen(stack, *KEPT) == list(KEPT)
    assert in_guest(stack, "ls /srv/extra | grep -v lost+found || true") == ""

    extra = "{path: /srv/extra, size: 1}"
    refused(up(data=REDIS, extra=extra, other=OUTER), "(/srv/outer/deep, 1G) is taken away")
    moved = {"data": "{path: /srv/extra, size: 16, owner: redis}", "extra": "{path: /var/lib/redis, size: 1}"}
    refused(up(**moved, other=OUTER, deep=DEEP), "moves to /srv/extra", "moves to /var/lib/redis")
    assert unused(stack) == []

    elsewhere = {"data": REDIS, "other": "{path: /srv/else, size: 1}"}
    run = up("--allow", "data", **elsewhere)
    assert run.code == 0, run.said()
    assert seen(stack, KEPT[0], "/srv/else/kept", *KEPT[1:]) == [KEPT[0], KEPT[1]]
    assert len(unused(stack)) == 2, "deep and extra stay with the container"

    run = stack.zentoria("up", "--only", "redis", "--yes")  # as it is shipped
    assert run.code == 5, run.said()
    assert "(/srv/else, 1G) is taken away" in run.err, run.said()
    stack.zentoria("up", "--only", "redis", "--yes", "--allow", "data", check=True)
    assert seen(stack, KEPT[0]) == [KEPT[0]]
    assert len(unused(stack, remove=True)) == 3
    assert unused(stack) == []
    assert stack.zentoria("plan", "--only", "redis", "--detailed-exitcode").code == 0
    in_guest(stack, f"rm {KEPT[0]}")
