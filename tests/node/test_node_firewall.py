"""``zentoria-firewall`` on a node: what is in force, and what is closed when a workstation has died."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from zentoria_infra.firewall.identity import OPENING
from zentoria_infra.lab.api.guests import Guests
from zentoria_infra.lab.shell import openings
from zentoria_infra.node import firewall, state
from zentoria_infra.proxmox.shell.filtered import Filtered

COMPILED = """ipset cmdlist:
exists PVEFW-0-management-v4 (a)
	create PVEFW-0-management-v4 hash:net family inet hashsize 64 maxelem 64 bucketsize 12
update PVEFW-404-ipfilter-net0-v4 (b)

iptables cmdlist:
exists PVEFW-FORWARD (c)
update PVEFW-FWBR-IN (d)
exists veth404i0-IN (e)
	-A veth404i0-IN -s 10.0.0.1 -j ACCEPT
create veth404i0-OUT (f)
exists veth405i0-IN (g)
exists veth405i0-OUT (h)
delete veth999i0-IN (i)

ip6tables cmdlist:
create veth405i0-OUT (j)

ebtables cmdlist:
update veth406i0-OUT (k)
ignore FORWARD (l)
detected changes
"""


def test_what_is_in_force_is_read_from_what_pve_firewall_prints() -> None:
    assert firewall.states(COMPILED) == {
        "enabled": True,
        "there": ["PVEFW-0-management-v4", "PVEFW-FORWARD", "veth404i0-IN", "veth405i0-IN"],
        "pending": ["PVEFW-404-ipfilter-net0-v4", "PVEFW-FWBR-IN", "veth404i0-OUT", "veth405i0-OUT"],
    }
    assert not firewall.states("ipset cmdlist:\nno changes\nfirewall disabled\n")["enabled"]


@pytest.mark.parametrize(
    ("pending", "lacking"),
    [
        ((), ()),
        (("veth404i0-IN",), ("veth404i*-IN", "veth404i0-IN")),
        (("PVEFW-404-ipfilter-net0-v4",), ("PVEFW-404-ipfilter-net0-v4",)),
        (("GROUP-zt-deny-OUT", "PVEFW-0-management-v4"), ("GROUP-zt-deny-OUT", "PVEFW-0-management-v4")),
        (("veth4040i0-IN", "veth40i0-IN", "PVEFW-4-x-v4", "PVEFW-FWBR-IN", "tap404i0-IN"), ()),
    ],
)
def test_a_container_waits_for_its_own_rules_and_those_that_all_share(pending: Any, lacking: Any) -> None:
    there = {"veth404i0-IN", "veth404i0-OUT"} - set(pending)
    assert Filtered(True, frozenset(there), frozenset(pending)).lacking(404) == lacking


class Fake(firewall.Node):
    """A node whose containers' rules are in memory; ``held`` are the sites with somebody at work."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.lists: dict[int, list[dict[str, Any]]] = {}
        self.on_look: Callable[[], None] = lambda: None

    def rules(self, node: str, vmid: int) -> list[dict[str, Any]]:
        assert node == "pve1"
        return [{"pos": pos, "digest": str(len(self.lists[vmid])), **one} for pos, one in enumerate(self.lists[vmid])]

    def drop(self, node: str, vmid: int, rule: Mapping[str, Any]) -> None:
        assert rule["digest"] == str(len(self.lists[vmid]))
        del self.lists[vmid][rule["pos"]]

    def is_at_work(self, site: str) -> bool:
        self.on_look()
        return site in self.held


class World:
    """``/etc/pve`` and ``/var/lib/zentoria`` of a node."""

    def __init__(self, folder: Path) -> None:
        self.pve, self.state, self.settings = folder / "pve", folder / "state", folder / "etc"
        for path in (self.pve / "firewall", self.pve / "nodes/pve1/lxc", self.state, self.settings):
            path.mkdir(parents=True)
        self.node = Fake()

    def site(self, site: str, opening: str = OPENING) -> None:
        (self.settings / f"{site}.json").write_text(json.dumps({"site": site, "opening": opening}))
        (self.state / site).mkdir()
        (self.state / site / ".guard").touch()

    def container(self, vmid: int, notes: str, *comments: str) -> None:
        (self.pve / f"nodes/pve1/lxc/{vmid}.conf").write_text(f"#zentoria-db%3A x\n{notes}\nmemory: 512\n")
        rules = "".join(f"OUT ACCEPT -p tcp # {one}\n" for one in comments)
        (self.pve / f"firewall/{vmid}.fw").write_text(f"[RULES]\n\n{rules}")
        self.node.lists[vmid] = [{"comment": one} for one in comments]

    def close(self) -> tuple[list[str], list[str]]:
        sites = firewall.sites_of(str(self.settings))
        return firewall.close(self.node, sites, str(self.state), str(self.pve))

    def left(self, vmid: int) -> list[str]:
        return [one["comment"] for one in self.node.lists[vmid]]


