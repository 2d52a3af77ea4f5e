"""What is outside: the internet is public, private networks must be named, the node has rules."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from tests.firewall.fw_compiled import LAYOUTS, egress, rules
from tests.firewall.fw_inventories import container, flow, inventory, port
from zentoria_infra.firewall import names
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Configuration, Node, Rule
from zentoria_infra.firewall.proof.network import assumed
from zentoria_infra.firewall.proof.prove import Kind, prove
from zentoria_infra.firewall.proof.trace import trace
from zentoria_infra.firewall.sets.addresses import GROUP_NAME, NAME
from zentoria_infra.inventory.checks import check
from zentoria_infra.inventory.model import Inventory

B = container(2, "b", port(443))
PUBLIC = container(8, "proxy", port(443), public={"address": "192.168.1.8/24", "gateway": "192.168.1.1"})
EXPOSED = flow("internet", "proxy", 443, row=1)
HOME = {"host": "192.168.1.10", "node": "pve"}


def passes(whole: Inventory, source: str, destination: str, port_: int = 443) -> bool:
    return trace(compile_firewall(whole), parties_of(whole), source, destination, "tcp", port_).allowed


def home(*to: str, objects: str = "datacenter") -> Inventory:
    """A site at home: b may reach something outside; the proxy has a NIC in the home's network, and so has the node."""
    one = container(1, "a", egress=egress(*to)) if to else container(1, "a")
    return inventory([one, B, PUBLIC], [EXPOSED], proxmox=HOME, firewall={"objects": objects})


NOT_THE_INTERNET = [
    "10.0.0.5", "172.16.0.1", "172.31.255.254", "192.168.1.1", "192.168.1.77", "169.254.169.254", "100.64.0.1",
    "127.0.0.2", "224.0.0.251", "240.0.0.1", "255.255.255.255", "0.0.0.1", "198.18.0.1", "192.168.1.10",
    "192.168.1.8", "10.10.40.2", "10.10.47.254",
]  # fmt: skip


@LAYOUTS
@pytest.mark.parametrize("address", NOT_THE_INTERNET)
def test_leave_for_the_internet_does_not_lead_to(address: str, objects: str) -> None:
    assert not passes(home("packages.example.org", objects=objects), "a", address)


@LAYOUTS
@pytest.mark.parametrize("address", ["1.1.1.1", "9.255.255.255", "100.128.0.1", "172.32.0.1", "223.255.255.255"])
def test_the_internet_is_every_public_address(address: str, objects: str) -> None:
    whole = home("packages.example.org", objects=objects)
    assert passes(whole, "a", address)
    assert prove(compile_firewall(whole), parties_of(whole)).holds


@LAYOUTS
@pytest.mark.parametrize(("source", "allowed"), [("192.168.1.77", True), ("1.1.1.1", True), ("10.10.40.77", False)])
def test_who_comes_from_the_home_network_comes_from_outside(source: str, allowed: bool, objects: str) -> None:
    """It is the users' way to the proxy."""
    assert passes(home(objects=objects), source, "192.168.1.8") is allowed


@LAYOUTS
@pytest.mark.parametrize("others", [(), ("packages.example.org",), ("192.168.1.0/25",), ("172.16.0.1",)])
def test_a_private_network_is_reached_when_it_is_named_but_for_what_is_ours(
    others: tuple[str, ...], objects: str
) -> None:
    whole = home("192.168.1.0/24", *others, objects=objects)
    proof = prove(compile_firewall(whole), parties_of(whole))
    assert proof.differences == ()
    open_ = {address for address in NOT_THE_INTERNET if passes(whole, "a", address)}
    assert open_ == {"192.168.1.1", "192.168.1.77", *(set(others) & {"172.16.0.1"})}
    assert passes(whole, "a", "1.1.1.1") is ("packages.example.org" in others)


def test_a_network_is_one_rule_however_it_is_cut() -> None:
    (rule,) = [one for one in rules(compile_firewall(home("192.168.1.0/29")), "a") if "egress" in one]
    assert rule == ("OUT ACCEPT net0 > 192.168.1.0/29 tcp 443 zt/egress/a/tcp/443/192.168.1.0/29")
    (rule,) = [one for one in rules(compile_firewall(home("192.168.1.8/30")), "a") if "egress" in one]
    assert rule.split(" > ")[1].split()[0] == "192.168.1.9,192.168.1.11"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("192.168.1.1/24", "is not an IPv4 network"),
        ("192.168.300.0/24", "is not an IPv4 network"),
        ("10.0.0.0/7", "is more than any network has"),
        ("0.0.0.0/0", "is more than any network has"),
        ("10.10.40.0/24", "write a flow in zones.yaml instead"),
    ],
)
def test_a_network_that_egress_cannot_name(network: str, words: str) -> None:
    assert any(words in one.message for one in check(home(network), frozenset()))


def with_sources(*uris: str, to: str = "", objects: str = "datacenter") -> Inventory:
    one = container(1, "a", egress=egress(to)) if to else container(1, "a")
    sources = tuple({"uris": (uri,), "suites": ("trixie",)} for uri in uris)
    return inventory([one, B], [], proxmox=HOME, package_sources=sources, firewall={"objects": objects})


