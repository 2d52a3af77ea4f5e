"""The firewall as text: read back by another reader, taken by the real programs, and tried on real packets."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.firewall.fw_inventories import REPOSITORY, container, flow, inventory, port
from zentoria_infra.errors import InventoryError
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Alias, Entry, IpSet, Rule
from zentoria_infra.firewall.show.gateway import gateway
from zentoria_infra.firewall.show.render import Form, pve_files, render, rule_line
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.lab.api.firewall import conf, rules
from zentoria_infra.lab.network import netns
from zentoria_infra.roles.kit.rendering import Templates

TEMPLATES = Templates(REPOSITORY)

EXPOSED = flow("internet", "proxy", 80, 443, row=1)
DHCP = container(8, "proxy", port(80), port(443), public={"address": "dhcp"})
INVENTORIES = {
    "shipped": lambda: load(REPOSITORY),
    "nothing allowed": lambda: inventory([container(1, "a")], []),
    "long lists": lambda: inventory(
        [container(1, "a"), container(2, "b")], [flow("a", "b", *range(1, 41, 2), "100-200", row=7)]
    ),
    "overlaps": lambda: inventory(
        [container(1, "a"), container(2, "b")],
        [flow("a", "b", 80, "90-99"), flow("a", "b", "95-120"), flow("a", "b", 80), flow("a", "b", 80, protocol="udp")],
    ),
    "public NIC": lambda: inventory([DHCP, container(1, "a")], [EXPOSED, flow("proxy", "a", 80)]),
    "egress of every form": lambda: inventory(
        [
            container(
                1,
                "a",
                egress=(
                    {"to": ("one.example",), "ports": (443,), "purpose": "Names"},
                    {"to": ("198.51.100.7", "203.0.113.9"), "ports": (25, 465), "purpose": "Mail"},
                    {"to": ("any",), "ports": ("400-500",), "protocol": "udp", "purpose": "Else"},
                ),
            )
        ],
        [],
        dns={"nameservers": ("9.9.9.9",)},
        proxmox={"host": "203.0.113.1", "node": "pve"},
    ),
}
EVERY = pytest.mark.parametrize("name", INVENTORIES)


def text(whole: Inventory, form: Form, openings: Iterable[int] = ()) -> str:
    (found,) = render(compile_firewall(whole, [*openings]), parties_of(whole), form, TEMPLATES).values()
    return found


class TestProxmoxFiles:
    """Read by the lab's own reader of these files, which knows nothing of ours."""

    @pytest.mark.parametrize("objects", ["datacenter", "guest"])
    def test_say_what_was_compiled(self, objects: str) -> None:
        whole = load(REPOSITORY, overrides={"firewall": {"objects": objects, "log": "info"}})
        configuration = compile_firewall(whole, openings=[404]).configuration
        files = render(compile_firewall(whole, openings=[404]), parties_of(whole), "pve", TEMPLATES)
        assert ("cluster.fw" in files) == (objects == "datacenter")
        assert files.keys() - {"cluster.fw"} == {f"{one.vmid}.fw" for one in configuration.guests}
        cluster = conf.parse(files.get("cluster.fw", ""))
        datacenter = configuration.datacenter
        assert cluster.options == dict(datacenter.options)
        assert aliases(cluster) == [*datacenter.aliases]
        assert ipsets(cluster) == sorted_sets(datacenter.ipsets)
        assert {name: [read(rule) for rule in group.rules] for name, group in cluster.groups.items()} == {
            group.name: [*group.rules] for group in datacenter.groups
        }
        for guest in configuration.guests:
            found = conf.parse(files[f"{guest.vmid}.fw"])
            assert found.options == dict(guest.options)
            assert ipsets(found) == sorted_sets(guest.ipsets)
            assert [read(rule) for rule in found.rules] == [*guest.rules]
            for rule in found.rules:
                assert rules.check(rule, "ct", found, cluster) == {}
                for value in (rule.fields.get("dport"), rule.fields.get("sport")):
                    rules.check_ports(value or "")

    @EVERY
    def test_are_as_proxmox_writes_them(self, name: str) -> None:
        for content in pve_files(compile_firewall(INVENTORIES[name]()).configuration).values():
            assert conf.render(conf.parse(content)) == content

    @pytest.mark.parametrize(
        ("rule", "line"),
        [
            (Rule("in", "ACCEPT", enable=False), "|IN ACCEPT"),
            (Rule("out", "ACCEPT", macro="Ping", comment="zt/x Why"), "OUT Ping(ACCEPT) # zt/x Why"),
            (Rule("in", "DROP", proto="icmp", icmp_type="any", log="info"), "IN DROP -p icmp -icmp-type any -log info"),
            (
                Rule("in", "REJECT", iface="net0", source="dc/a", dest="+b", proto="tcp", dport="1:2", sport="3"),
                "IN REJECT -i net0 -source dc/a -dest +b -p tcp -dport 1:2 -sport 3",
            ),
            (Rule("group", "zt-deny", comment="zt/y"), "GROUP zt-deny # zt/y"),
        ],
    )
    def test_lines(self, rule: Rule, line: str) -> None:
        assert rule_line(rule) == line
        parsed = conf.parse_rule(line)
        assert parsed is not None and read(parsed) == rule


