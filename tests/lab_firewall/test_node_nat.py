"""The README's way out for guests, carried out on the lab's node by the program that ``bootstrap`` runs there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab_firewall.lab_fw_world import GATEWAY, World, filtered, why_not, world_with_an_outside
from zentoria_infra.lab.lxc.outside import FAR
from zentoria_infra.lab.network import netns
from zentoria_infra.node import nat as program

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.root,
    pytest.mark.lxc,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "everything is there"),
]

GUEST = 405
ON = "[OPTIONS]\nenable: 1\n"
OUT = "OUT ACCEPT -i net0 -p tcp -dport 80"
README = Path(__file__).resolve().parents[2] / "README.md"
INTERFACES = """auto lo
iface lo inet loopback

iface eno1 inet manual

auto vmbr0
iface vmbr0 inet static
\taddress 10.99.0.1/24
\tgateway 10.99.0.254
\tbridge-ports eno1
\tbridge-stp off
\tbridge-fd 0

auto vmbr40
iface vmbr40 inet static
\taddress 10.10.47.254/20
\tbridge-ports none
\tbridge-stp off
\tbridge-fd 0
#guests

source /etc/network/interfaces.d/*
"""


class Node:
    """The lab's node: its network, and a folder that is its ``/etc``."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.etc = folder
        self.interfaces = folder / "network" / "interfaces"
        self.interfaces.parent.mkdir(parents=True)
        self.interfaces.write_text(INTERFACES)

    def run(
        self, do: str, *, site: str = "home", dry: bool = False, code: int = 0, **changes: object
    ) -> dict[str, Any]:
        order = {
            "do": do, "dry": dry, "site": site, "etc": str(self.etc),
            "networks": [{"cidr": "10.10.32.0/20", "gateway": GATEWAY}], **changes,
        }  # fmt: skip
        argv = [*netns.enter_argv(self.world.name), sys.executable, "-IS", program.__file__, json.dumps(order)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def shell(self, command: str) -> str:
        argv = [*netns.enter_argv(self.world.name), "sh", "-ec", command]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def come_up(self, word: str = "post-up") -> None:
        """What ifupdown does with the lines of an interface that comes up, or goes."""
        for line in self.interfaces.read_text().splitlines():
            first, _, command = line.strip().partition(" ")
            if first == word:
                self.shell(command)

    def forget(self) -> None:
        """As after a start of the node, before its interfaces come up."""
        self.shell("iptables -t nat -F; iptables -t raw -F; echo 0 > /proc/sys/net/ipv4/ip_forward")
        self.world.conntrack("-F")

    def rules(self) -> str:
        return self.shell("iptables -t nat -S; iptables -t raw -S")

    def gets_out(self) -> bool:
        self.world.conntrack("-F")
        return self.world.tcp(GUEST, FAR, 80) == "open"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_with_an_outside(tmp_path_factory.mktemp("pve"), GUEST) as world:
        world.write(ON, vm405=filtered(OUT))
        yield world


@pytest.fixture
def node(lab: World, tmp_path: Path) -> Iterator[Node]:
    made = Node(lab, tmp_path / "etc")
    made.forget()
    yield made


def readme_lines() -> list[str]:
    """What the README tells to write below the bridge."""
    lines = [line.strip() for line in README.read_text().splitlines()]
    return [line for line in lines if line.startswith(("post-up ", "post-down "))]


def test_the_readmes_first_node_lets_guests_out_with_the_firewall_on(node: Node) -> None:
    assert not node.gets_out()
    bridge = "iface vmbr40 inet static\n"
    below = "".join(f"\t{line}\n" for line in readme_lines())
    node.interfaces.write_text(INTERFACES.replace(bridge, bridge + below))
    node.come_up()
    assert node.gets_out()
    found = node.run("look")
    assert (found["missing"], found["lines"], found["spoils"]) == ([], [], []), "bootstrap takes it as it is"
    before = node.interfaces.read_text()
    assert node.run("install")["changed"] == []
    assert node.interfaces.read_text() == before
    node.come_up("post-down")
    assert "MASQUERADE" not in node.rules()
    assert "CT" not in node.rules()


def test_bootstrap_says_what_is_missing_puts_it_there_once_and_takes_it_away(node: Node) -> None:
    found = node.run("look")
    assert (found["bridge"], found["out"], len(found["missing"])) == ("vmbr40", "vmbr0", 3)
    dry = node.run("install", dry=True)
    assert (node.interfaces.read_text(), node.gets_out()) == (INTERFACES, False)
    done = node.run("install")
    assert done["missing"] == []
    assert set(dry["changed"]) <= set(done["changed"])
    assert node.gets_out()
    text = node.interfaces.read_text()
    assert text.index("\tbridge-fd 0\n\tpost-up") > text.index("iface vmbr40")
    before = node.rules()
    again = node.run("install")
    assert (again["changed"], again["missing"], node.run("look")["missing"]) == ([], [], [])
    assert (node.interfaces.read_text(), node.rules()) == (text, before)
    # a reload of all interfaces runs the lines again
    node.come_up()
    assert node.rules() == before

    node.forget()
    assert not node.gets_out()
    assert len(node.run("look")["missing"]) == 3
    node.come_up()
    assert node.gets_out()
    assert node.run("look")["missing"] == []

    assert node.run("remove", dry=True)["changed"]
    assert node.interfaces.read_text() == text
    assert node.run("remove")["changed"]
    assert node.interfaces.read_text() == INTERFACES
    assert not node.gets_out()
    assert node.run("remove")["changed"] == []


def test_what_is_there_but_not_kept_over_a_start_is_put_into_the_file(node: Node) -> None:
    node.shell("echo 1 > /proc/sys/net/ipv4/ip_forward; iptables -t raw -I PREROUTING -i fwbr+ -j CT --zone 7")
    node.shell("iptables -t nat -A POSTROUTING -s 10.0.0.0/8 -o vmbr+ -j MASQUERADE --random")
    assert node.gets_out()
    assert [one.endswith(", after the next start") for one in node.run("look")["missing"]] == [True] * 3
    before = node.rules()
    node.run("install")
    assert node.rules() == before, "what is in force is not there twice"
    node.forget()
    node.come_up()
    assert node.gets_out()


def test_another_sites_rules_stay_when_one_goes(node: Node) -> None:
    node.run("install")
    other = [{"cidr": "10.10.32.0/21", "gateway": GATEWAY}]
    node.interfaces.write_text(
        node.interfaces.read_text() + "".join(f"\t{line}\n" for line in own_lines("homes", "10.10.32.0/21"))
    )
    node.come_up()
    assert node.run("look", site="homes", networks=other)["missing"] == []
    node.run("remove", site="homes", networks=other)
    assert node.gets_out()
    assert "zentoria:homes" not in node.rules() + node.interfaces.read_text()


def test_a_site_that_came_second_gets_out_when_the_first_one_goes(node: Node) -> None:
    """What both need is in force once, and in each one's own lines."""
    node.run("install")
    node.run("install", site="homes")
    assert node.run("install", site="homes")["changed"] == []
    assert node.rules().count("MASQUERADE") == 1
    node.run("remove")
    assert "zentoria:home;" not in node.interfaces.read_text()
    assert node.gets_out()
    node.forget()
    node.come_up()
    assert node.gets_out()
    node.run("remove", site="homes")
    assert (node.interfaces.read_text(), node.gets_out()) == (INTERFACES, False)


def own_lines(site: str, cidr: str) -> list[str]:
    return [line for item, _ in program._items([cidr], "vmbr0") for line in item.lines(f"zentoria:{site}")]


def test_a_way_out_by_another_device_replaces_the_old_lines(node: Node) -> None:
    old = [line.replace("vmbr0", "vmbr9") for line in own_lines("home", "10.10.32.0/20")]
    bridge = "iface vmbr40 inet static\n"
    node.interfaces.write_text(INTERFACES.replace(bridge, bridge + "".join(f"\t{line}\n" for line in old)))
    node.come_up()
    assert not node.gets_out()
    assert node.run("look")["missing"] != []
    node.run("install")
    assert node.gets_out()
    assert "vmbr9" not in node.interfaces.read_text() + node.rules()


def test_a_rule_for_every_way_out_is_named_since_nothing_works_beside_it(node: Node) -> None:
    spoiler = "POSTROUTING -s 10.10.32.0/20 ! -d 10.10.32.0/20 -j MASQUERADE"
    node.shell(f"iptables -t nat -A {spoiler}")
    found = node.run("install")
    assert (found["missing"], found["spoils"]) == ([], [f"iptables -t nat -D {spoiler}"])
    assert not node.gets_out()
    node.shell(found["spoils"][0])
    assert node.gets_out()
    assert node.run("look")["spoils"] == []


@pytest.mark.parametrize("do", ["look", "install"])
def test_where_another_machine_is_the_gateway_nothing_is_done(node: Node, do: str) -> None:
    found = node.run(do, networks=[{"cidr": "10.10.32.0/20", "gateway": "10.10.47.253"}])
    assert (found["bridge"], found["missing"], found["changed"]) == ("", [], [])
    assert node.interfaces.read_text() == INTERFACES


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda node: node.interfaces.with_name("interfaces.new").write_text(""), "interfaces.new"),
        (lambda node: node.interfaces.write_text("auto lo\n"), "does not describe vmbr40"),
    ],
    ids=["changes that wait", "a bridge from elsewhere"],
)
def test_a_file_that_cannot_take_the_lines_stays_and_is_named(node: Node, spoil: Any, words: str) -> None:
    spoil(node)
    before = node.interfaces.read_text()
    assert words in node.run("install", code=1)["error"]
    assert node.interfaces.read_text() == before
    assert "MASQUERADE" not in node.rules()
