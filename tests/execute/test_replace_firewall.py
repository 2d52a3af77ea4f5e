"""A container that is replaced keeps what others have made of its firewall, whenever a run is killed."""

from __future__ import annotations

import pytest

from tests.execute.test_firewall_apply import bring_up, deployment, firewalled, guest, only, quick, shipped
from tests.execute.test_replace import killed_after
from tests.support.soak import sampled
from zentoria_infra.errors import ExitCode

__all__ = ["firewalled", "quick"]

VMID = 408


def lists(node) -> dict[str, object]:
    """Rules in order, options, aliases and IP sets with their members, without positions and digests."""

    def rows(path: str) -> list[dict[str, object]]:
        found = node.root("GET", guest(VMID, path))
        return [{key: value for key, value in one.items() if key not in ("digest", "pos")} for one in found]

    options = node.root("GET", guest(VMID, "/options"))
    options.pop("digest")
    sets = {one["name"]: rows(f"/ipset/{one['name']}") for one in rows("/ipset")}
    return {"rules": rows("/rules"), "options": options, "aliases": rows("/aliases"), "sets": sets}


@pytest.fixture
def touched(firewalled):
    """The proxy, with two rules of somebody else among ours, an alias, an IP set and an option."""
    small = only(shipped(), ("proxy",))
    bring_up(firewalled, small)
    root = firewalled.root
    root("POST", guest(VMID, "/aliases"), name="friend", cidr="10.10.40.77", comment="mine")
    root("POST", guest(VMID, "/ipset"), name="friends", comment="mine")
    root("POST", guest(VMID, "/ipset/friends"), cidr="10.10.40.78")
    root("PUT", guest(VMID, "/options"), log_level_in="info")
    for source in ("friend", "+guest/friends"):
        root("POST", guest(VMID, "/rules"), type="in", action="ACCEPT", source=source, enable=1, comment=f"my {source}")
    root("PUT", guest(VMID, "/rules/0"), moveto=3)
    return firewalled, small


@pytest.mark.parametrize("number", sampled(range(8), (0, 3, 5)))
def test_what_others_have_made_survives(touched, number) -> None:
    node, small = touched
    before = lists(node)
    places = [str(rule.get("comment", "")).startswith("my ") for rule in before["rules"]]
    assert [number for number, others in enumerate(places) if others] == [0, 2], "one is first, one is among ours"
    found = deployment(node.client(), small)
    plan, stages = found.plan(replace={VMID})
    assert [stage.id.partition(":")[2] for stage in stages] == [
        "parking", "park-firewall", "destroy", "create", "firewall", "configure", "parking-gone", "start",
    ]  # fmt: skip
    if number:
        killed_after(number, found, stages)
        found = deployment(node.client(), small)
        plan, stages = found.plan(wait=True)
    assert not plan.problems
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    assert lists(node) == before
    assert [int(one["vmid"]) for one in node.root("GET", "/nodes/pve/lxc")] == [VMID]
    assert deployment(node.client(), small).plan()[0].empty