def mirror_is_reached(whole: Inventory, address: str, port_: int) -> bool:
    compiled, parties = compile_firewall(whole, [one.vmid for one in whole.containers]), parties_of(whole)
    assert prove(compiled, parties).holds
    return trace(compiled, parties, "a", address, "tcp", port_).allowed


@LAYOUTS
def test_package_sources_at_a_private_address_are_reached_while_they_are_open(objects: str) -> None:
    mirror = ("http://192.168.1.5:3142/debian", "https://192.168.1.5/debian-security", "http://1.1.1.1:8080/debian")
    whole = with_sources(*mirror, objects=objects)
    assert [mirror_is_reached(whole, "192.168.1.5", number) for number in (80, 443, 3142)] == [False, True, True]
    assert not mirror_is_reached(whole, "192.168.1.6", 3142)
    assert not passes(whole, "a", "192.168.1.5", 3142)


PRIVATE_NAMES = ["mirror", "mirror.local", "apt.lan", "apt.home.arpa", "apt.internal", "APT.Home", "nas.localdomain"]
PUBLIC_NAMES = ["packages.example.org", "local.example.org", "lan.de", "homearpa.net", "192.168.1.5"]


@pytest.mark.parametrize("host", [*PRIVATE_NAMES, *PUBLIC_NAMES])
@pytest.mark.parametrize("where", ["proxy", "package_sources", "egress"])
def test_a_name_of_a_private_network_is_not_reached_and_validate_says_so(host: str, where: str) -> None:
    plain = [container(1, "a"), B]
    whole = {
        "proxy": lambda: inventory(plain, [], proxy=f"http://{host}:3128"),
        "package_sources": lambda: with_sources(f"http://{host}/debian"),
        "egress": lambda: with_sources("http://packages.example.org/debian", to=host),
    }[where]()
    found = [one.message for one in check(whole, frozenset()) if "private network" in one.message]
    assert len(found) == (host in PRIVATE_NAMES)
    assert all("write its address in place of the name" in one for one in found)


def test_behind_a_proxy_package_sources_may_have_any_name() -> None:
    site = {
        "proxy": "http://192.168.1.5:3142",
        "package_sources": ({"uris": ("http://mirror/debian",), "suites": ("x",)},),
    }
    whole = inventory([container(1, "a"), B], [], **site)
    assert not [one for one in check(whole, frozenset()) if "private network" in one.message]


SITES = ["h", "home", "lab-worker", "lab-abcdefgh", "a" * 31, "a" * 30, "a" * 30 + "b", "home-of-the-family-in-vienna"]


def test_names_are_as_long_as_proxmox_takes_them_and_no_two_sites_share_one() -> None:
    found = set()
    for site, what in itertools.product(SITES, ["b", "b" * 31, "internet", "outside", "guests"]):
        found.add(names.alias_name(site, what))
    assert all(map(NAME.fullmatch, found))
    assert len(found) == len(SITES) * 5
    groups = [names.group_name(site, what) for site in SITES for what in ("common", "deny")]
    assert all(map(GROUP_NAME.fullmatch, groups))
    assert len(set(groups)) == len(groups)
    assert names.group_name("home", "deny") == "zt-home_deny"
    assert names.alias_name("home", "db") == "zt-home_db"


GATEWAY = "10.10.47.254"
AT_THE_NODE = inventory(
    [container(1, "a", egress=egress("packages.example.org")), B], [], proxy=f"http://{GATEWAY}:3128"
)


def proof_with(
    *own: Rule, node: tuple[Rule, ...] = (), without: bool = False, whole: Inventory = AT_THE_NODE
) -> list[str]:
    """The differences when the datacenter's own rules have others in front, or are gone."""
    compiled = compile_firewall(whole)
    there: Configuration = assumed(compiled)
    kept = () if without else there.datacenter.rules
    datacenter = dataclasses.replace(there.datacenter, rules=(*own, *kept))
    found = prove(
        compiled, parties_of(whole), dataclasses.replace(there, datacenter=datacenter, nodes=(Node("pve", rules=node),))
    )
    assert {one.kind for one in found.differences} <= {Kind.MISSING, Kind.EXTRA}
    return [f"{one.kind} {one.source}>{one.destination} {one.services}: {one.explanation}" for one in found.differences]


def test_what_guests_need_of_the_node_is_let_in_by_its_rules() -> None:
    own = compile_firewall(AT_THE_NODE).configuration.datacenter.rules
    assert [(one.source, one.dest, one.proto, one.dport) for one in own] == [
        ("dc/zt-small_a", GATEWAY, "udp", "53"),
        ("dc/zt-small_a", GATEWAY, "tcp", "53"),
        ("+dc/zt-small_guests", GATEWAY, "tcp", "3128"),
    ]
    assert proof_with() == []