OPEN = f"{OPENING}db/tcp Package sources"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.site("home")
    made.container(404, "#zentoria-id%3A home/404", OPEN, "zt/row-1 stays", f"{OPENING}db/dns", "mine")
    made.container(408, "description: zentoria-id%3A home/408", f"{OPENING}db/in", "zt/row-2")
    return made


def test_what_a_dead_workstation_has_left_open_is_closed(world: World) -> None:
    closed, wrong = world.close()
    assert (len(closed), wrong) == (3, [])
    assert (world.left(404), world.left(408)) == (["zt/row-1 stays", "mine"], ["zt/row-2"])
    assert f"container 404: {OPEN}" in closed


def test_nothing_is_closed_while_a_run_holds_the_lock(world: World) -> None:
    world.node.held.add("home")
    assert world.close() == ([], [])
    assert OPEN in world.left(404)


@pytest.mark.parametrize(
    "notes",
    ["#mine", "#zentoria-id%3A other/404", "#zentoria-id%3A home/405", "#x zentoria-id%3A home/404"],
)
def test_what_is_not_of_a_site_of_this_node_is_left(world: World, notes: str) -> None:
    world.container(404, notes, OPEN)
    world.close()
    assert world.left(404) == [OPEN]


def test_a_mark_in_a_snapshot_is_none(world: World) -> None:
    world.container(404, "\n[before]\n#zentoria-id%3A home/404", OPEN)
    world.close()
    assert world.left(404) == [OPEN]


def test_no_run_can_begin_while_its_leftovers_are_closed(world: World) -> None:
    """``zentoria-state`` takes the site's lock under an exclusive lock on ``.guard``."""
    seen: list[str] = []

    def try_to_begin() -> None:
        with (world.state / "home" / ".guard").open("r+") as guard:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                seen.append("began")
            except BlockingIOError:
                seen.append("waits")

    world.node.on_look = try_to_begin
    world.close()
    assert seen == ["waits", "waits"], "for each of the containers"


def test_a_site_whose_lock_cannot_be_read_is_told_and_the_others_go_on(world: World) -> None:
    world.site("work")
    world.container(500, "#zentoria-id%3A work/500", OPEN)

    def look(site: str) -> bool:
        if site == "home":
            raise firewall.Failure("it is damaged")
        return False

    world.node.is_at_work = look  # type: ignore[method-assign] - one node that fails for one site
    closed, wrong = world.close()
    assert wrong == ["site home: it is damaged"]
    assert closed == [f"container 500: {OPEN}"]


def test_a_run_that_begins_meanwhile_waits_for_one_container_and_has_the_rest(world: World) -> None:
    world.node.is_at_work = lambda site: world.left(404) == ["zt/row-1 stays", "mine"]  # type: ignore[method-assign]  # begins then
    closed, wrong = world.close()
    assert ({one.partition(":")[0] for one in closed}, wrong) == ({"container 404"}, [])
    assert f"{OPENING}db/in" in world.left(408)


@pytest.mark.parametrize("spoil", ["its guard is a link", "its guard is a folder's name", "odd rules"])
def test_whatever_is_odd_about_one_the_others_are_closed(world: World, spoil: str) -> None:
    world.site("work")
    world.container(500, "#zentoria-id%3A work/500", OPEN)
    guard = world.state / "home" / ".guard"
    guard.unlink()
    if spoil == "its guard is a link":
        guard.symlink_to(world.state / "work" / ".guard")
    elif spoil == "its guard is a folder's name":
        guard.mkdir()
    else:
        rules = world.node.rules
        odd = [{"comment": OPEN, "pos": None}]
        world.node.rules = lambda node, vmid: odd if vmid != 500 else rules(node, vmid)  # type: ignore[method-assign,assignment]  # no Proxmox here
    closed, wrong = world.close()
    assert closed == [f"container 500: {OPEN}"]
    assert len(wrong) == (2 if spoil == "odd rules" else 1)


def test_what_was_closed_is_told_though_the_next_could_not_be(world: World) -> None:
    drop, left = world.node.drop, ["once"]

    def one_alone(node: str, vmid: int, rule: Mapping[str, Any]) -> None:
        if not left:
            raise firewall.Failure("no more")
        left.clear()
        drop(node, vmid, rule)

    world.node.drop = one_alone  # type: ignore[method-assign]  # no Proxmox here
    closed, wrong = world.close()
    assert closed == [f"container 404: {OPENING}db/dns"]
    assert wrong == ["container 404: no more", "container 408: no more"]


