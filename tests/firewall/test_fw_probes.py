"""What is tried from inside the guests, and what is made of what came of it."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections import Counter
from collections.abc import Callable

import pytest

from tests.firewall.fw_inventories import GATEWAY, container, flow, inventory, port
from tests.firewall.fw_shipped import shipped
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.probe.planning import probe_plan
from zentoria_infra.firewall.probe.probes import GuestPlan, Place, Probe, ProbeKind, ProbePlan
from zentoria_infra.firewall.probe.verdicts import Judged, Seen, Verdict, judge
from zentoria_infra.firewall.proof.semantics import nic_filter
from zentoria_infra.firewall.sets.addresses import Objects
from zentoria_infra.firewall.sets.protocols import PROTOCOLS
from zentoria_infra.firewall.sets.services import span
from zentoria_infra.inventory.flows import expand_flows, ports_of
from zentoria_infra.inventory.model import Egress, Inventory
from zentoria_infra.inventory.spans import meets

World = Callable[[str, Probe], bool]
"""Whether a packet with a source address and a probe's destination comes in."""


def plan_of(one: Inventory, **more: object) -> ProbePlan:
    return probe_plan(one, compile_firewall(one), parties_of(one), **more)  # type: ignore[arg-type]  # passed on


def small(**site: object) -> Inventory:
    """A web server that the internet reaches, and its database with a metrics port that nobody reaches."""
    web = container(1, "web", port(80), port("9000-9001"))
    db = container(2, "db", port(5432, "data"), port(9187, "metrics"), port(514, protocol="udp"))
    job = container(
        3, "job", egress=(Egress.model_validate({"to": ("example.org",), "ports": (443,), "purpose": "x"}),)
    )
    flows = [
        flow("internet", "web", 80),
        flow("web", "db", 5432),
        flow("job", "web", "9000-9001"),
        flow("db", "job", 99),
    ]
    flows.append(flow("job", "db", 514, protocol="udp"))
    return inventory([web, db, job], flows, **site)


def seen_in(plan: ProbePlan, comes_in: World) -> Seen:
    """What guests say in a world where some packets come in and the others are dropped."""
    arrived: dict[str, set[int]] = {guest.name: set() for guest in plan.guests}
    results = {}
    for probe in plan.probes:
        address = probe.source_address or probe.source
        if comes_in(address, probe):
            results[probe.number] = "unreachable" if probe.hops else "connected"
            if (probe.is_raw or probe.protocol == "udp") and probe.heard:
                arrived[probe.target].add(probe.number)
        else:
            results[probe.number] = "silent"
    return Seen({n: r for n, r in results.items()}, {}, arrived, {}, {}, {})


def as_declared(address: str, probe: Probe) -> bool:
    return probe.allowed


def verdicts(found: tuple[Judged, ...]) -> Counter[tuple[str, str]]:
    return Counter((one.probe.kind.value, one.verdict.value) for one in found)


def test_every_declared_port_between_guests_is_tried() -> None:
    one, compiled, parties = shipped()
    wanted = {
        (f.source, f.destination, f.protocol, number)
        for f in expand_flows(one)
        for number in range(f.first, f.last + 1)
        if f.source != "internet"
    }
    plan = probe_plan(one, compiled, parties, sample=0)
    tried = {(p.source, p.target, p.protocol, p.port) for p in plan.probes if p.kind is ProbeKind.DECLARED and p.heard}
    assert tried == wanted
    keys = {probe.key for probe in plan.probes} | {intent.key for intent, _ in plan.untried}
    assert {intent.key for intent in compiled.intents} <= keys


def test_every_exposed_port_of_any_guest_is_tried_at_every_other_one() -> None:
    one, compiled, parties = shipped()
    plan = probe_plan(one, compiled, parties)
    exposed = {(p.protocol, n) for c in one.containers for _, p in ports_of(c) for n in p.port.numbers}
    tried = {(p.source, p.target, p.protocol, p.port) for p in plan.probes if not p.is_raw}
    names = [c.name for c in one.containers]
    assert {(s, t, *e) for s in names for t in names if s != t for e in exposed} <= tried


