"""The lab is as strict as a real node about NAT: packets of a guest meet its own bridge first, then the node's."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab_firewall.lab_fw_world import World, filtered, why_not, world_with_an_outside
from tests.lab_firewall.lab_fw_world import ip as guest_ip
from zentoria_infra.lab.lxc.outside import FAR, Outside
from zentoria_infra.lab.network import netns

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.root,
    pytest.mark.lxc,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "everything is there"),
]

GUEST = 405
ON = "[OPTIONS]\nenable: 1\n"
OUT = "OUT ACCEPT -i net0 -p tcp -dport 80"
PLAIN = "-t nat -A POSTROUTING -s 10.10.32.0/20 -o vmbr0 -j MASQUERADE"
ANYWHERE = "-t nat -A POSTROUTING -s 10.10.32.0/20 ! -d 10.10.32.0/20 -j MASQUERADE"
ZONE = "-t raw -I PREROUTING -i fwbr+ -j CT --zone 1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_with_an_outside(tmp_path_factory.mktemp("pve"), GUEST) as world:
        yield world


@pytest.fixture
def world(lab: World) -> Iterator[World]:
    yield lab
    lab.guest(GUEST)
    lab.write("", vm405="")
    nat(lab)


def nat(world: World, *rules: str) -> None:
    """Have these rules for NAT and connections, and no others."""
    for table in ("nat", "raw"):
        ip(world, "iptables", "-t", table, "-F")
    for rule in rules:
        ip(world, "iptables", *rule.split())
    world.conntrack("-F")


def ip(world: World, *words: str) -> None:
    subprocess.run([*netns.enter_argv(world.name), *words], check=True)


@pytest.mark.parametrize(
    ("rules", "outcome"),
    [
        ((), "timeout"),
        ((ANYWHERE,), "timeout"),
        ((PLAIN,), "timeout"),
        ((ANYWHERE, ZONE), "timeout"),
        ((PLAIN, ZONE), "open"),
    ],
    ids=["no NAT", "anywhere", "on the way out", "anywhere, with a zone", "on the way out, with a zone"],
)
def test_guests_get_out_by_the_two_rules_that_work_on_proxmox_and_by_no_others(
    world: World, rules: tuple[str, ...], outcome: str
) -> None:
    """Measured on Proxmox VE 8.4 (notes on its behaviour, 48); pve-network.adoc, "Masquerading"."""
    world.write(ON, vm405=filtered(OUT))
    nat(world, *rules)
    assert world.tcp(GUEST, FAR, 80) == outcome


def test_what_goes_out_is_still_the_firewalls_business(world: World) -> None:
    world.write(ON, vm405=filtered())
    nat(world, PLAIN, ZONE)
    assert world.tcp(GUEST, FAR, 80) == "timeout"
    world.write(vm405=filtered(OUT))
    assert world.tcp(GUEST, FAR, 80) == "open"


def test_an_open_connection_is_cut_in_both_zones_at_once(world: World) -> None:
    """Measured on Proxmox: without a zone named, ``conntrack -D`` takes what is in any."""
    world.write(ON, vm405=filtered(OUT))
    nat(world, PLAIN, ZONE)
    with world.run(GUEST, socket.socket) as client:
        client.settimeout(2)
        client.connect((FAR, 80))
        cut = world.conntrack("-D", "-s", guest_ip(GUEST), "-d", FAR, "-p", "tcp", "--dport", "80")
        assert "2 flow entries have been deleted" in cut.stderr
    assert world.conntrack("-L", "-d", FAR).stdout == ""


def test_without_a_bridge_of_its_own_a_guest_needs_no_zone(world: World) -> None:
    world.guest(GUEST, firewall=False)
    nat(world, PLAIN)
    assert world.tcp(GUEST, FAR, 80) == "open"


def test_the_outside_goes_without_a_trace_and_can_come_again(tmp_path: Path) -> None:
    world = World(tmp_path, suffix="b")
    world.up()
    try:
        before = state(world)
        outside = Outside(world.name)
        outside.down()
        outside.up()
        assert state(world) != before
        outside.down()
        assert state(world) == before
        outside.up()
    finally:
        world.down()
    assert not netns.path(outside.namespace).exists()


def state(world: World) -> str:
    argv = netns.enter_argv(world.name)
    return "".join(
        subprocess.run([*argv, "ip", "-brief", what], capture_output=True, text=True, check=True).stdout
        for what in ("link", "rule", "route")
    )