def test_the_lock_is_the_one_of_zentoria_state(tmp_path: Path) -> None:
    """From its beginning until its lease has passed; what nobody ever took is not held."""

    class Clock(state.Clock):
        now = 100.0

        def seconds(self) -> float:
            return self.now

    node = openings.LabNode(tmp_path, "pve", "", str(tmp_path), None)
    assert not node.is_at_work("home")
    code, _ = state.answer(["--site", "home", "begin", "0123456789ab", "--lease", "60"], lambda _: b"{}", str(tmp_path))
    assert code == 0
    assert node.is_at_work("home")
    state.answer(["--site", "home", "end", "0123456789ab"], lambda _: b"{}", str(tmp_path))
    assert not node.is_at_work("home")


def test_the_program_asks_what_proxmox_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its real commands: ``pve-firewall compile``, ``pvesh`` with position and digest, ``zentoria-state show``."""
    said = tmp_path / "said"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$@" >>{said}\ncat {tmp_path}/answer\n')
    program.chmod(0o755)
    for name, words in (("COMPILE", ["compile"]), ("PVESH", []), ("SHOW", [])):
        monkeypatch.setattr(firewall, name, [str(program), *words])
    node = firewall.Node()
    answer = tmp_path / "answer"
    answer.write_text(COMPILED)
    assert node.compiled() == COMPILED
    answer.write_text('[{"pos": 2, "digest": "d1", "comment": "c"}]')
    node.drop("pve1", 404, node.rules("pve1", 404)[0])
    for left, expected in ((30.0, True), (0.0, False), (-5.0, False)):
        answer.write_text(json.dumps({"held": {"left": left}}))
        assert node.is_at_work("home") is expected
    assert said.read_text().splitlines()[:4] == [
        "compile",
        "get /nodes/pve1/lxc/404/firewall/rules --output-format json",
        "delete /nodes/pve1/lxc/404/firewall/rules/2 --digest d1",
        "--site home show",
    ]
    answer.write_bytes(COMPILED.encode() + b"# B\xfcro\n")
    program.write_text(f"#!/bin/sh\nprintf '\\374' >&2\ncat {answer}\n")
    assert firewall.states(node.compiled()) == firewall.states(COMPILED), "whatever others wrote, in whatever coding"
    program.write_text("#!/bin/sh\necho no >&2; exit 3\n")
    with pytest.raises(firewall.Failure, match="ended with 3: no"):
        node.compiled()


def test_the_lab_closes_what_real_nodes_close() -> None:
    assert openings.OPENING == OPENING


def test_the_key_learns_the_names_of_all_chains_and_none_of_the_rules(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line of the README's table of what a stolen workstation can do: VMIDs of other guests are in these names."""
    other = "\texists veth900i0-IN (abc)\n\t\t-A veth900i0-IN -s 192.0.2.7 -j ACCEPT\n"
    world.node.compiled = lambda: "iptables cmdlist:\n" + other.replace("\t", "")  # type: ignore[method-assign]  # no Proxmox here
    assert firewall.main(["pending"], world.node) == 0
    said = capsys.readouterr().out
    assert json.loads(said)["there"] == ["veth900i0-IN"]
    assert "192.0.2.7" not in said


@pytest.mark.parametrize("words", [[], ["open"], ["pending", "404"], ["close", "x"]])
def test_the_program_takes_two_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert firewall.main(words) == 1
    assert "error" in json.loads(capsys.readouterr().out)


def test_it_answers_in_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.node.compiled = lambda: COMPILED  # type: ignore[method-assign] - no Proxmox here
    assert firewall.main(["pending"], world.node) == 0
    assert json.loads(capsys.readouterr().out)["there"]
    assert firewall.main(["close"], world.node, lambda _: world.close()) == 0
    assert len(json.loads(capsys.readouterr().out)["closed"]) == 3
    assert os.listdir(world.state) == ["home"]


def test_the_programs_of_a_node_find_the_containers_of_a_lab(tmp_path: Path) -> None:
    Guests(tmp_path, "pve")
    Guests(tmp_path, "pve")
    (tmp_path / "lxc/404.conf").write_text("#zentoria-id%3A home/404\nmemory: 512\n")
    (tmp_path / "firewall").mkdir()
    (tmp_path / "firewall/404.fw").write_text("[RULES]\n\nOUT ACCEPT -log nolog # zt/opening/db/tcp\n")
    assert list(firewall._opened({"home": "zt/opening/"}, str(tmp_path))) == [("home", "pve", 404)]
