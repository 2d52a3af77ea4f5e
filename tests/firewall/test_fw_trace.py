"""Questions to the shipped firewall: the verdict, who decides at which end, and why."""

from __future__ import annotations

import dataclasses

import pytest

from tests.firewall.fw_pair import configuration, guest, into, out, parties
from tests.firewall.fw_shipped import shipped, with_guest, with_options, with_rule
from tests.firewall.fw_spoilt import BACKEND, DB, FLOW, drop_alias, swap_order
from zentoria_infra.errors import ExitCode
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Configuration
from zentoria_infra.firewall.proof.trace import Trace, TraceError, trace
from zentoria_infra.inventory.model import PublicNic


def ask(
    source: str, destination: str, protocol: str, port: int | None, configuration: Configuration | None = None
) -> Trace:
    _, compiled, known = shipped()
    return trace(compiled, known, source, destination, protocol, port, configuration)


def ends(found: Trace) -> list[str]:
    return [
        f"{'allowed' if end.allowed else 'denied'} {end.direction} {end.name} {end.nic} by "
        f"{end.identity or end.decides}"
        for end in found.ends
    ]


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port", "wanted"),
    [
        pytest.param("backend", "db", "tcp", 5432,
            [f"allowed out backend net0 by {FLOW}", f"allowed in db net0 by {FLOW}"], id="a flow"),
        pytest.param("10.10.40.1", "10.10.40.4", "tcp", 5432,
            [f"allowed out backend net0 by {FLOW}", f"allowed in db net0 by {FLOW}"], id="its addresses"),
        pytest.param("backend", "db", "tcp", 5433,
            ["denied out backend net0 by zt/deny/out", "denied in db net0 by zt/deny/in"], id="another port"),
        pytest.param("db", "backend", "tcp", 5432,
            ["denied out db net0 by zt/deny/out", "denied in backend net0 by zt/deny/in"], id="the other way"),
        pytest.param("backend", "db", "icmp", None,
            ["denied out backend net0 by zt/deny/out", "denied in db net0 by zt/deny/in"], id="ping"),
        pytest.param("logs", "db", "tcp", 9100,
            ["allowed out logs net0 by zt/row-34/logs/db/tcp", "allowed in db net0 by zt/row-34/logs/all/tcp"],
            id="shared"),
        pytest.param("internet", "proxy", "tcp", 443,
            ["allowed in proxy net0 by zt/row-1/internet/proxy/tcp"], id="from outside"),
        pytest.param("9.9.9.9", "proxy", "tcp", 443,
            ["allowed in proxy net0 by zt/row-1/internet/proxy/tcp"], id="from one address outside"),
        pytest.param("stranger", "proxy", "tcp", 443, ["denied in proxy net0 by zt/deny/in"], id="from next door"),
        pytest.param("gateway", "proxy", "tcp", 443, ["denied in proxy net0 by zt/deny/in"], id="from the gateway"),
        pytest.param("backend", "internet", "tcp", 443,
            ["allowed out backend net0 by zt/egress/backend/tcp/443"], id="to the internet"),
        pytest.param("backend", "9.9.9.9", "tcp", 80, ["denied out backend net0 by zt/deny/out"], id="not on 80"),
        pytest.param("db", "internet", "tcp", 443, ["denied out db net0 by zt/deny/out"], id="not from db"),
        pytest.param("backend", "10.10.47.254", "udp", 53,
            ["allowed out backend net0 by zt/dns/backend/udp"], id="a name server"),
    ],
)  # fmt: skip
def test_who_decides(source: str, destination: str, protocol: str, port: int | None, wanted: list[str]) -> None:
    inventory, compiled, _ = shipped()
    if destination == "10.10.47.254" and "10.10.47.254" not in map(str, inventory.site.dns.nameservers):
        pytest.skip("the shipped site's name server is another one")
    found = ask(source, destination, protocol, port)
    assert ends(found) == wanted
    assert found.allowed == all(line.startswith("allowed") for line in wanted)
    assert found.as_intended
    positions = {intent.key: intent.position for intent in compiled.intents} | dict(compiled.positions)
    for end in found.ends:
        assert end.position == positions[end.identity]
        assert end.rule is not None
        assert end.rule_position is not None
        assert not end.reason


def test_why_a_flow_exists() -> None:
    found = ask("backend", "db", "tcp", 6432)
    assert (found.source, found.destination, found.service) == ("backend", "db", "tcp/6432")
    assert [(one.origin, one.purpose) for one in found.intents] == [("row 7", "Database")]
    assert str(found.intents[0].position).startswith("zones.yaml:")
    assert ask("backend", "db", "tcp", 6433).intents == ()


