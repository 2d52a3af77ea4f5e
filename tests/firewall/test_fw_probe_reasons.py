"""Which rules are said to decide about a probe: checked against what is tried, for all of a plan."""

from __future__ import annotations

import dataclasses

import pytest

from tests.firewall.fw_shipped import shipped, with_guest, with_options, with_rule
from zentoria_infra.firewall.config import Configuration, Datacenter
from zentoria_infra.firewall.probe.planning import probe_plan
from zentoria_infra.firewall.probe.probes import Probe, ProbeKind
from zentoria_infra.firewall.probe.reasons import reasons
from zentoria_infra.firewall.proof.network import Network, assumed


def network(configuration: Configuration | None = None) -> Network:
    _, compiled, parties = shipped()
    return Network(configuration or assumed(compiled), parties)


def probe_of(source: str, target: str, port: int, kind: ProbeKind = ProbeKind.DECLARED) -> Probe:
    one, compiled, parties = shipped()
    plan = probe_plan(one, compiled, parties)
    return next(p for p in plan.probes if (p.kind, p.source, p.target, p.port) == (kind, source, target, port))


def test_as_compiled_every_probe_is_decided_as_it_is_declared() -> None:
    one, compiled, parties = shipped()
    declared = network()
    for probe in probe_plan(one, compiled, parties).probes:
        passes, lines = reasons(declared, probe)
        assert passes == probe.allowed, (probe, lines)
        assert len(lines) == 1 + (probe.target in parties.vmids)
        assert any(": denied by " in line for line in lines) != probe.allowed


def test_a_declared_flow_names_the_rule_at_each_end() -> None:
    passes, lines = reasons(network(), probe_of("backend", "db", 5432))
    assert passes
    assert [line.partition(" by rule ")[0] for line in lines] == ["out of backend: allowed", "into db: allowed"]
    assert all("(zt/row-7/backend/db/tcp)" in line for line in lines)


def test_a_rule_that_is_disabled_names_the_end_and_what_denies() -> None:
    changed = with_rule(
        shipped()[1].configuration, 404, "zt/row-7/backend/db/tcp", lambda rule: dataclasses.replace(rule, enable=False)
    )
    passes, lines = reasons(network(changed), probe_of("backend", "db", 5432))
    assert not passes
    assert lines[0].startswith("out of backend: allowed by rule")
    assert lines[1].startswith("into db: denied by rule 0 of group zt-home_deny (zt/deny/in)")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"enable": "0"}, "the switch of the guest"),
        ({"policy_out": "ACCEPT"}, ""),
    ],
)
def test_something_open_names_the_switch_or_the_option(change: dict[str, str], why: str) -> None:
    def opened(configuration: Configuration) -> Configuration:
        # Without the rule that denies, the policy decides.
        bare = with_guest(
            configuration,
            405,
            lambda guest: dataclasses.replace(guest, rules=tuple(r for r in guest.rules if r.action != "zt-home_deny")),
        )
        return with_options(bare, 405, change)

    probe = probe_of("ai", "gateway", 22, ProbeKind.NODE)
    passes, lines = reasons(network(opened(shipped()[1].configuration)), probe)
    assert passes
    assert lines == (f"out of ai: allowed by {why or 'option policy_out=ACCEPT of 405'}",)


def test_the_datacenter_switch_opens_both_ends() -> None:
    compiled = shipped()[1].configuration
    off = dataclasses.replace(compiled, datacenter=Datacenter())
    passes, lines = reasons(network(off), probe_of("ai", "vault", 8200, ProbeKind.UNDECLARED))
    assert passes
    assert lines == (
        "out of ai: allowed by the switch of the datacenter",
        "into vault: allowed by the switch of the datacenter",
    )


def test_a_forged_source_is_stopped_by_the_ip_filter() -> None:
    one, compiled, parties = shipped()
    forged = [p for p in probe_plan(one, compiled, parties).probes if p.kind is ProbeKind.FORGED and p.source == "db"]
    assert forged
    for probe in forged:
        passes, lines = reasons(network(), probe)
        assert not passes
        assert lines[0] == f"out of db: denied by the IP filter of net0, which does not hold {probe.source_address}"
        assert lines[1].startswith(f"into {probe.target}: allowed by rule")


def test_a_rule_that_has_vanished_is_named() -> None:
    key = "zt/row-7/backend/db/tcp"
    changed = with_rule(
        shipped()[1].configuration, 404, key, lambda rule: dataclasses.replace(rule, source="dc/zt-home_nobody")
    )
    _, lines = reasons(network(changed), probe_of("backend", "db", 5432))
    assert f"the rule for {key} " in lines[1]
    assert "zt-home_nobody" in lines[1]


def test_a_container_that_is_not_there() -> None:
    compiled = shipped()[1].configuration
    without = dataclasses.replace(compiled, guests=tuple(g for g in compiled.guests if g.vmid != 404))
    passes, lines = reasons(network(without), probe_of("backend", "db", 5432))
    assert not passes
    assert lines[1] == "into db: the container has no such NIC there"