def read(rule: conf.Rule) -> Rule:
    fields: dict[str, Any] = {key.replace("-", "_"): value for key, value in rule.fields.items()}
    return Rule(type=rule.type, action=rule.action, enable=rule.enable, **fields)  # type: ignore[arg-type]  # as read


def aliases(found: conf.FirewallConf) -> list[Alias]:
    return [Alias(one.name, one.cidr, one.comment) for one in found.aliases.values()]


def ipsets(found: conf.FirewallConf) -> list[IpSet]:
    return [
        IpSet(name, tuple(Entry(one.cidr, one.nomatch, one.comment) for one in ipset.entries), ipset.comment)
        for name, ipset in sorted(found.ipsets.items())
    ]


def sorted_sets(found: Iterable[IpSet]) -> list[IpSet]:
    return sorted(found, key=lambda one: one.name)


class TestGateway:
    """What a gateway forwards, whatever program does it."""

    @EVERY
    def test_every_intent_is_forwarded_or_said_not_to_be(self, name: str) -> None:
        whole = INVENTORIES[name]()
        compiled = compile_firewall(whole)
        found = gateway(compiled, parties_of(whole))
        assert [one.key for one in compiled.intents if one.key not in {two.key for two in found.unseen}] == [
            one.key for one in found.forwards
        ]
        iptables = text(whole, "iptables")
        nft = text(whole, "nft")
        for one in found.forwards:
            lines = [line for line in iptables.splitlines() if f'--comment "{one.key}"' in line]
            assert len(lines) == len(one.lists) and all(line.startswith("-A FORWARD ") for line in lines)
            covered = f"# {one.key}: allowed by another already" in nft
            assert (f'comment "{one.key}" : accept' in nft) != covered
        for one in found.unseen:
            assert f"# {one.key}: {one.reason}" in iptables and f"# {one.key}: {one.reason}" in nft

    def test_what_a_gateway_does_not_see(self) -> None:
        whole = INVENTORIES["public NIC"]()
        found = gateway(compile_firewall(whole), parties_of(whole))
        assert [one.key for one in found.forwards] == ["zt/derived/proxy/a/tcp"]
        assert {one.reason for one in found.unseen} == {"through the public NIC, which is not behind this gateway"}
        shipped = load(REPOSITORY)
        dns = [one for one in gateway(compile_firewall(shipped), parties_of(shipped)).unseen]
        assert {one.reason for one in dns} == {"to the gateway itself: that is INPUT, and yours"}
        assert {one.key.split("/")[1] for one in dns} == {"dns"}

    def test_the_internet_is_what_is_not_ours(self) -> None:
        whole = INVENTORIES["egress of every form"]()
        found = gateway(compile_firewall(whole), parties_of(whole))
        assert found.ours == ("10.10.32.0/20", "203.0.113.1/32")
        assert found.outside == (
            "0.0.0.0-10.10.31.255",
            "10.10.48.0-203.0.113.0",
            "203.0.113.2-255.255.255.255",
        )

    def test_nft_takes_no_overlap(self) -> None:
        whole = INVENTORIES["overlaps"]()
        found = gateway(compile_firewall(whole), parties_of(whole))
        assert [(one.key, one.ranges) for one in found.disjoint] == [
            ("zt/derived/a/b/tcp", ("80", "90-99")),
            ("zt/derived/a/b/tcp-2", ("100-120",)),
            ("zt/derived/a/b/udp", ("80",)),
        ]
        assert found.covered == ("zt/derived/a/b/tcp-3",)

    def test_openings_are_there_while_they_are_open(self) -> None:
        whole = load(REPOSITORY)
        for form in ("iptables", "nft"):
            assert "zt/opening/db/tcp" not in text(whole, form)  # type: ignore[arg-type]  # of a literal
            assert "zt/opening/db/tcp" in text(whole, form, [404])  # type: ignore[arg-type]  # of a literal

    def test_a_wrong_template_is_named(self, tmp_path: Path) -> None:
        folder = tmp_path / "templates" / "firewall"
        folder.mkdir(parents=True)
        (folder / "gateway.nft").write_text("table {{ gateway.nothing }}\n")
        whole = INVENTORIES["nothing allowed"]()
        with pytest.raises(InventoryError, match=r"templates/firewall/gateway\.nft"):
            render(compile_firewall(whole), parties_of(whole), "nft", Templates(tmp_path))


needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
PROGRAMS = {
    "iptables": (["iptables-restore", "--test"], ["iptables-restore", "--noflush"], ["iptables-save"]),
    "nft": (["nft", "-c", "-f"], ["nft", "-f"], ["nft", "list", "ruleset"]),
}
EACH = pytest.mark.parametrize(
    "form",
    [
        pytest.param(
            form,
            marks=[
                *needs_root,
                pytest.mark.skipif(shutil.which(check[0]) is None, reason=f"{check[0]} is not on this machine"),
            ],
        )
        for form, (check, _, _) in PROGRAMS.items()
    ],
)


@EACH
@EVERY
def test_real_programs_take_it_twice(form: Form, name: str, tmp_path: Path) -> None:
    """In a network namespace of its own; the second time leaves what the first has left."""
    check, load_it, show = PROGRAMS[form]
    file = tmp_path / "rules"
    file.write_text(text(INVENTORIES[name](), form))
    script = (
        f"{' '.join(check)} {file} && {' '.join(load_it)} {file} && {' '.join(show)} > {tmp_path}/first "
        f"&& {' '.join(load_it)} {file} && {' '.join(show)} > {tmp_path}/second"
    )
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def counted(saved: str) -> list[str]:
        return [re.sub(r"packets \d+ bytes \d+|\[\d+:\d+\]", "", line) for line in saved.splitlines() if line[0] != "#"]

    first, second = ([*filter(None, (tmp_path / one).read_text().splitlines())] for one in ("first", "second"))
    assert counted("\n".join(first)) == counted("\n".join(second))
    assert any("zt" in line or "zentoria" in line for line in first)


IP_TRANSPARENT = 19
"""Of linux/in.h: leave to send from an address that one does not have. Python has no name for it."""
OUTSIDE = "198.51.100.9"
CONNECTED = ("frontend", "backend", "db", "proxy")