def test_what_is_expected_is_what_the_compiled_rules_do() -> None:
    """A second road: the rules of both ends decide about every probe, one packet at a time."""
    one, compiled, parties = shipped()
    filters = {
        guest.name: nic_filter(Objects(compiled.configuration.datacenter), guest, guest.nics[0])
        for guest in compiled.configuration.guests
    }
    count = 0
    stopped_by_source_alone = set()
    for probe in probe_plan(one, compiled, parties).probes:
        number = PROTOCOLS[probe.protocol]
        service = span(number, probe.port, probe.port)[0]
        far, near = (
            int(ipaddress.IPv4Address(a)) for a in (probe.address, probe.source_address or address(one, probe.source))
        )
        out, _ = filters[probe.source].out.decides(far, service)
        allowed = out and meets(filters[probe.source].sources, ((near, near),))
        if probe.heard:
            allowed = allowed and filters[probe.target].in_.decides(near, service)[0]
        assert allowed == probe.allowed, probe
        if probe.kind is ProbeKind.FORGED:
            # Under the claimed address the far end takes it.
            assert filters[probe.target].in_.decides(near, service)[0], probe
            if out:
                stopped_by_source_alone.add(probe.source)
        count += 1
    assert count > 5000
    # In every container something is tried that nothing but the check of sources stops.
    assert stopped_by_source_alone == {c.name for c in one.containers}


def address(one: Inventory, name: str) -> str:
    return str(one.by_name(name).address)


