"""Services as sets on a line: what rules mean, sets of integers, and words."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firewall.fw_naive import Packet, Skipped, service_matches
from zentoria_infra.firewall.config import Rule
from zentoria_infra.firewall.sets.services import (
    ANY,
    InvalidRuleError,
    icmp_span,
    point,
    port_services,
    rule_services,
    span,
    text,
)
from zentoria_infra.inventory import spans

sets = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6).map(spans.normal)


def members(some: spans.Spans) -> set[int]:
    return {number for first, last in some for number in range(first, last + 1)}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_intervals_make_a_set(some: list[tuple[int, int]]) -> None:
    made = spans.normal(some)
    assert members(made) == {number for first, last in some for number in range(first, last + 1)}
    assert all(first <= last for first, last in made)
    assert all(one[1] + 1 < other[0] for one, other in itertools.pairwise(made))


@given(sets, sets)
def test_sets_do_as_sets_do(one: spans.Spans, other: spans.Spans) -> None:
    left, right = members(one), members(other)
    for made, wanted in [
        (spans.union(one, other), left | right),
        (spans.intersection(one, other), left & right),
        (spans.difference(one, other), left - right),
    ]:
        assert members(made) == wanted
        assert made == spans.normal(made)
    assert spans.contains(one, other) == (right <= left)
    assert spans.meets(one, other) == bool(left & right)


PORTS = st.one_of(
    st.just(""),
    st.lists(
        st.sampled_from(["0", "22", "23", "80:81", "65535", "65534:65535", "http", "ssh", "30:20", "65536", "0:65535"]),
        min_size=1,
        max_size=9,
    ).map(",".join),
)
PACKETS = [
    Packet("10.0.0.1", "10.0.0.2", number, port, 40000)
    for number in (6, 17, 47, 132)
    for port in (0, 1, 21, 22, 23, 24, 79, 80, 81, 82, 65533, 65534, 65535)
] + [Packet("10.0.0.1", "10.0.0.2", 1, icmp=(kind, code)) for kind in (0, 3, 8, 255) for code in (0, 3, 4, 255)]


def service(packet: Packet) -> int:
    return span(packet.protocol, packet.icmp[0] * 256 + packet.icmp[1] if packet.protocol == 1 else packet.dport)[0]


@given(st.sampled_from(["", "tcp", "udp", "6", "132", "gre", "icmp", "icmpv6"]), PORTS, st.just("") | PORTS)
def test_ports_mean_what_single_packets_meet(proto: str, dport: str, sport: str) -> None:
    if proto.startswith("icmp"):
        dport = {"": "", "22": "3/4"}.get(dport, "echo-request")
    wanted: list[bool] | None
    try:
        wanted = [service_matches(proto, dport, sport, packet) for packet in PACKETS]
    except Skipped:
        wanted = None
    rule = Rule("in", "ACCEPT", proto=proto, dport=dport, sport=sport)
    if wanted is None:
        with pytest.raises(InvalidRuleError):
            rule_services(rule)
        return
    made = rule_services(rule)
    may = [spans.meets(made.upper, ((service(packet),) * 2,)) for packet in PACKETS]
    must = [spans.meets(made.lower, ((service(packet),) * 2,)) for packet in PACKETS]
    assert spans.contains(made.upper, made.lower)
    if sport:
        assert all(some or not one for one, some in zip(wanted, may, strict=True))
        assert all(one or not sure for one, sure in zip(wanted, must, strict=True))
    else:
        assert may == must == wanted


@pytest.mark.parametrize(
    ("rule", "four", "six"),
    [
        (Rule("in", "ACCEPT"), "any", "any"),
        (Rule("in", "ACCEPT", proto="all"), "any", "any"),
        (Rule("in", "ACCEPT", proto="tcp"), "tcp", "tcp"),
        (Rule("in", "ACCEPT", proto="icmp"), "icmp", "nothing"),
        (Rule("in", "ACCEPT", proto="icmp", icmp_type="any"), "icmp", "nothing"),
        (Rule("in", "ACCEPT", proto="icmp", icmp_type="8"), "icmp/echo-request", "nothing"),
        (Rule("in", "ACCEPT", proto="icmp", dport="3/4"), "icmp/fragmentation-needed", "nothing"),
        (Rule("in", "ACCEPT", proto="ipv6-icmp", icmp_type="echo-request"), "nothing", "icmpv6/echo-request"),
        (Rule("in", "ACCEPT", proto="58"), "icmpv6", "icmpv6"),
        (Rule("in", "ACCEPT", macro="SSH"), "tcp/22", "tcp/22"),
        (Rule("in", "ACCEPT", macro="web"), "tcp/80, tcp/443", "tcp/80, tcp/443"),
        (Rule("in", "ACCEPT", macro="Ping"), "icmp/echo-request", "icmpv6/echo-request"),
        (Rule("in", "ACCEPT", macro="DNS"), "tcp/53, udp/53", "tcp/53, udp/53"),
        (Rule("in", "ACCEPT", macro="GRE"), "gre", "gre"),
        (Rule("in", "ACCEPT", proto="tcp", dport="5432,6432"), "tcp/5432, tcp/6432", "tcp/5432, tcp/6432"),
        (Rule("in", "ACCEPT", proto="udp", dport="9300:9301"), "udp/9300-9301", "udp/9300-9301"),
        (Rule("in", "ACCEPT", proto="tcp", dport="postgresql"), "tcp/5432", "tcp/5432"),
        (Rule("in", "ACCEPT", proto="200"), "protocol 200", "protocol 200"),
    ],
)
def test_what_rules_mean_in_words(rule: Rule, four: str, six: str) -> None:
    made = rule_services(rule)
    assert (text(made.upper), text(made.upper6)) == (four, six)
    assert (made.upper, made.upper6) == (made.lower, made.lower6)


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ((), "nothing"),
        (ANY, "any"),
        (spans.difference(ANY, port_services("tcp", ((22, 22),))), "any but tcp/22"),
        ((span(6),), "tcp"),
        ((span(6, 0, 22),), "tcp/0-22"),
        ((span(6, 1, 65535),), "tcp/1-65535"),
        (((span(6, 60000)[0], span(17, 0, 52)[1]),), "tcp/60000-65535, protocols 7-16, udp/0-52"),
        (((span(6)[0], span(8)[1]),), "protocols 6-8"),
        (((span(5, 9)[0], span(6)[1]),), "st/9-65535, tcp"),
        ((icmp_span(1, (3, None)),), "icmp/destination-unreachable"),
        (((icmp_span(1, (3, 4))[0], icmp_span(1, (5, 0))[1]),), "icmp/3.4-5.0"),
        ((icmp_span(1, (200, 7)),), "icmp/200.7"),
    ],
)
def test_words(services: spans.Spans, words: str) -> None:
    assert text(services) == words


@pytest.mark.parametrize(
    ("protocol", "port", "words"),
    [
        ("tcp", 22, "tcp/22"),
        ("UDP", 53, "udp/53"),
        ("icmp", None, "icmp/8.0"),
        ("icmpv6", None, "icmpv6/128.0"),
        ("icmp", 3, "icmp/network-unreachable"),
        ("132", 7, "sctp/7"),
    ],
)
def test_one_service(protocol: str, port: int | None, words: str) -> None:
    number = point(protocol, port)
    assert text(((number, number),)) == words


@pytest.mark.parametrize(
    ("protocol", "port"), [("tpc", 22), ("tcp", None), ("tcp", 65536), ("udp", -1), ("icmp", 256), ("300", 1)]
)
def test_no_such_service(protocol: str, port: int | None) -> None:
    with pytest.raises(ValueError, match=r"no protocol|needs a port|no port|no ICMP type"):
        point(protocol, port)
