"""Reading the firewall: numbers and spellings of the real server, what is not there, rights, count of calls."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxmox.proxmox_faulty_lab import FaultyLab
from tests.proxmox.proxmox_scripted_server import Reply, Seen, data, failure
from tests.support.needs import need_shared
from zentoria_infra.errors import ApiError, PermissionDeniedError
from zentoria_infra.firewall.config import Alias, Entry, Group, IpSet, Nic, Rule
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.firewall.read import FirewallObserver

NICS = (Nic("net0", "vmbr40", True), Nic("net1", "vmbr0", True))
BASE = "/nodes/pve1/lxc/404/firewall"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "in", "action": "ACCEPT", "pos": 0, "digest": "d"}, Rule("in", "ACCEPT", enable=False)),
        ({"type": "in", "action": "ACCEPT", "enable": 2, "log": "debug"}, Rule("in", "ACCEPT", log="debug")),
        ({"type": "OUT", "action": "DROP", "enable": "1", "comment": " x y "}, Rule("out", "DROP", comment="x y")),
        ({"type": "in", "action": "ACCEPT", "enable": "0", "dport": 53, "proto": "udp"},
         Rule("in", "ACCEPT", enable=False, dport="53", proto="udp")),
        ({"type": "group", "action": "zt-all", "enable": 1, "iface": "net0"}, Rule("group", "zt-all", iface="net0")),
        ({"type": "in", "action": "ACCEPT", "enable": 1, "proto": "icmp", "icmp-type": "echo-request",
          "ipversion": 4, "errors": {"source": "no such alias 'x'"}, "source": "x"},
         Rule("in", "ACCEPT", proto="icmp", icmp_type="echo-request", source="x")),
        ({"type": "in", "action": "ACCEPT", "enable": None, "macro": "SSH", "sport": "1,2", "dest": "+dc/a"},
         Rule("in", "ACCEPT", enable=False, macro="SSH", sport="1,2", dest="+dc/a")),
    ],
)  # fmt: skip
def test_rule(raw: dict[str, Any], expected: Rule) -> None:
    assert fw.rule(raw) == expected


def test_rules_are_in_order_of_their_positions() -> None:
    lines = [{"type": "in", "action": "ACCEPT", "pos": pos, "comment": pos, "digest": "abc"} for pos in (10, "2", 0)]
    found = fw.rules(lines)
    assert [rule.comment for rule in found.rules] == ["0", "2", "10"]
    assert found.digest == "abc"
    assert fw.rules([]) == fw.RuleList((), "")


texts = st.one_of(st.just(""), st.text("abc10.,:+-/", min_size=1, max_size=6))
rule_values = st.builds(
    Rule, type=st.sampled_from(["in", "out", "group"]), action=st.sampled_from(["ACCEPT", "DROP", "zt-all"]),
    enable=st.booleans(), iface=texts, source=texts, dest=texts, proto=texts, dport=texts, sport=texts,
    icmp_type=texts, macro=texts, log=texts, comment=texts,
)  # fmt: skip


@given(rule_values)
def test_what_is_sent_is_what_would_be_read(rule: Rule) -> None:
    assert fw.rule(fw.rule_params(rule)) == rule


@given(rule_values, rule_values)
def test_changes_make_one_rule_of_another(old: Rule, new: Rule) -> None:
    """As Proxmox carries a PUT out: fields are set, then those in ``delete`` go."""
    changes = fw.rule_changes(old, new)
    assert (not changes) == (old == new)
    after = {**fw.rule_params(old), **changes}
    for gone in str(after.pop("delete", "")).split(","):
        after.pop(gone, None)
    assert fw.rule(after) == new


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [
        ("10.0.0.1/32", "10.0.0.1"), ("10.0.0.0/3", "10.0.0.0/3"), ("10.0.0.1", "10.0.0.1"), (" a1 ", "a1"),
        ("2001:db8::1/128", "2001:db8::1"), ("2001:db8::/32", "2001:db8::/32"), ("dc/zt-32", "dc/zt-32"),
    ],
)  # fmt: skip
def test_plain(cidr: str, expected: str) -> None:
    assert fw.plain(cidr) == expected


@pytest.mark.parametrize(
    ("wanted", "there", "same"),
    [
        ("zt/a why", "zt/a another why", True),
        ("zt/a", "zt/ab", False),
        ("zt/a", "", False),
        ("", "", False),
        ("  ", "zt/a", False),
    ],
)
def test_identity_of_rules(wanted: str, there: str, same: bool) -> None:
    assert fw.same_as(Rule("in", "ACCEPT", comment=wanted))(Rule("in", "DROP", comment=there)) is same
    assert not fw.same_as(Rule("in", "ACCEPT", comment=wanted))(Rule("out", "DROP", comment=there))


# -- what the real server was recorded to say ------------------------------------------------------------------------


def test_every_recorded_answer_is_understood(scripted_connection: Callable[..., Any]) -> None:
    """Each GET of a list is played back; every line of it is there, with its fields as text."""
    lists = 0
    for exchange in json.loads(need_shared("proxmox", "recorded", "firewall.json").read_text()):
        path = exchange["path"]
        if exchange["method"] != "GET" or exchange["status"] != 200 or exchange["data"]:
            continue
        raw = exchange["body"]["data"]
        if path.endswith(("/rules", "/groups/web")):
            found = fw.rules(raw)
            assert len(found.rules) == len(raw)
            for line, rule in zip(sorted(raw, key=lambda one: one["pos"]), found.rules, strict=True):
                assert rule.enable is bool(line["enable"])
                assert {key: str(line[key]).strip() for key in fw.rule_params(rule) if key != "enable"} == {
                    key: value for key, value in fw.rule_params(rule).items() if key != "enable"
                }
                known = {"pos", "digest", "ipversion", "errors", "enable"} | set(fw.rule_params(rule))
                assert set(line) <= known, "a field that is lost in reading"
            assert found.digest == (raw[0]["digest"] if raw else "")
        elif path.endswith("/aliases"):
            assert [fw.alias(line) for line in raw] == [
                Alias(line["name"], line["cidr"], line.get("comment", "")) for line in raw
            ]
        elif path.endswith("/options"):
            options, digest = fw.options(raw)
            assert digest and options == {key: str(value) for key, value in raw.items() if key != "digest"}
        elif "/ipset/admins" in path and isinstance(raw, list):
            assert [(entry.cidr, entry.nomatch) for entry in fw.entries(raw)] == [
                (line["cidr"], bool(line.get("nomatch"))) for line in raw
            ]
        else:
            continue
        lists += 1
    assert lists >= 12


# -- what is there and what is not -----------------------------------------------------------------------------------


def test_an_empty_firewall(faulty: FaultyLab) -> None:
    read = faulty.proxmox.firewall
    found = read.datacenter(ipsets=["zt-x"], groups=["zt-x"], rules=True)
    there = found.datacenter
    assert (dict(there.options), there.aliases, there.ipsets, there.groups, there.rules) == ({}, (), (), (), ())
    assert found.digests.options and not found.digests.rules
    guest = read.guest(404, "db", NICS, aliases=True, all_ipsets=True)
    assert (dict(guest.guest.options), guest.guest.rules, guest.guest.ipsets, guest.guest.aliases) == ({}, (), (), ())
    assert (guest.guest.vmid, guest.guest.name, guest.guest.node, guest.guest.nics) == (404, "db", "pve1", NICS)
    assert dict(read.node().node.options) == {}
    assert read.group_rules("zt-x") is None
    assert read.ipset(fw.DATACENTER, "zt-x") is None
    with pytest.raises(ApiError, match="no such security group"):
        read.rules(fw.group("zt-x"))


@pytest.fixture
def filled(faulty: FaultyLab) -> FaultyLab:
    """Something of everything, datacenter and guest."""
    post = faulty.other.post
    faulty.other.put("/cluster/firewall/options", enable=1, policy_in="DROP")
    faulty.other.put(f"{BASE}/options", enable=1, dhcp=0)
    faulty.other.put("/nodes/pve1/firewall/options", enable=0)
    for base in ("/cluster/firewall", BASE):
        post(f"{base}/aliases", name="zt-Db", cidr="10.10.40.4", comment="zt/alias/db")
        for name in ("ipfilter-net0", "zt-internet"):
            post(f"{base}/ipset", name=name, comment=f"zt/{name}")
        post(f"{base}/ipset/zt-internet", cidr="10.0.0.0/8", nomatch=1, comment="zt/x")
        post(f"{base}/ipset/ipfilter-net0", cidr="dc/zt-Db")
    for name, comment in (("zt-all", "zt/group"), ("other", "by hand"), ("empty", "zt/empty")):
        post("/cluster/firewall/groups", group=name, comment=comment)
    for path in ("/cluster/firewall/groups/zt-all", "/cluster/firewall/groups/other", f"{BASE}/rules",
                 "/cluster/firewall/rules", "/nodes/pve1/firewall/rules"):  # fmt: skip
        answer = post(path, type="in", action="DROP", enable=1, comment=path)
        assert answer.status == 200, answer
    faulty.calls()
    return faulty


def test_the_datacenter(filled: FaultyLab) -> None:
    read = filled.proxmox.firewall
    found = read.datacenter(
        ipsets=["zt-internet", "gone", "zt-internet"], groups=["other"], is_ours=lambda text: text == "zt/group"
    )
    assert filled.calls() == [
        ("GET", f"/cluster/firewall/{path}")
        for path in ("options", "aliases", "ipset/zt-internet", "ipset/gone", "groups", "groups/other", "groups/zt-all")
    ]
    there, digests = found.datacenter, found.digests
    assert dict(there.options) == {"enable": "1", "policy_in": "DROP"}
    assert there.aliases == (Alias("zt-Db", "10.10.40.4", "zt/alias/db"),)
    assert there.ipsets == (IpSet("zt-internet", (Entry("10.0.0.0/8", True, "zt/x"),)),)
    assert there.groups == tuple(
        Group(name, (Rule("in", "DROP", comment=f"/cluster/firewall/groups/{name}"),), comment)
        for name, comment in (("other", "by hand"), ("zt-all", "zt/group"))
    )
    assert there.rules == ()
    assert digests.options and digests.aliases and set(digests.ipsets) == {"zt-internet"}
    assert set(digests.groups) == {"other", "zt-all"}
    read.datacenter(aliases=False)
    assert filled.calls() == [("GET", "/cluster/firewall/options")]
    hosts = read.datacenter(aliases=False, rules=True)
    assert [rule.comment for rule in hosts.datacenter.rules] == ["/cluster/firewall/rules"]
    assert hosts.digests.rules


def test_a_group_that_is_empty_or_goes_away_meanwhile(filled: FaultyLab) -> None:
    read = filled.proxmox.firewall
    found = read.datacenter(groups=["empty"], aliases=False)
    assert found.datacenter.groups == (Group("empty", (), "zt/empty"),)
    assert not found.digests.groups

    def gone(seen: Seen) -> Reply | None:
        return failure(500, "no such security group 'empty'") if seen.path.endswith("/groups/empty") else None

    filled.before.append(gone)
    assert read.datacenter(groups=["empty"], aliases=False).datacenter.groups == ()


def test_a_guest(filled: FaultyLab) -> None:
    read = filled.proxmox.firewall
    found = read.guest(404, "db", NICS)
    assert filled.calls() == [
        ("GET", f"{BASE}/{path}") for path in ("options", "rules", "ipset/ipfilter-net0", "ipset/ipfilter-net1")
    ]
    ipfilter = IpSet("ipfilter-net0", (Entry("dc/zt-Db"),))
    assert found.guest.ipsets == (ipfilter,)
    assert found.guest.rules == (Rule("in", "DROP", comment=f"{BASE}/rules"),)
    assert dict(found.guest.options) == {"enable": "1", "dhcp": "0"}
    assert found.guest.aliases == ()
    assert found.digests.options and found.digests.rules and set(found.digests.ipsets) == {"ipfilter-net0"}
    everything = read.guest(404, "db", NICS, aliases=True, all_ipsets=True)
    assert [method for method, _ in filled.calls()] == ["GET"] * 6, "options, rules, list of sets, two sets, aliases"
    assert [(one.name, one.comment) for one in everything.guest.ipsets] == [
        ("ipfilter-net0", "zt/ipfilter-net0"), ("zt-internet", "zt/zt-internet"),
    ]  # fmt: skip
    assert everything.guest.aliases == (Alias("zt-Db", "10.10.40.4", "zt/alias/db"),)
    read.guest(404, "db", NICS, ipsets=())
    assert len(filled.calls()) == 2


def test_a_node(filled: FaultyLab) -> None:
    found = filled.proxmox.firewall.node(rules=True)
    assert (found.node.name, dict(found.node.options)) == ("pve1", {"enable": "0"})
    assert [rule.comment for rule in found.node.rules] == ["/nodes/pve1/firewall/rules"]
    assert found.digests.options and found.digests.rules


@pytest.mark.parametrize(
    ("read", "right"),
    [
        (lambda one: one.datacenter(), "Sys.Audit on /"),
        (lambda one: one.ipset(fw.DATACENTER, "zt-internet"), "Sys.Audit on /"),
        (lambda one: one.group_rules("zt-all"), "Sys.Audit on /"),
        (lambda one: one.node(), "Sys.Audit on /nodes/pve1"),
        (lambda one: one.guest(404, "db", NICS), "VM.Audit on /vms/404"),
    ],
)
def test_a_right_that_is_lacking_is_named(
    filled: FaultyLab, read: Callable[[FirewallObserver], object], right: str
) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        read(filled.user().firewall)
    assert right in caught.value.todo
    assert "firewall" in caught.value.tried or "security group" in caught.value.tried
    assert caught.value.status == 403


def test_an_error_of_the_node_is_not_taken_for_an_empty_firewall(scripted_connection: Callable[..., Any]) -> None:
    """A firewall that cannot be read is no firewall without rules."""

    def answer(seen: Seen) -> Reply:
        if seen.path.endswith("/options"):
            return data({"enable": 1, "digest": "x"})
        return failure(500, "cluster not ready - no quorum?")

    connection, _ = scripted_connection(answer)
    read = FirewallObserver(connection.reader(), "pve1")
    for ask in (
        lambda: read.guest(404, "db", NICS),
        lambda: read.datacenter(),
        lambda: read.ipset(fw.DATACENTER, "zt-internet"),
        lambda: read.group_rules("zt-all"),
        lambda: read.datacenter(aliases=False, groups=["zt-all"]),
        lambda: read.guest(404, "db", NICS, ipsets=("a",)),
    ):
        with pytest.raises(ApiError, match="no quorum"):
            ask()


def test_it_can_only_get(connection: Connection) -> None:
    held = [
        value for value in vars(FirewallObserver(connection.reader(), "pve1")).values() if not isinstance(value, str)
    ]
    assert [inspect.signature(value).parameters.keys() for value in held] == [{"template", "params", "path"}]
