"""From Proxmox's firewall files to the kernel's rules, as text: no root, no packets."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.lab.api.firewall import conf
from zentoria_infra.lab.firewall.addresses import Sets
from zentoria_infra.lab.firewall.compiler import Compiled, compile_rules, link_local
from zentoria_infra.lab.firewall.enforcer import State, read_state
from zentoria_infra.lab.firewall.host import Facts
from zentoria_infra.lab.firewall.reading import Guest, Read, Reader, nics

FACTS = Facts("10.99.0.0/24", "198.51.100.1", ("10.10.47.254", 3128))
NET0 = "name=eth0,bridge=vmbr40,firewall=1,gw=10.10.47.254,hwaddr=BC:24:11:00:04:04,ip=10.10.40.4/20,type=veth"
CLUSTER = """[OPTIONS]
enable: 1
[ALIASES]
Db 10.10.40.4 # the database
net 10.10.32.0/20
six fd00::/64
[IPSET inside] # all of us
10.10.32.0/20
!10.10.40.0/24
db
nobody
10.10.47.254/20
fd00::1
[group web]
IN ACCEPT -p tcp -dport 80
OUT ACCEPT -p tcp -dport 443
|IN ACCEPT -p udp
[group averyveryverylongname]
IN ACCEPT
"""
MARK = "-g PVEFW-SET-ACCEPT-MARK"


def compiled(
    rules: str = "", options: str = "", *, cluster: str = CLUSTER, host: str = "", net0: str = NET0
) -> Compiled:
    text = f"[OPTIONS]\nenable: 1\ndhcp: 0\nmacfilter: 0\nndp: 0\nradv: 1\n{options}\n[RULES]\n{rules}\n"
    guest = Guest(404, conf.parse(text), nics({"net0": net0}))
    return compile_rules(Read(conf.parse(cluster), conf.parse(host), (guest,)), FACTS)


def chain(found: Compiled, name: str, version: int = 4) -> list[str]:
    head = f"-A {name} "
    return [line.removeprefix(head) for line in found.tables[version].splitlines() if line.startswith(head)]


def own(found: Compiled, direction: str, version: int = 4) -> list[str]:
    """What a guest's rules became: without the first lines that clear the mark, and without the policy's."""
    lines = chain(found, f"veth404i0-{direction}", version)
    end = lines.index("-j PVEFW-Drop") if "-j PVEFW-Drop" in lines else len(lines) - 1
    return [without_digest(line) for line in lines[:end] if line != "-j MARK --set-xmark 0x0/0x80000000"]


def without_digest(line: str) -> str:
    return re.sub(r"(--match-set \S+)-[0-9a-f]{8}\b", r"\1", line)


CASES: dict[str, tuple[list[str], list[str]]] = {
    # one rule: what it is for IPv4, and for IPv6
    "IN ACCEPT": (["-j ACCEPT"], ["-j ACCEPT"]),
    "IN DROP -log info": (["-j DROP"], ["-j DROP"]),
    "IN REJECT": (["-g PVEFW-reject"], ["-g PVEFW-reject"]),
    "OUT ACCEPT": ([MARK], [MARK]),
    "OUT REJECT -p udp -dport 53": (["-p udp -m udp --dport 53 -g PVEFW-reject"],) * 2,
    "IN ACCEPT -p tcp -dport 5432": (["-p tcp -m tcp --dport 5432 -j ACCEPT"],) * 2,
    "IN ACCEPT -p tcp -dport 5432,6432": (["-p tcp -m multiport --dports 5432,6432 -j ACCEPT"],) * 2,
    "IN ACCEPT -p tcp -dport 80,1000:2000 -sport 1:9": (
        ["-p tcp -m multiport --dports 80,1000:2000 -m tcp --sport 1:9 -j ACCEPT"],
    )
    * 2,
    "IN ACCEPT -p tcp -dport ssh,https": (["-p tcp -m multiport --dports 22,443 -j ACCEPT"],) * 2,
    "IN ACCEPT -p 17 -dport 5": (["-p udp -m udp --dport 5 -j ACCEPT"],) * 2,
    "IN ACCEPT -p sctp -dport 5": (["-p sctp -m multiport --dports 5 -j ACCEPT"],) * 2,
    "IN ACCEPT -p gre": (["-p 47 -j ACCEPT"],) * 2,
    "IN ACCEPT -p all": (["-j ACCEPT"],) * 2,
    "IN ACCEPT -p icmp": (["-p icmp -j ACCEPT"], []),
    "IN ACCEPT -p icmp -icmp-type any": (["-p icmp -j ACCEPT"], []),
    "IN ACCEPT -p icmp -icmp-type echo-request": (["-p icmp -m icmp --icmp-type 8 -j ACCEPT"], []),
    "IN ACCEPT -p icmp -dport fragmentation-needed": (["-p icmp -m icmp --icmp-type 3/4 -j ACCEPT"], []),
    "IN ACCEPT -p icmp -icmp-type 11/0": (["-p icmp -m icmp --icmp-type 11/0 -j ACCEPT"], []),
    "IN ACCEPT -p icmpv6 -icmp-type echo-request": ([], ["-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT"]),
    "IN ACCEPT -source 10.10.40.5": (["-s 10.10.40.5/32 -j ACCEPT"], []),
    "IN ACCEPT -source 10.10.40.5/20 -dest 10.10.40.4": (["-s 10.10.32.0/20 -d 10.10.40.4/32 -j ACCEPT"], []),
    "IN ACCEPT -source fd00::5": ([], ["-s fd00::5/128 -j ACCEPT"]),
    "IN ACCEPT -source 10.0.0.1,10.0.0.2-10.0.0.9": (
        ["-s 10.0.0.1/32 -j ACCEPT", "-m iprange --src-range 10.0.0.2-10.0.0.9 -j ACCEPT"],
        [],
    ),
    "OUT ACCEPT -dest 10.0.0.1,10.0.0.2 -p tcp -dport 1": (
        [f"-d 10.0.0.{last}/32 -p tcp -m tcp --dport 1 {MARK}" for last in (1, 2)],
        [],
    ),
    "IN ACCEPT -source dc/db": (["-s 10.10.40.4/32 -j ACCEPT"], []),
    "IN ACCEPT -source DB -dest net": (["-s 10.10.40.4/32 -d 10.10.32.0/20 -j ACCEPT"], []),
    "IN ACCEPT -source six": ([], ["-s fd00::/64 -j ACCEPT"]),
    "IN ACCEPT -source local_network": (["-s 10.99.0.0/24 -j ACCEPT"], []),
    "IN ACCEPT -source +dc/inside": (["-m set --match-set 0-inside src -j ACCEPT"],) * 2,
    "OUT ACCEPT -dest +inside": ([f"-m set --match-set 0-inside dst {MARK}"],) * 2,
    "IN ACCEPT -source +management": (["-m set --match-set 0-management src -j ACCEPT"],) * 2,
    "IN HTTP(ACCEPT) -source 10.0.0.1": (["-s 10.0.0.1/32 -p tcp -m tcp --dport 80 -j ACCEPT"], []),
    "IN web(DROP)": ([f"-p tcp -m tcp --dport {port} -j DROP" for port in (80, 443)],) * 2,
    "IN Ping(ACCEPT)": (
        ["-p icmp -m icmp --icmp-type 8 -j ACCEPT"],
        ["-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT"],
    ),
    "IN DNS(ACCEPT)": ([f"-p {proto} -m {proto} --dport 53 -j ACCEPT" for proto in ("udp", "tcp")],) * 2,
    "IN ACCEPT -i net0": (["-j ACCEPT"],) * 2,
    "IN ACCEPT -i net1": ([], []),
    "|IN ACCEPT": ([], []),
    "GROUP web -i net1": ([], []),
    "|GROUP web": ([], []),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_becomes_these_lines(rule: str) -> None:
    direction = "OUT" if rule.startswith("OUT") else "IN"
    found = compiled(rule)
    assert (own(found, direction), own(found, direction, 6)) == CASES[rule]
    assert own(found, "IN" if direction == "OUT" else "OUT") == []
    assert found.skipped == ()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("IN ACCEPT -source dc/nobody", "no such alias 'nobody'"),
        ("IN ACCEPT -source guest/db", "no such alias 'db'"),
        ("IN ACCEPT -source +nobody", "no such ipset 'nobody'"),
        ("IN ACCEPT -source +guest/management", "no such ipset 'management'"),
        ("IN ACCEPT -source +sdn/all", "no such ipset 'all'"),
        ("GROUP nobody", "no such security group 'nobody'"),
        ("GROUP averyveryverylongname", "no such security group"),
        ("IN Nonsense(ACCEPT)", "unknown macro 'Nonsense'"),
        ("IN PERMIT", "unknown action 'PERMIT'"),
        ("IN ACCEPT -p nonsense", "unknown protocol 'nonsense'"),
        ("IN ACCEPT -p 256", "unknown protocol"),
        ("IN ACCEPT -dport 5", "ports without a protocol"),
        ("IN ACCEPT -p gre -dport 5", "'gre' has no ports"),
        ("IN ACCEPT -p tcp -icmp-type any", "'tcp' has no ports or types"),
        ("IN ACCEPT -p icmp -icmp-type nonsense", "unknown ICMP type"),
        ("IN ACCEPT -p icmp -sport 5", "ICMP has no ports"),
        ("IN ACCEPT -p tcp -dport 65536", "unknown port '65536'"),
        ("IN ACCEPT -p tcp -dport 9:5", "not a range of ports"),
        ("IN ACCEPT -p tcp -dport 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16", "not 1 to 15 ports"),
        ("IN ACCEPT -source 10.0.0.9-10.0.0.1", "not a range of addresses"),
        ("IN ACCEPT -source 10.0.0.999", "not an address"),
        ("IN ACCEPT -source fe80::1%eth0", "not an address"),
        ("IN ACCEPT -source fe80::1%eth0-fe80::2%eth0", "not a range of addresses"),
    ],
)
def test_a_rule_without_sense_is_passed_over_with_a_word(rule: str, why: str) -> None:
    found = compiled(f"{rule}\nIN ACCEPT -p tcp -dport 1")
    assert own(found, "IN") == ["-p tcp -m tcp --dport 1 -j ACCEPT"]
    (said,) = found.skipped
    assert said.startswith("404.fw, rule 0: ")
    assert why in said


def test_the_containers_own_names_come_first() -> None:
    more = "[ALIASES]\ndb 10.10.40.9\n[IPSET inside]\n10.10.40.9\n"
    found = compiled(f"IN ACCEPT -source db\nIN ACCEPT -source dc/db\nIN ACCEPT -source +inside\n{more}")
    assert own(found, "IN") == [
        "-s 10.10.40.9/32 -j ACCEPT",
        "-s 10.10.40.4/32 -j ACCEPT",
        "-m set --match-set 404-inside src -j ACCEPT",
    ]


def members(found: Compiled, name: str, version: int = 4) -> list[str]:
    (one,) = [one for one in found.sets if one.name.startswith(f"{name}-") and one.version == version]
    return list(one.members)


def test_a_set_holds_what_is_known_and_the_last_of_two_equal_entries() -> None:
    found = compiled("IN ACCEPT -source +inside")
    assert members(found, "0-inside") == ["10.10.32.0/20", "10.10.40.0/24 nomatch", "10.10.40.4/32"]
    assert members(found, "0-inside", 6) == ["fd00::1/128"]
    assert members(found, "0-management") == ["10.99.0.0/24"]
    turned = CLUSTER.replace("10.10.47.254/20", "!10.10.47.254/20").replace("db\n", "db\n0.0.0.0/0\n", 1)
    assert members(compiled("IN ACCEPT -source +inside", cluster=turned), "0-inside")[0] == "10.10.32.0/20 nomatch"
    lines = next(one for one in found.sets if one.name.startswith("0-inside") and one.version == 4).lines()
    assert lines[:2] == ["create new-v4 hash:net family inet hashsize 64 maxelem 262144", "flush new-v4"]
    assert re.fullmatch(r"rename new-v4 0-inside-[0-9a-f]{8}", lines[-1])


def test_a_set_that_changes_is_another_so_that_rules_and_sets_change_at_once() -> None:
    names = {
        one.name
        for cluster in (CLUSTER, CLUSTER.replace("10.10.47.254/20", "10.10.47.254/21"))
        for one in compiled("IN ACCEPT -source +inside", cluster=cluster).sets
        if one.name.startswith("0-inside") and one.version == 4
    }
    assert len(names) == 2


def test_groups_are_chains_that_mark_what_they_accept() -> None:
    found = compiled("GROUP web -i net0\nIN DROP")
    accepted = "-m mark --mark 0x80000000/0x80000000"
    assert own(found, "IN") == ["-j GROUP-web-IN", f"{accepted} -j ACCEPT", "-j DROP"]
    assert own(found, "OUT") == ["-j GROUP-web-OUT", f"{accepted} -j RETURN"]
    assert chain(found, "GROUP-web-IN") == [
        "-j MARK --set-xmark 0x0/0x80000000",
        "-p tcp -m tcp --dport 80 -g PVEFW-SET-ACCEPT-MARK",
    ]
    assert ":GROUP-web-OUT" not in compiled("IN ACCEPT").tables[4], "only those that are used"


@pytest.mark.parametrize(
    ("options", "direction", "version", "first"),
    [
        ("dhcp: 1", "IN", 4, ["-p udp -m udp --sport 67 --dport 68 -j ACCEPT"]),
        ("dhcp: 1", "OUT", 4, [f"-p udp -m udp --sport 68 --dport 67 {MARK}"]),
        ("dhcp: 1", "OUT", 6, [f"-p udp -m udp --sport 546 --dport 547 {MARK}"]),
        ("macfilter: 1", "OUT", 4, ["-m mac ! --mac-source BC:24:11:00:04:04 -j DROP"]),
        ("macfilter: 1", "IN", 4, []),
        ("ipfilter: 1", "OUT", 4, ["-m set ! --match-set 404-ipfilter-net0 src -j DROP"]),
        ("ipfilter: 1", "OUT", 6, ["-m set ! --match-set 404-ipfilter-net0 src -j DROP"]),
        ("radv: 0", "OUT", 6, ["-p ipv6-icmp -m icmp6 --icmpv6-type 134 -j DROP"]),
        ("ndp: 1", "IN", 6, [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT" for kind in (133, 135, 136, 134)]),
        ("ndp: 1", "OUT", 6, [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} {MARK}" for kind in (133, 135, 136)]),
        ("ndp: 1", "OUT", 4, []),
    ],
)
def test_what_options_put_before_the_rules(options: str, direction: str, version: int, first: list[str]) -> None:
    assert own(compiled(options=options), direction, version) == first


def test_options_that_are_not_given_have_proxmoxs_defaults() -> None:
    guest = Guest(404, conf.parse("[OPTIONS]\nenable: 1\n"), nics({"net0": NET0}))
    found = compile_rules(Read(conf.parse(CLUSTER), conf.parse(""), (guest,)), FACTS)
    assert chain(found, "veth404i0-OUT") == [
        "-p udp -m udp --sport 68 --dport 67 -g PVEFW-SET-ACCEPT-MARK",
        "-m mac ! --mac-source BC:24:11:00:04:04 -j DROP",
        "-j MARK --set-xmark 0x0/0x80000000",
        "-g PVEFW-SET-ACCEPT-MARK",
    ]
    assert chain(found, "veth404i0-IN")[-2:] == ["-j PVEFW-Drop", "-j DROP"]
    assert "icmpv6-type 134 -j DROP" in found.tables[6], "no guest is a router by itself"


@pytest.mark.parametrize(
    ("policy", "incoming", "outgoing"),
    [
        ("ACCEPT", ["-j ACCEPT"], [MARK]),
        ("DROP", ["-j PVEFW-Drop", "-j DROP"], ["-j PVEFW-Drop", "-j DROP"]),
        ("REJECT", ["-j PVEFW-Reject", "-g PVEFW-reject"], ["-j PVEFW-Reject", "-g PVEFW-reject"]),
    ],
)
def test_policies(policy: str, incoming: list[str], outgoing: list[str]) -> None:
    found = compiled(options=f"policy_in: {policy}\npolicy_out: {policy}")
    assert chain(found, "veth404i0-IN") == incoming
    assert chain(found, "veth404i0-OUT") == ["-j MARK --set-xmark 0x0/0x80000000", *outgoing]


def test_ipfilter_knows_the_configured_addresses_and_what_the_set_adds() -> None:
    assert members(compiled(options="ipfilter: 1"), "404-ipfilter-net0") == ["10.10.40.4/32"]
    assert members(compiled(options="ipfilter: 1"), "404-ipfilter-net0", 6) == ["fe80::be24:11ff:fe00:404/128"]
    both = f"{NET0},ip6=fd00::4/64"
    assert "fd00::4/128" in members(compiled(options="ipfilter: 1", net0=both), "404-ipfilter-net0", 6)
    extra = "[IPSET ipfilter-net0]\n0.0.0.0/1\n!10.0.0.0/8\n"
    dhcp = NET0.replace("ip=10.10.40.4/20", "ip=dhcp")
    assert members(compiled(extra, "ipfilter: 1", net0=dhcp), "404-ipfilter-net0") == [
        "0.0.0.0/1",
        "10.0.0.0/8 nomatch",
    ]
    assert members(compiled(extra), "404-ipfilter-net0", 6) == [], "without the option the set alone counts"
    assert "ipfilter" not in compiled("[IPSET ipfilter-net1]\n10.0.0.1\n").tables[4]


def test_a_hardware_address_that_is_none_filters_nothing() -> None:
    found = compiled(options="macfilter: 1\nipfilter: 1", net0=NET0.replace("BC:24:11:00:04:04", "BC:24"))
    assert "--mac-source" not in found.tables[4]
    assert members(found, "404-ipfilter-net0", 6) == []


def test_the_link_local_address_of_a_hardware_address() -> None:
    assert str(link_local("02:00:5E:10:00:01")) == "fe80::5eff:fe10:1"


@pytest.mark.parametrize("off", ["cluster", "guest", "nic", "new"])
def test_each_switch_that_is_off_leaves_no_chain(off: str) -> None:
    found = {
        "cluster": lambda: compiled(cluster=CLUSTER.replace("enable: 1", "enable: 0")),
        "guest": lambda: compiled(options="enable: 0"),
        "nic": lambda: compiled(net0=NET0.replace("firewall=1", "firewall=0")),
        "new": lambda: compiled(cluster=""),
    }[off]()
    assert "veth404i0" not in found.tables[4]
    assert found.filtered == 0
    if off in ("cluster", "new"):
        assert found.tables[4] == "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
        assert found.sets == ()


def test_every_packet_is_first_asked_whether_it_belongs_to_a_connection() -> None:
    assert chain(compiled(), "PVEFW-FORWARD") == [
        "-m conntrack --ctstate INVALID -j DROP",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-m physdev --physdev-in fwln+ --physdev-is-bridged -j PVEFW-FWBR-IN",
        "-m physdev --physdev-out fwln+ --physdev-is-bridged -j PVEFW-FWBR-OUT",
    ]
    invalid = compiled(host="[OPTIONS]\nnf_conntrack_allow_invalid: 1\n")
    assert chain(invalid, "PVEFW-FORWARD")[0] == "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    assert chain(compiled(), "PVEFW-FWBR-OUT") == [
        "-m physdev --physdev-in veth404i0 --physdev-is-bridged -j veth404i0-OUT"
    ]


def test_the_node_has_its_own_rules_then_the_datacenters_then_its_managers() -> None:
    cluster = CLUSTER + "[RULES]\nIN ACCEPT -p tcp -dport 1\nOUT DROP -p tcp -dport 2\nGROUP web -i vmbr0\n"
    found = compiled(cluster=cluster, host="[RULES]\nIN DROP -i vmbr40 -p tcp -dport 1\nFORWARD DROP\n")
    lines = [without_digest(line) for line in chain(found, "PVEFW-HOST-IN")]
    begin = lines.index("-p igmp -j RETURN") + 1
    assert lines[begin : begin + 5] == [
        "-i vmbr40 -p tcp -m tcp --dport 1 -j DROP",
        "-p tcp -m tcp --dport 1 -j RETURN",
        "-i vmbr0 -j GROUP-web-IN",
        "-m mark --mark 0x80000000/0x80000000 -j RETURN",
        "-m set --match-set 0-management src -p tcp -m tcp --dport 8006 -j RETURN",
    ]
    assert lines[-2:] == ["-j PVEFW-Drop", "-j DROP"]
    assert "-p tcp -m tcp --dport 2 -j DROP" in chain(found, "PVEFW-HOST-OUT")
    assert chain(found, "PVEFW-HOST-OUT")[-1] == "-j RETURN"
    assert chain(found, "INPUT")[-2:] == ["-d 198.51.100.1/32 -j ACCEPT", "-j PVEFW-HOST-IN"]
    odd = compiled(host="[RULES]\nIN DROP -i vmbr0;id -p tcp\nIN DROP -i averyveryverylongname\n")
    assert len(odd.skipped) == 2
    assert "id" not in odd.tables[4].replace("invalid", "").replace("bridged", "").split()
    off = compiled(host="[OPTIONS]\nenable: 0\n")
    assert "PVEFW-HOST-IN" not in off.tables[4]
    assert "veth404i0-IN" in off.tables[4]


PIECES = st.sampled_from(
    [
        *("IN", "OUT", "GROUP", "|IN", "ACCEPT", "DROP", "web", "HTTP(ACCEPT)", "-p", "tcp", "icmp", "-dport", "80"),
        *("1:2", "-source", "+inside", "dc/db", "10.0.0.0/8", "fd00::/8", "-dest", "-i", "net0", "-icmp-type", "any"),
        *("8/0", "-log", "[RULES]", "#"),
    ]
)


@given(st.lists(st.lists(PIECES, max_size=9).map(" ".join), max_size=8))
def test_whatever_a_file_holds_is_compiled_the_same_twice(lines: list[str]) -> None:
    text = "\n".join(lines)
    found = compiled(text, cluster=f"{CLUSTER}\n{text}", host=text)
    assert found == compiled(text, cluster=f"{CLUSTER}\n{text}", host=text)
    for table in found.tables.values():
        chains = set(re.findall(r"^:(\S+)", table, re.MULTILINE))
        used = re.findall(r"-[jg] (\S+)", table)
        assert set(used) <= chains | {"ACCEPT", "DROP", "REJECT", "RETURN", "MARK"}
        assert max(map(len, chains)) <= 28
    assert set(re.findall(r"--match-set (\S+)", "".join(found.tables.values()))) == {one.name for one in found.sets}


@given(
    st.sampled_from(["0", "404", "999999999"]),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{1,63}", fullmatch=True),
    st.lists(st.ip_addresses(v=4), max_size=4),
)
def test_names_of_sets_fit_the_kernel(owner: str, name: str, addresses: list[ipaddress.IPv4Address]) -> None:
    sets = Sets()
    called = sets.use(owner, name, 4, {ipaddress.ip_network(address): True for address in addresses})
    assert len(called) <= 31
    assert sets.used[called].version == 4


def test_the_files_of_a_node_are_found_and_changes_seen(tmp_path: Path) -> None:
    for folder in ("firewall", "lxc", "nodes/pve"):
        (tmp_path / folder).mkdir(parents=True)
    reader = Reader(tmp_path, "pve")
    nothing = reader.signatures()
    assert reader.read() == Read(conf.parse(""), conf.parse(""), ())
    (tmp_path / "firewall/cluster.fw").write_text(CLUSTER)
    (tmp_path / "firewall/404.fw").write_text("[OPTIONS]\nenable: 1\n")
    (tmp_path / "lxc/404.conf").write_text(f"net0: {NET0}\nnet1: name=eth1,bridge=vmbr0,ip=dhcp\n")
    (tmp_path / "lxc/405.conf").write_text("hostname: backend\nnet0: {}\n".format(NET0.replace("0.4/", "0.5/")))
    seen = reader.signatures()
    assert seen != nothing
    found = reader.read()
    assert [
        (guest.vmid, [str(address) for nic in guest.nics for address in nic.addresses]) for guest in found.guests
    ] == [
        (404, ["10.10.40.4"]),
        (405, ["10.10.40.5"]),
    ]
    assert reader.signatures() == seen
    for file in ("firewall/404.fw", "nodes/pve/host.fw", "lxc/406.conf"):
        (tmp_path / file).write_text("[OPTIONS]\nenable: 0\n")
        assert reader.signatures() != seen
        seen = reader.signatures()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(), "off (the datacenter's switch)"),
        (State(why_not="there is no iptables"), "not enforced: there is no iptables"),
        (State(enabled=True, failure="exit code 2"), "out of date: exit code 2"),
        (State(enabled=True, filtered=17), "on, 17 network devices filtered"),
        (State(enabled=True, filtered=1, skipped=("404.fw, rule 0: no",)), "1 rules passed over: 404.fw, rule 0: no"),
    ],
)
def test_how_it_is_in_a_line(tmp_path: Path, state: State, words: str) -> None:
    state.write(tmp_path / "state.json")
    again = read_state(tmp_path / "state.json")
    assert again == state
    assert again is not None
    assert words in again.sentence()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"no": 1}'])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert read_state(tmp_path / "state.json") is None
    assert read_state(tmp_path / "none.json") is None
