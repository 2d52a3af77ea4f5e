"""Property strings and files: what is written reads back the same."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from zentoria_infra.lab.api import guestconf, interfaces, storages
from zentoria_infra.lab.api.auth import usercfg
from zentoria_infra.lab.api.firewall import conf as fw
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.lxc import options as guestoptions
from zentoria_infra.lab.api.schema import parse_properties

WORD = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)
NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9\-_]{1,12}", fullmatch=True)
MAC = st.from_regex(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", fullmatch=True)
VALUE = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
IPV4 = st.ip_addresses(v=4).map(str)

NETS = st.fixed_dictionaries(
    {"name": WORD, "bridge": WORD},
    optional={
        "firewall": st.sampled_from(["0", "1"]),
        "hwaddr": MAC,
        "ip": st.one_of(st.just("dhcp"), st.tuples(IPV4, st.integers(1, 32)).map(lambda p: f"{p[0]}/{p[1]}")),
        "mtu": st.integers(64, 65535).map(str),
        "tag": st.integers(1, 4094).map(str),
    },
)


@given(NETS, st.randoms())
def test_nic_normalises_whatever_the_order(parts, random):
    items = list(parts.items())
    random.shuffle(items)
    text = ",".join(f"{key}={value}" for key, value in items)
    once = guestoptions.normalise_net(text)
    assert guestoptions.normalise_net(once) == once
    assert once.startswith(f"name={parts['name']},bridge=")
    keys = [part.partition("=")[0] for part in once.split(",")][1:]
    assert keys == sorted(keys)
    read, complaint = parse_properties(once, guestoptions.NET, "")
    assert complaint == ""
    assert read.items() >= parts.items()
    assert read["type"] == "veth" and "hwaddr" in read


@given(st.integers(0, 1 << 44))
def test_size_reads_back(size):
    assert guestoptions.parse_size(guestoptions.format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0T"), (8 << 30, "8G"), (102 << 20, "102M"), (1 << 40, "1T"), (1025 << 30, "1025G"), (5, "5")],
)
def test_size_takes_the_largest_unit(size, text):
    assert guestoptions.format_size(size) == text


@given(st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_\-+.]{0,5}", fullmatch=True)), st.sampled_from([",", ";", " "]))
def test_tags_are_lower_sorted_unique(tags, separator):
    text = guestoptions.normalise_tags(separator.join(tags))
    assert [tag for tag in text.split(";") if tag] == sorted({tag.lower() for tag in tags})


OPTIONS = st.dictionaries(st.sampled_from(["hostname", "memory", "net0", "mp12", "tags", "nameserver"]), VALUE)


DELETE = st.dictionaries(st.sampled_from(["swap", "features"]), st.booleans())
SNAPSHOTS = st.dictionaries(NAME, OPTIONS, max_size=3)


@given(OPTIONS, OPTIONS, DELETE, SNAPSHOTS, TEXT)
def test_guest_configuration_reads_back(options, pending, delete, snapshots, description):
    before = GuestConf(dict(options), dict(pending), dict(delete), snapshots=snapshots)
    for section in (before.options, *before.snapshots.values()):
        if description.rstrip("\n"):
            section["description"] = description.rstrip("\n") + "\n"
    after = guestconf.parse(guestconf.render(before))
    assert (after.options, after.pending, after.delete) == (before.options, before.pending, before.delete)
    assert after.snapshots == before.snapshots


def test_guest_configuration_looks_as_proxmox_writes_it():
    conf = GuestConf(
        {"memory": "512", "arch": "amd64", "description": "a: b\nc\n"}, {"tty": "3"}, {"nameserver": False}
    )
    assert guestconf.render(conf) == (
        "#a%3A b\n#c\narch: amd64\nmemory: 512\n\n[pve:pending]\ndelete: nameserver\ntty: 3\n"
    )


COMMENT = st.from_regex(r"([a-zA-Z0-9:][a-zA-Z0-9: #]{0,10}[a-z0-9])?", fullmatch=True)
RULE = st.builds(
    lambda kind, action, enable, fields: fw.Rule(kind, action, enable, {k: v for k, v in fields.items() if v}),
    st.sampled_from(["in", "out", "forward"]),
    st.sampled_from(["ACCEPT", "DROP", "REJECT"]),
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "macro": st.sampled_from(["SSH", "Ping"]),
            "iface": st.just("net0"),
            "source": st.one_of(IPV4, st.just("+dc/admins"), st.just("10.0.0.1,10.0.0.2")),
            "dest": IPV4,
            "proto": st.sampled_from(["tcp", "udp"]),
            "dport": st.sampled_from(["80,443", "10:20", "http"]),
            "log": st.sampled_from(["nolog", "info"]),
            "comment": COMMENT,
        },
    ),
)
GROUP_RULE = st.builds(lambda name, on: fw.Rule("group", name, on, {}), NAME, st.booleans())
ENTRY = st.builds(fw.Entry, IPV4, st.booleans(), COMMENT)


@given(
    st.dictionaries(
        st.sampled_from(["enable", "policy_in", "log_ratelimit"]), st.from_regex(r"[a-zA-Z0-9=,/]+", fullmatch=True)
    ),
    st.lists(st.builds(fw.Alias, NAME, IPV4, COMMENT)),
    st.dictionaries(NAME, st.builds(fw.IpSet, COMMENT, st.lists(ENTRY))),
    st.lists(st.one_of(RULE, GROUP_RULE)),
    st.dictionaries(NAME, st.builds(fw.Group, COMMENT, st.lists(RULE))),
)
def test_firewall_reads_back(options, aliases, ipsets, rules, groups):
    before = fw.FirewallConf(options, {alias.name.lower(): alias for alias in aliases}, ipsets, rules, groups)
    assert fw.parse(fw.render(before)) == before


def test_firewall_looks_as_proxmox_writes_it():
    conf = fw.FirewallConf(
        {"enable": "1", "policy_in": "DROP"},
        {"db": fw.Alias("DB", "10.10.40.4", "the database")},
        {"admins": fw.IpSet("who may", [fw.Entry("10.0.0.0/24"), fw.Entry("10.0.0.7", True, "not he")])},
        [fw.Rule("in", "ACCEPT", True, {"proto": "tcp", "dport": "5432", "source": "dc/DB", "comment": "flow"}),
         fw.Rule("group", "web", False, {"iface": "net0"})],
        {"web": fw.Group("", [fw.Rule("in", "ACCEPT", True, {"macro": "HTTPS"})])},
    )  # fmt: skip
    assert fw.render(conf) == (
        "[OPTIONS]\n\nenable: 1\npolicy_in: DROP\n\n"
        "[ALIASES]\n\nDB 10.10.40.4 # the database\n\n"
        "[IPSET admins] # who may\n\n10.0.0.0/24\n!10.0.0.7 # not he\n\n"
        "[RULES]\n\nIN ACCEPT -source dc/DB -p tcp -dport 5432 # flow\n|GROUP web -i net0\n\n"
        "[group web]\n\nIN HTTPS(ACCEPT)\n"
    )


def test_a_bad_rule_in_a_file_is_skipped():
    text = "[RULES]\n\nIN ACCEPT -p tcp\nNONSENSE\nIN ACCEPT -bogus 1\nOUT DROP\n"
    assert [rule.action for rule in fw.parse(text).rules] == ["ACCEPT", "DROP"]


USERS = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}@pve", fullmatch=True),
    st.builds(
        usercfg.User,
        enable=st.booleans(),
        expire=st.integers(0, 2**31),
        comment=TEXT,
        firstname=TEXT,
        tokens=st.dictionaries(WORD, st.builds(usercfg.Token, st.booleans(), comment=TEXT)),
    ),
)  # fmt: skip


@given(USERS, st.dictionaries(NAME, st.builds(usercfg.Pool, TEXT, st.sets(st.integers(100, 999)), st.sets(WORD))))
def test_users_and_pools_read_back(users, pools):
    before = usercfg.UserConfig(users={"root@pam": usercfg.User(), **users}, pools=pools)
    before.roles["R"] = frozenset({"VM.Audit", "VM.Allocate"})
    before.acl["/vms/100"] = {
        ("user", "a@pve"): {"R": True},
        ("token", "a@pve!t"): {"R": False},
        ("group", "g"): {"R": True},
    }
    assert usercfg.parse(usercfg.render(before)) == before


def test_interfaces_read_back():
    network = interfaces.Network({"vmbr0": interfaces.bridge("10.0.0.1/24"), "vmbr1": interfaces.bridge()})
    network.stanzas["vmbr1"]["comments"] = "hello\n"
    assert interfaces.parse(interfaces.render(network)) == network


def test_storages_read_back():
    entries = {
        "local": {"type": "dir", "path": "/x", "content": "rootdir,vztmpl"},
        "d2": {"type": "dir", "disable": "1"},
    }
    assert storages.parse(storages.render(entries)) == entries