def test_the_same_seed_makes_the_same_plan_and_another_one_another() -> None:
    one, compiled, parties = shipped()
    first, again, other = (probe_plan(one, compiled, parties, sample=30, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    fixed = [{p for p in map(_plain, plan.probes) if p.kind is ProbeKind.DECLARED} for plan in (first, other)]
    assert fixed[0] == fixed[1]


def _plain(probe: Probe) -> Probe:
    return dataclasses.replace(probe, number=0)


@pytest.mark.parametrize("sample", [0, 1, 48, 10_000])
def test_the_sample_is_a_limit_for_each_guest(sample: int) -> None:
    one, compiled, parties = shipped()
    plan = probe_plan(one, compiled, parties, sample=sample)
    sent = Counter(probe.source for probe in plan.probes if probe.kind is ProbeKind.UNDECLARED)
    assert all(count <= sample for count in sent.values())
    assert sample > 1000 or all(sent[c.name] == sample for c in one.containers)


def test_numbers_are_unique_and_listeners_stand_wherever_something_is_tried() -> None:
    one, compiled, parties = shipped()
    for only in (None, {"db"}, {"proxy", "waf"}):
        plan = probe_plan(one, compiled, parties, only=only)
        probes = list(plan.probes)
        assert len({probe.number for probe in probes}) == len(probes)
        stands = {place for guest in plan.guests for place in guest.listen}
        assert {Place(p.protocol, p.address, p.port) for p in probes if p.heard} == stands
        assert {n for p in probes for n in p.controls} <= {p.number for p in probes}


def test_only_some_guests() -> None:
    one, compiled, parties = shipped()
    plan = probe_plan(one, compiled, parties, only={"db"})
    others = [p for p in plan.probes if "db" not in (p.source, p.target) and p.kind is not ProbeKind.CONTROL]
    assert [(p.target, p.allowed) for p in others] == [("internet", True)]
    assert {p.source for p in plan.probes} == {c.name for c in one.containers}
    assert not [intent for intent, _ in plan.untried if "db" not in (intent.source, intent.destination)]


def test_ranges_are_tried_at_both_ends() -> None:
    one = inventory([container(1, "a"), container(2, "b")], [flow("a", "b", "2000-3000")])
    declared = sorted(p.port for p in plan_of(one).probes if p.kind is ProbeKind.DECLARED)
    assert declared == [*range(2000, 2008), *range(2993, 3001)]


def test_the_node_the_gateway_and_the_internet() -> None:
    one = small(proxmox={"host": "192.0.2.5", "node": "pve"})
    others = [p for p in plan_of(one).probes if not p.heard]
    node = {(p.source, p.target, p.address, p.port) for p in others if p.kind is ProbeKind.NODE}
    names = ("web", "db", "job")
    assert node == {
        (name, target, at, number)
        for name in names
        for target, at in (("node", "192.0.2.5"), ("gateway", GATEWAY))
        for number in (22, 3128, 8006)
    }
    out = {(p.source, p.protocol, p.port) for p in others if p.kind is ProbeKind.INTERNET}
    web = {("tcp", 80), ("tcp", 443), ("udp", 53)}
    assert out == {(name, *one) for name in names for one in web} - {("job", "tcp", 443)}
    # Name resolution is declared, at the gateway.
    declared = {(p.source, p.target, p.protocol, p.port) for p in others if p.kind is ProbeKind.DECLARED}
    lookups = {("job", "gateway", "udp", 53), ("job", "gateway", "tcp", 53)}
    assert declared == {*lookups, ("job", "internet", "tcp", 443)}
    # Towards the internet nothing goes further than to the first router.
    assert all((p.hops == 1) == (p.target == "internet") for p in others)
    assert {intent.key for intent, _ in plan_of(one).untried} == {"zt/derived/internet/web/tcp"}


def test_the_documentation_address_is_none_of_ours() -> None:
    one = small()
    taken = dataclasses.replace(
        parties_of(one),
        others=tuple(
            dataclasses.replace(p, spans=((0, int(ipaddress.IPv4Address("203.0.113.0")) - 1),))
            if p.name == "internet"
            else p
            for p in parties_of(one).others
        ),
    )
    probes = list(probe_plan(one, compile_firewall(one), taken).probes)
    assert {p.address for p in probes if p.kind is ProbeKind.INTERNET} == {"198.51.100.77"}


def test_forged_packets_claim_what_would_be_let_in() -> None:
    forged = [p for p in plan_of(small()).probes if p.kind is ProbeKind.FORGED]
    found = {(p.source, p.claimed, p.source_address, p.target, p.port) for p in forged}
    assert found == {
        ("web", "db", "10.10.40.2", "job", 99),
        ("db", "job", "10.10.40.3", "web", 9000),
        ("db", "internet", "203.0.113.77", "web", 80),
        ("job", "web", "10.10.40.1", "db", 5432),
        ("job", "internet", "203.0.113.77", "web", 80),
    }
    assert all(p.controls for p in forged)


def test_a_public_address_is_tried_too() -> None:
    web = container(1, "web", port(80), public={"address": "192.0.2.7/24", "gateway": "192.0.2.1"})
    one = inventory([web, container(2, "db")], [flow("internet", "web", 80), flow("db", "web", 80)])
    plan = plan_of(one)
    at = {
        (p.address, p.port, p.allowed) for p in plan.probes if p.source == "db" and p.target == "web" and not p.is_raw
    }
    assert {("10.10.40.1", 80, True), ("192.0.2.7", 80, False)} <= at
    assert Place("tcp", "192.0.2.7", 80) in next(guest.listen for guest in plan.guests if guest.name == "web")


def test_a_public_address_by_dhcp_cannot_be_tried() -> None:
    web = container(
        1,
        "web",
        port(80),
        public={"address": "dhcp"},
        egress=(Egress.model_validate({"to": ("any",), "ports": ("8000-9000",), "protocol": "udp", "purpose": "x"}),),
    )
    plan = plan_of(inventory([web, container(2, "db")], [flow("internet", "web", 80), flow("web", "db", 5432)]))
    assert {intent.key: why for intent, why in plan.untried} == {
        "zt/derived/internet/web/tcp": "it begins on the internet, where no guest of ours is",
        "zt/lease/web/udp/67": "a second lease would be asked for",
        "zt/lease/web/udp/68": "a second lease would be asked for",
    }
    assert {p.address for p in plan.probes if p.target == "web"} == {"10.10.40.1"}
    out = {p.port for p in plan.probes if p.target == "internet" and p.kind is ProbeKind.DECLARED}
    assert out == {*range(8000, 8008), *range(8993, 9001)}


def test_where_rules_live_makes_no_difference_to_what_is_tried() -> None:
    plans = [plan_of(small(firewall={"objects": objects})) for objects in ("datacenter", "guest")]
    assert plans[0].guests == plans[1].guests


@pytest.mark.parametrize("only", [None, {"web"}])
def test_a_world_as_declared_has_no_mismatch(only: set[str] | None) -> None:
    plan = plan_of(small(), only=only)
    found = judge(plan, seen_in(plan, as_declared))
    assert {one.verdict for one in found} == {Verdict.AS_DECLARED}
    assert {one.probe.kind for one in found} == set(ProbeKind) - {ProbeKind.CONTROL}
    assert len(found) == sum(p.kind is not ProbeKind.CONTROL for p in plan.probes)


def test_a_world_without_filter_is_open_everywhere() -> None:
    plan = plan_of(small())
    found = judge(plan, seen_in(plan, lambda address, probe: True))
    assert all(one.verdict is (Verdict.AS_DECLARED if one.probe.allowed else Verdict.OPEN) for one in found)


def test_a_world_where_nothing_passes_shows_nothing_of_forged_packets() -> None:
    plan = plan_of(small())
    found = judge(plan, seen_in(plan, lambda address, probe: False))
    by_kind = verdicts(found)
    assert by_kind["forged", "not judged"] == 5
    assert "under its own address did not come in" in next(o.why for o in found if o.probe.kind is ProbeKind.FORGED)
    between_guests = [o for o in found if o.probe.kind is ProbeKind.DECLARED and o.probe.heard]
    assert {one.verdict for one in between_guests} == {Verdict.BLOCKED}
    # At the gateway nobody of ours could have answered, and no router has.
    assert by_kind["declared", "not judged"] == 3
    assert by_kind["internet", "not judged"] == 8


@pytest.mark.parametrize("blocked", ["db", "job"])
def test_a_router_that_answers_one_guest_gives_meaning_to_the_silence_of_others(blocked: str) -> None:
    job = container(
        3, "job", egress=(Egress.model_validate({"to": ("example.org",), "ports": (443,), "purpose": "x"}),)
    )
    db = container(2, "db", egress=(Egress.model_validate({"to": ("any",), "ports": (80,), "purpose": "x"}),))
    plan = plan_of(inventory([db, job], []))
    found = judge(plan, seen_in(plan, lambda address, probe: probe.allowed and probe.source != blocked))
    out = {(o.probe.source, o.probe.port): o.verdict for o in found if o.probe.target == "internet" and o.is_mismatch}
    assert out == {(blocked, 80 if blocked == "db" else 443): Verdict.BLOCKED}
    silent = {o.verdict for o in found if o.probe.kind is ProbeKind.INTERNET}
    assert silent == {Verdict.AS_DECLARED}


@pytest.mark.parametrize(
    "public",
    [{"address": "192.0.2.8/24", "gateway": "192.0.2.1"}, {"address": "dhcp"}],
    ids=["its own gateway", "a gateway by DHCP"],
)
@pytest.mark.parametrize("only", [None, {"proxy"}])
def test_a_silent_router_is_judged_by_itself(public: dict[str, str], only: set[str] | None) -> None:
    """The node answers for the internal bridge; the router at home, behind the public one, answers to nobody."""
    out = (Egress.model_validate({"to": ("any",), "ports": (443,), "purpose": "x"}),)
    whole = inventory([container(2, "db", egress=out), container(8, "proxy", egress=out, public=public)], [])
    plan = plan_of(whole, only=only)
    found = judge(plan, seen_in(plan, lambda address, probe: probe.allowed and probe.source != "proxy"))
    assert not [one for one in found if one.is_mismatch]
    behind = [one for one in found if one.probe.source == "proxy" and one.probe.target == "internet"]
    assert {one.verdict for one in behind} == {Verdict.UNJUDGED}
    assert all("answers to nobody" in one.why for one in behind)


def one_probe(kind: ProbeKind, allowed: bool, *, heard: bool = True, protocol: str = "tcp") -> Probe:
    return Probe(1, kind, "a", "b", "10.0.0.2", protocol, 80, allowed, heard=heard)


def only_probe(probe: Probe, seen: Seen) -> Judged:
    (found,) = judge(ProbePlan((GuestPlan("a", 1, (), (probe,)),), ()), seen)
    return found


@pytest.mark.parametrize(
    ("allowed", "heard", "result", "verdict"),
    [
        (True, True, "connected", Verdict.AS_DECLARED),
        (True, True, "silent", Verdict.BLOCKED),
        (True, True, "refused", Verdict.BLOCKED),
        (True, True, "unreachable", Verdict.BLOCKED),
        (True, True, "local: Network is unreachable", Verdict.BLOCKED),
        (True, False, "connected", Verdict.AS_DECLARED),
        (True, False, "refused", Verdict.AS_DECLARED),
        (True, False, "unreachable", Verdict.AS_DECLARED),
        (True, False, "silent", Verdict.UNJUDGED),
        (False, True, "connected", Verdict.OPEN),
        (False, True, "refused", Verdict.OPEN),
        (False, True, "silent", Verdict.AS_DECLARED),
        (False, True, "unreachable", Verdict.AS_DECLARED),
        (False, True, "local: Operation not permitted", Verdict.AS_DECLARED),
        (False, False, "unreachable", Verdict.OPEN),
        (False, False, "refused", Verdict.OPEN),
        (False, False, "silent", Verdict.AS_DECLARED),
        (False, False, "local: Network is unreachable", Verdict.AS_DECLARED),
    ],
)
def test_a_result_and_its_verdict(allowed: bool, heard: bool, result: str, verdict: Verdict) -> None:
    kind = ProbeKind.DECLARED if allowed else ProbeKind.UNDECLARED
    seen = Seen({1: result}, {}, {"b": ()}, {}, {}, {})
    assert only_probe(one_probe(kind, allowed, heard=heard), seen).verdict is verdict


NOTHING_SEEN = Seen({1: "silent"}, {}, {"b": ()}, {}, {}, {})


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (dataclasses.replace(NOTHING_SEEN, results={}), "a says nothing of it"),
        (dataclasses.replace(NOTHING_SEEN, absent={"a": "it is stopped"}), "a takes no part: it is stopped"),
        (dataclasses.replace(NOTHING_SEEN, absent={"b": "it is stopped"}), "b takes no part: it is stopped"),
        (
            dataclasses.replace(
                NOTHING_SEEN, lacking={Place("tcp", "10.0.0.2", 80): "Cannot assign requested address"}
            ),
            "b cannot tell: Cannot assign requested address",
        ),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_silence_that_shows_nothing_is_not_judged(seen: Seen, why: str, allowed: bool) -> None:
    kind = ProbeKind.DECLARED if allowed else ProbeKind.UNDECLARED
    assert only_probe(one_probe(kind, allowed), seen) == Judged(one_probe(kind, allowed), Verdict.UNJUDGED, why)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_datagram_that_came_in_counts_without_an_answer(allowed: bool) -> None:
    kind = ProbeKind.DECLARED if allowed else ProbeKind.UNDECLARED
    seen = dataclasses.replace(NOTHING_SEEN, arrived={"b": {1}})
    verdict = only_probe(one_probe(kind, allowed, protocol="udp"), seen).verdict
    assert verdict is (Verdict.AS_DECLARED if allowed else Verdict.OPEN)


def test_forged_packets_are_not_judged_where_they_could_not_be_sent_or_seen() -> None:
    plan = plan_of(small())
    good = seen_in(plan, as_declared)
    forged = {probe.number: probe for probe in plan.probes if probe.kind is ProbeKind.FORGED}
    first = next(iter(forged.values()))
    for seen, why in (
        (dataclasses.replace(good, unsent={first.number: "Operation not permitted"}), "Operation not permitted"),
        (dataclasses.replace(good, blind={first.target: "it cannot see"}), "it cannot see"),
        (dataclasses.replace(good, absent={first.target: "gone"}), f"{first.target} takes no part: gone"),
    ):
        found = next(one for one in judge(plan, seen) if one.probe == first)
        assert (found.verdict, found.why) == (Verdict.UNJUDGED, why)
