"""Which rules of a node give guests a way out, and which ones spoil it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from zentoria_infra.node import nat
from zentoria_infra.node.nat import Files, Rule

FORWARD = "/proc/sys/net/ipv4/ip_forward"
NETWORK = "10.10.32.0/20"


@pytest.mark.parametrize(
    ("rule", "masquerades", "spoils"),
    [
        ("-A POSTROUTING -s 10.10.32.0/20 -o vmbr0 -j MASQUERADE", True, False),
        ("-A POSTROUTING -o vmbr0 -j MASQUERADE", True, False),
        ("-A POSTROUTING -s 10.0.0.0/8 ! -d 10.0.0.0/8 -o vmbr+ -j SNAT --to-source 192.0.2.10", True, False),
        ('-A POSTROUTING -s 10.10.32.0/20 -o vmbr0 -m comment --comment "my NAT" -j MASQUERADE --random', True, False),
        ("-A POSTROUTING -s 10.10.40.0/24 -o vmbr0 -j MASQUERADE", False, False),
        ("-A POSTROUTING ! -s 10.10.32.0/20 -o vmbr0 -j MASQUERADE", False, False),
        ("-A POSTROUTING -s 10.10.32.0/20 -o vmbr1 -j MASQUERADE", False, False),
        ("-A POSTROUTING -s 10.10.32.0/20 -o vmbr0 -p tcp -j MASQUERADE", False, False),
        ("-A POSTROUTING -s 10.10.32.0/20 -d 192.0.2.0/24 -o vmbr0 -j MASQUERADE", False, False),
        ("-A POSTROUTING -s 10.10.32.0/20 ! -d 10.10.32.0/20 -j MASQUERADE", False, True),
        ("-A POSTROUTING -j MASQUERADE", False, True),
        ("-A POSTROUTING -s 10.10.32.0/20 ! -o vmbr40 -j MASQUERADE", False, True),
        ("-A POSTROUTING -s 10.10.32.0/20 -o fwbr+ -j MASQUERADE", False, True),
        ("-A POSTROUTING -s 192.168.0.0/16 -j MASQUERADE", False, False),
        ("-A POSTROUTING -s 10.10.32.0/20 -o vmbr0 -j LOG", False, False),
        ("-A PREROUTING -s 10.10.32.0/20 -o vmbr0 -j MASQUERADE", False, False),
        ("-P POSTROUTING ACCEPT", False, False),
    ],
)
def test_a_rule_translates_on_the_way_out_or_too_early(rule: str, masquerades: bool, spoils: bool) -> None:
    read = Rule(shlex.split(rule), "nat")
    assert (read.masquerades(NETWORK, "vmbr0"), read.spoils(NETWORK)) == (masquerades, spoils)
    assert not Rule(shlex.split(rule), "filter").masquerades(NETWORK, "vmbr0")


@pytest.mark.parametrize(
    ("rule", "zones"),
    [
        ("-t raw -I PREROUTING -i fwbr+ -j CT --zone 1", True),
        ("-t raw -I PREROUTING 1 -i fwbr+ -j CT --zone 2", True),
        ("-t raw -A PREROUTING -i fw+ -m comment --comment x -j CT --zone 1", True),
        ("-t raw -I PREROUTING -i fwbr+ -j CT --zone 0", False),
        ("-t raw -I PREROUTING -i fwbr404i0 -j CT --zone 1", False),
        ("-t raw -I PREROUTING ! -i fwbr+ -j CT --zone 1", False),
        ("-t raw -I PREROUTING -i fwbr+ -p tcp -j CT --zone 1", False),
        ("-t raw -I PREROUTING -i fwbr+ -j CT --notrack", False),
        ("-t mangle -I PREROUTING -i fwbr+ -j CT --zone 1", False),
    ],
)
def test_a_rule_gives_all_guests_bridges_a_zone_or_not(rule: str, zones: bool) -> None:
    assert Rule(shlex.split(rule)).zones() == zones


@pytest.mark.parametrize(
    ("file", "text", "rules", "forwards"),
    [
        ("network/interfaces", "iface vmbr40\n up iptables -t nat -A POSTROUTING -o vmbr0 -j MASQUERADE", 1, False),
        ("network/interfaces", "post-up /usr/sbin/iptables -t nat -C P -j X || iptables -t nat -A P -j X\n", 1, False),
        ("network/interfaces", "post-down iptables -t nat -A POSTROUTING -o vmbr0 -j MASQUERADE\n", 0, False),
        ("network/interfaces", "# post-up echo 1 > /proc/sys/net/ipv4/ip_forward\n", 0, False),
        ("network/interfaces", "post-up echo 1 > /proc/sys/net/ipv4/ip_forward\n", 0, True),
        ("network/interfaces", "post-up iptables -t nat -A 'open", 0, False),
        ("network/interfaces.d/nat", "up iptables -t nat -A POSTROUTING -o vmbr0 -j MASQUERADE\n", 1, False),
        ("iptables/rules.v4", "*nat\n-A POSTROUTING -o vmbr0 -j MASQUERADE\nCOMMIT\n", 1, False),
        ("sysctl.d/90-x.conf", "net.ipv4.ip_forward=1\n", 0, True),
        ("sysctl.conf", "net.ipv4.ip_forward = 1", 0, True),
        ("sysctl.conf", "#net.ipv4.ip_forward=1", 0, False),
        ("sysctl.conf", "net.ipv4.ip_forward=0", 0, False),
        ("network/interfaces", "\tpost-up\t iptables -t nat -A POSTROUTING -o vmbr0 -j MASQUERADE\n", 1, False),
        ("network/interfaces", "post-up iptables -t nat \\\n\t-A POSTROUTING -j MASQUERADE\n", 1, False),
        ("network/interfaces", "post-up", 0, False),
        ("network/interfaces", "post-up : zentoria:home; echo 1 > /proc/sys/net/ipv4/ip_forward\n", 0, False),
        ("network/interfaces", "post-up : zentoria:home2; echo 1 > /proc/sys/net/ipv4/ip_forward\n", 0, False),
        ("network/interfaces", "up iptables -t nat -A x # zentoria:home2\npost-up echo 1 > " + FORWARD, 1, True),
    ],
)
def test_what_is_kept_over_a_start_is_read_where_it_may_be(
    tmp_path: Path, file: str, text: str, rules: int, forwards: bool
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    found, on = Files(str(tmp_path), "zentoria:home").kept()
    assert (len(found), on) == (rules, forwards)


@pytest.mark.parametrize(
    "text",
    [
        "iface b inet static\n\taddress 1\n@",
        "iface b inet static\n\taddress 1\n@#words\n\nauto c\niface c\n",
        "iface b inet6 static\n\taddress 6\niface b inet static\n\taddress 1\n@",
        "auto b\niface b\n@source /etc/network/interfaces.d/*\n",
        "iface b inet static\n%\tmtu 9\n@",
    ],
)
def test_lines_are_put_at_the_end_of_the_bridges_own(tmp_path: Path, text: str) -> None:
    (tmp_path / "network").mkdir()
    file = tmp_path / "network" / "interfaces"
    file.write_text(text.replace("@", "").replace("%", "\tpost-up : zentoria:home; old\n"))
    assert Files(str(tmp_path), "zentoria:home").with_lines("b", ["L"]) == text.replace("@", "\tL\n").replace("%", "")
    assert Files(str(tmp_path), "zentoria:home").with_lines("bb", ["L"]) is None


@pytest.mark.parametrize(
    "others",
    [b"# B\xfcro\n", "# B\u00fcro\n".encode(), b"# a\r\n", "# a\u2028b\x0cc\x85\n".encode(), b"#\xff\xfe\n"],
    ids=ascii,
)
def test_what_others_wrote_stays_byte_by_byte(tmp_path: Path, others: bytes) -> None:
    """Whatever it is written in, and whatever the node's language is."""
    (tmp_path / "network").mkdir()
    file = tmp_path / "network" / "interfaces"
    before = others + b"iface b inet static\n\taddress 1\n" + others
    file.write_bytes(before)
    program = f"import sys; sys.path.insert(0, {str(Path(nat.__file__).parent)!r}); import nat; "
    program += (
        f"files = nat.Files({str(tmp_path)!r}, 'zentoria:home'); files.write(files.with_lines('b', sys.argv[1:]))"
    )
    for lines in (["post-up : zentoria:home; x"], []):
        argv = [sys.executable, "-IS", "-c", program, *lines]
        subprocess.run(argv, env={"LC_ALL": "en_US.ISO-8859-1"}, check=True)
        added = b"".join(f"\t{line}\n".encode() for line in lines)
        assert file.read_bytes() == others + b"iface b inet static\n\taddress 1\n" + added + others
    assert file.read_bytes() == before


def test_a_line_that_only_speaks_of_a_site_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    theirs = "\tpost-up logger 'see zentoria:home'\n\tpost-down /root/own --for zentoria:home -j x; true\n"
    items = [item for item, _ in nat._items([NETWORK], "vmbr0")]
    ours = [line for item in items for line in item.lines("zentoria:home")]
    text = f"iface b inet static\n{theirs}" + "".join(f"\t{line}\n" for line in ours)
    (tmp_path / "network" / "interfaces").write_text(text)
    files = Files(str(tmp_path), "zentoria:home")
    assert files.own == ours
    assert files.with_lines("b", []) == f"iface b inet static\n{theirs}"