class Router:
    """A gateway and some containers, each behind a link of its own: as namespaces, with routes and no bridge."""

    def __init__(self, whole: Inventory) -> None:
        self.mark = f"zt-r{os.getpid()}"
        self.addresses = {name: str(whole.by_name(name).address) for name in CONNECTED} | {"outside": OUTSIDE}
        self.macs = {name: whole.by_name(name).mac for name in CONNECTED} | {"outside": "BE:24:11:00:00:01"}
        self.names: list[str] = []

    def netns(self, name: str) -> str:
        return f"{self.mark}-{name}"

    def run(self, name: str, *command: str) -> str:
        return subprocess.run(
            [*netns.enter_argv(self.netns(name)), *command], check=True, capture_output=True, text=True
        ).stdout

    def build(self) -> None:
        for name in ("gateway", *self.addresses):
            subprocess.run(["ip", "netns", "add", self.netns(name)], check=True)
            self.names.append(name)
        for key, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/default/rp_filter", "0")):
            netns.run_in(
                self.netns("gateway"),
                lambda key=key, value=value: Path("/proc/sys/net/ipv4", key).write_text(value),  # type: ignore[misc]  # bound here
            )
        for number, (name, address) in enumerate(self.addresses.items()):
            link, own = f"v{number}", "198.51.100.1" if name == "outside" else "10.10.47.254"
            self.run("gateway", "ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", self.netns(name))
            self.run("gateway", "ip", "addr", "add", f"{own}/32", "dev", link)
            self.run("gateway", "ip", "link", "set", link, "up")
            self.run(name, "ip", "link", "set", "eth0", "address", self.macs[name])
            self.run(name, "ip", "addr", "add", f"{address}/32", "dev", "eth0")
            self.run(name, "ip", "link", "set", "eth0", "up")
            self.run(name, "ip", "route", "add", own, "dev", "eth0")
            self.run(name, "ip", "route", "add", "default", "via", own)
            self.run("gateway", "ip", "route", "add", address, "dev", link)
        self.run("gateway", "ip", "route", "add", "default", "via", OUTSIDE)

    def remove(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.netns(name)], check=True)

    def open(self, probes: Iterable[tuple[str, str, int]], grace: float = 0.6) -> set[tuple[str, str, int]]:
        """Those of the probes (from, to, port) that are answered: nobody listens, so with a refusal."""
        waiting: dict[int, tuple[tuple[str, str, int], socket.socket]] = {}
        poll = select.poll()
        for probe in probes:
            source, target, number = probe
            tried = netns.socket_in(self.netns(source))
            tried.setblocking(False)
            assert tried.connect_ex((self.addresses[target], number)) == errno.EINPROGRESS
            waiting[tried.fileno()] = (probe, tried)
            poll.register(tried, select.POLLOUT)
        answered = set()
        end = time.monotonic() + grace
        while waiting and (left := end - time.monotonic()) > 0:
            for handle, _ in poll.poll(left * 1000):
                probe, tried = waiting.pop(handle)
                assert tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
                poll.unregister(tried)
                tried.close()
                answered.add(probe)
        for _, tried in waiting.values():
            tried.close()
        return answered

    def arrives(self, source: str, claimed: str, target: str, number: int) -> bool:
        """Whether a first packet with a claimed source address gets there; the answer may go anywhere."""
        watch = netns.run_in(
            self.netns(target), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        )
        with watch, netns.socket_in(self.netns(source)) as tried:
            tried.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            tried.bind((claimed, 0))
            tried.setblocking(False)
            tried.connect_ex((self.addresses[target], number))
            end = time.monotonic() + 0.4
            while (left := end - time.monotonic()) > 0:
                watch.settimeout(left)
                try:
                    packet = watch.recv(2048)
                except TimeoutError:
                    return False
                if packet[12:16] == ipaddress.IPv4Address(claimed).packed and packet[9] == 6:
                    return True
        return False


@pytest.fixture
def router() -> Iterator[Router]:
    made = Router(load(REPOSITORY))
    try:
        made.build()
        yield made
    finally:
        made.remove()


def allowed(compiled: Compiled, router: Router, probes: Iterable[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
    """What the intents say of the probes."""
    intents = [one for one in compiled.intents if one.protocol == "tcp"]
    names = {"internet": "outside"}
    return {
        (source, target, number)
        for source, target, number in probes
        for one in intents
        if (names.get(one.source, one.source), names.get(one.destination, one.destination)) == (source, target)
        and any(first <= number <= last for first, last in one.ports)
    }


@EACH
def test_packets_follow_the_intents(form: Form, router: Router, tmp_path: Path) -> None:
    whole = load(REPOSITORY)
    compiled = compile_firewall(whole)
    probes = [
        (source, target, number)
        for source in router.addresses
        for target in router.addresses
        for number in (22, 80, 443, 3000, 4000, 4001, 5432, 6432, 9100)
        if source != target
    ]
    _, load_it, _ = PROGRAMS[form]
    file = tmp_path / "rules"
    file.write_text(text(whole, form))
    assert router.open(probes) == set(probes), "without rules the gateway forwards everything"
    assert router.arrives("frontend", router.addresses["backend"], "db", 5432), "and everybody may forge"
    router.run("gateway", *load_it, str(file))
    expected = allowed(compiled, router, probes)
    assert len(expected) == 11
    assert router.open(probes) == expected
    # Behind its own link an address may come from its own hardware address only.
    assert router.arrives("backend", router.addresses["backend"], "db", 5432)
    assert not router.arrives("frontend", router.addresses["backend"], "db", 5432)
    assert not router.arrives("outside", router.addresses["backend"], "db", 5432)
    assert not router.arrives("frontend", OUTSIDE, "proxy", 443)
    router.run("backend", "ip", "link", "set", "eth0", "address", "BE:24:11:00:00:02")
    assert not router.arrives("backend", router.addresses["backend"], "db", 5432)