@pytest.mark.parametrize(
    ("spoil", "end", "reason"),
    [
        (drop_alias("zt-home_backend"), "in", "names alias 'zt-home_backend', which does not exist"),
        (swap_order, "in", "rule 0 of group zt-home_deny"),
        (
            lambda old: with_rule(old, BACKEND, FLOW, lambda rule: dataclasses.replace(rule, enable=False)),
            "out",
            "is disabled",
        ),
        (
            lambda old: with_guest(old, DB, lambda one: dataclasses.replace(one, rules=one.rules[-1:])),
            "in",
            f"no rule lets it into db: {FLOW} is not there",
        ),
        (
            lambda old: dataclasses.replace(old, guests=tuple(one for one in old.guests if one.vmid != DB)),
            "in",
            "",
        ),
    ],
)
def test_why_a_flow_does_not_work(spoil, end: str, reason: str) -> None:
    _, compiled, _ = shipped()
    found = ask("backend", "db", "tcp", 5432, spoil(compiled.configuration))
    assert not found.allowed
    assert not found.as_intended
    by_direction = {one.direction: one for one in found.ends}
    assert not by_direction[end].allowed
    assert reason in by_direction[end].reason
    assert by_direction["in" if end == "out" else "out"].allowed
    if not reason:
        assert by_direction[end].decides == "there is no container 404 (db)"
        assert str(by_direction[end].position) == "inventory/containers/404-db.yaml:1:1"


def test_options_and_switches_decide_too() -> None:
    _, compiled, _ = shipped()
    open_ = with_options(compiled.configuration, DB, {"enable": "0"})
    found = ask("stranger", "db", "tcp", 22, open_)
    assert found.allowed
    assert not found.as_intended
    assert found.ends[0].decides == "the switch of the guest"
    bare = with_guest(compiled.configuration, DB, lambda one: dataclasses.replace(one, rules=()))
    assert ask("stranger", "db", "tcp", 22, bare).ends[0].decides == "option policy_in=DROP of 404"
    assert ask("stranger", "db", "tcp", 22, bare).ends[0].rule is None


def test_a_rule_by_hand_has_no_line() -> None:
    _, compiled, _ = shipped()
    rule = into("22", source="")
    state = with_guest(compiled.configuration, DB, lambda one: dataclasses.replace(one, rules=(rule, *one.rules)))
    end = ask("gateway", "db", "tcp", 22, state).ends[0]
    assert (end.allowed, end.rule, end.rule_position, end.identity, end.position) == (True, rule, 0, "", None)


def test_own_address_that_is_not_let_out() -> None:
    nic = dataclasses.replace(guest("a").nics[0], ip="10.0.0.9/24")
    state = configuration(guest("a", out("1"), nics=(nic,)), guest("b", into("1")))
    found = trace(Compiled(state, (), {}), parties(), "a", "b", "tcp", 1)
    assert [end.allowed for end in found.ends] == [False, True]
    assert found.ends[0].decides == "IP set ipfilter-net0 of 101, which does not hold its own address"


def test_some_addresses_of_a_party() -> None:
    state = configuration(guest("a"), guest("b", into("1", source="9.9.9.0/24")))
    compiled = Compiled(state, (), {})
    found = trace(compiled, parties(), "internet", "b", "tcp", 1)
    assert (found.allowed, found.partly) == (False, True)
    found = trace(compiled, parties(), "9.9.9.9", "b", "tcp", 1)
    assert (found.allowed, found.partly) == (True, False)
    found = trace(compiled, parties(), "stranger", "b", "tcp", 1)
    assert (found.allowed, found.partly) == (False, False)


def test_the_public_nic_is_asked_for_the_internet() -> None:
    inventory, _, _ = shipped()
    proxy = next(one for one in inventory.containers if one.name == "proxy")
    public = proxy.model_copy(update={"public": PublicNic(address="dhcp")})
    containers = tuple(public if one.name == "proxy" else one for one in inventory.containers)
    changed = inventory.model_copy(update={"containers": containers})
    compiled, known = compile_firewall(changed), parties_of(changed)
    assert ends(trace(compiled, known, "internet", "proxy", "tcp", 443)) == [
        "allowed in proxy net1 by zt/row-1/internet/proxy/tcp"
    ]
    assert ends(trace(compiled, known, "internet", "proxy", "tcp", 22)) == ["denied in proxy net1 by zt/deny/in"]
    assert ends(trace(compiled, known, "proxy", "backend", "tcp", 4000)) == [
        "allowed out proxy net0 by zt/row-3/proxy/backend/tcp",
        "allowed in backend net0 by zt/row-3/proxy/backend/tcp",
    ]
    lease = trace(compiled, known, "proxy", "255.255.255.255", "udp", 67)
    assert ends(lease) == ["allowed out proxy net1 by zt/lease/proxy/udp/67"]
    assert lease.as_intended


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port", "words"),
    [
        ("backedn", "db", "tcp", 1, "there is no 'backedn'; did you mean 'backend'?"),
        ("backend", "db", "tpc", 1, "no protocol 'tpc'"),
        ("backend", "db", "tcp", None, "tcp needs a port"),
        ("backend", "db", "tcp", 70000, "no port 70000"),
        ("backend", "10.10.40.1", "tcp", 1, "both are the same"),
        ("internet", "gateway", "tcp", 1, "neither is a container"),
        ("::1", "db", "tcp", 1, "there is no '::1'"),
    ],
)
def test_bad_questions(source: str, destination: str, protocol: str, port: int | None, words: str) -> None:
    with pytest.raises(TraceError) as caught:
        ask(source, destination, protocol, port)
    assert words in caught.value.got
    assert caught.value.todo
    assert caught.value.exit_code is ExitCode.USAGE