@pytest.mark.parametrize(
    "site",
    [
        {"dns": {"nameservers": ("1.1.1.1",)}, "proxy": "http://192.168.1.5:3128"},
        {"dns": {"nameservers": ("10.10.40.2",)}},
        {"firewall": {"objects": "guest"}},
    ],
    ids=["nothing of the node", "of a container", "no right to it"],
)
def test_no_rule_of_the_node_without_need(site: dict[str, object]) -> None:
    whole = inventory([container(1, "a", egress=egress("packages.example.org")), B], [], **site)
    assert compile_firewall(whole).configuration.datacenter.rules == ()


IN_GUESTS = inventory(
    [container(1, "a", egress=egress("packages.example.org")), B],
    [],
    proxy=f"http://{GATEWAY}:3128",
    firewall={"objects": "guest"},
)


def test_what_guests_need_of_the_node_is_told_where_others_make_its_rules() -> None:
    compiled = compile_firewall(IN_GUESTS)
    assert [(one.source, one.dest, one.proto, one.dport, one.comment) for one, _ in compiled.by_hand] == [
        ("10.10.40.1", GATEWAY, "udp", "53", ""),
        ("10.10.40.1", GATEWAY, "tcp", "53", ""),
        ("10.10.40.1,10.10.40.2", GATEWAY, "tcp", "3128", ""),
    ]
    assert compile_firewall(AT_THE_NODE).by_hand == ()
    assert prove(compiled, parties_of(IN_GUESTS)).holds


DNS = Rule("in", "ACCEPT", source="10.10.40.1", dest=GATEWAY, macro="DNS")
PROXY_A = Rule("in", "ACCEPT", source="10.10.40.1", dest=GATEWAY, proto="tcp", dport="3128")
PROXY_B = dataclasses.replace(PROXY_A, source="10.10.40.2")


@pytest.mark.parametrize(
    ("shared", "own", "addresses", "lacks"),
    [
        ((), (), {GATEWAY}, ["udp/53", "tcp/53", "tcp/3128"]),
        ((), (), {"192.168.1.10"}, []),
        ((), (), set(), []),
        ((Rule("in", "ACCEPT", source="10.10.32.0/20"),), (), {GATEWAY}, []),
        ((), (Rule("in", "ACCEPT", source="10.10.32.0/20"),), {GATEWAY}, []),
        ((DNS, PROXY_A, PROXY_B), (), {GATEWAY}, []),
        ((DNS,), (PROXY_A, PROXY_B), {GATEWAY}, []),
        ((DNS, PROXY_A), (), {GATEWAY}, ["tcp/3128"]),
        ((DNS, PROXY_A, PROXY_B), (Rule("in", "DROP", proto="udp"),), {GATEWAY}, ["udp/53"]),
    ],
    ids=["none", "of another machine", "not known", "wide", "wide on the node", "one by one", "both", "one lacks",
         "denied before"],
)  # fmt: skip
def test_rules_that_others_make_for_the_node_are_judged(
    shared: tuple[Rule, ...], own: tuple[Rule, ...], addresses: set[str], lacks: list[str]
) -> None:
    compiled, parties = compile_firewall(IN_GUESTS), parties_of(IN_GUESTS)
    there = assumed(compiled)
    datacenter = dataclasses.replace(there.datacenter, rules=shared)
    there = dataclasses.replace(there, datacenter=datacenter, nodes=(Node("pve", rules=own),))
    found = prove(compiled, parties, there, {"pve": addresses}).differences
    assert [one.services for one in found] == lacks
    assert all(one.kind is Kind.MISSING and "yours to make" in one.explanation for one in found)
    if shared == (DNS, PROXY_A):
        assert found[0].source == "10.10.40.2"
    off = dataclasses.replace(there, nodes=(Node("pve", {"enable": "0"}, own),))
    assert prove(compiled, parties, off, {"pve": addresses}).holds


DROP = Rule("in", "DROP", proto="tcp", dport="3128")
WIDE = Rule("in", "ACCEPT", source="10.10.32.0/20")


@pytest.mark.parametrize(
    ("own", "node", "without", "found"),
    [
        ((), (), True, ["no rule of the datacenter or the node accepts it"] * 3),
        ((WIDE,), (), True, []),
        ((), (WIDE,), True, []),
        ((dataclasses.replace(WIDE, iface="vmbr9"),), (), True, ["no rule of the datacenter"] * 3),
        ((dataclasses.replace(WIDE, enable=False),), (), True, ["no rule of the datacenter"] * 3),
        ((DROP,), (), False, ["'IN DROP', not made by Zentoria, denies it first"]),
        ((), (DROP,), False, ["denies it first"]),
        ((dataclasses.replace(DROP, source="192.0.2.1"),), (), False, []),
        ((dataclasses.replace(WIDE, source="dc/gone"), DROP), (), False, ["denies it first"]),
        ((dataclasses.replace(WIDE, comment="zt/site:small/node/x old"),), (), False, ["nobody asked for"]),
        ((dataclasses.replace(WIDE, comment="zt/site:other/node/x theirs"),), (), False, []),
    ],
)
def test_the_chain_of_the_node_is_judged(
    own: tuple[Rule, ...], node: tuple[Rule, ...], without: bool, found: list[str]
) -> None:
    differences = proof_with(*own, node=node, without=without)
    assert len(differences) == len(found), differences
    for difference, words in zip(differences, found, strict=True):
        assert words in difference
