"""Policy tests of zones.yaml: what they say, when they break, and that they agree with a look at every single port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inventory.inventory_project import REPOSITORY, copy_project, problems, replace
from zentoria_infra.inventory.assertion_checks import check_assertions
from zentoria_infra.inventory.flows import ports_of
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Assertion, Container, Flow, Inventory, Network, Site, Zone
from zentoria_infra.inventory.schema import schema

SITE = load(REPOSITORY, "lab").site
NAMES = ("a", "b", "c", "d")
ZONES = {"a": "east", "b": "east", "c": "west", "d": "west"}
NETWORK = Network.model_validate({"name": "internal", "cidr": "10.10.32.0/20", "gateway": "10.10.47.254"})
PORTS = {1: "api", 2: "data", 3: "metrics", 4: "api"}


def container(number: int, name: str, egress: tuple[dict[str, Any], ...] = ()) -> Container:
    exposes = {f"p{port}": {"port": port, "kind": kind} for port, kind in PORTS.items()}
    return Container.model_validate(
        {
            "vmid": 400 + number,
            "name": name,
            "zone": ZONES[name],
            "address": f"10.10.40.{number}",
            "resources": {},
            "startup": {"order": 1},
            "egress": egress,
            "services": {"main": {"component": "main", "exposes": exposes}},
        }
    )


def world(
    flows: tuple[dict[str, Any], ...], assertions: tuple[dict[str, Any], ...], leaves: tuple[str, ...] = ()
) -> Inventory:
    way_out = ({"to": ("example.org",), "ports": (3,), "purpose": "test"},)
    return Inventory(
        root=Path("/"),
        site=Site.model_validate(SITE),
        networks=(NETWORK,),
        zones=tuple(Zone(name=name, purpose="test") for name in ("east", "west")),
        flows=tuple(Flow.model_validate({"purpose": "test", "derived": "test", **flow}) for flow in flows),
        assertions=tuple(Assertion.model_validate({"because": "so", **one}) for one in assertions),
        containers=tuple(container(n, name, way_out if name in leaves else ()) for n, name in enumerate(NAMES, 1)),
    )


def said(inventory: Inventory) -> list[str]:
    return [item.message for item in check_assertions(inventory, frozenset())]


who = st.sampled_from([*NAMES, "all", "internet", "zone:east", "zone:west"])
flows = st.lists(
    st.fixed_dictionaries(
        {
            "source": st.sampled_from([*NAMES, "all", "internet"]),
            "destination": st.sampled_from([*NAMES, "all"]),
            "ports": st.lists(st.sampled_from([1, 2, 4, "1-2", "3-4"]), min_size=1, max_size=2).map(tuple),
            "protocol": st.sampled_from(["tcp", "udp"]),
        }
    ),
    max_size=3,
).map(tuple)
denials = st.fixed_dictionaries(
    {"deny": st.lists(who, min_size=1, max_size=2).map(tuple), "to": who},
    optional={
        "ports": st.lists(st.sampled_from([1, 2, "2-3"]), min_size=1, max_size=2).map(tuple),
        "protocol": st.sampled_from(["tcp", "udp"]),
        "except": st.lists(
            st.sampled_from([1, "3-4", "exposes:data", "exposes:api", "a", "zone:west"]), max_size=2
        ).map(tuple),
    },
)


def meant(word: str) -> set[str]:
    if word == "all":
        return set(NAMES)
    return {name for name, zone in ZONES.items() if word == f"zone:{zone}"} or {word}


def numbers(word: int | str) -> set[int]:
    first, _, last = str(word).partition("-")
    return set(range(int(first), int(last or first) + 1))


def breaks(assertion: dict[str, Any], source: str, target: str, protocol: str, port: int) -> bool:
    """One packet against one denial, in the plainest way."""
    exempt_names: set[str] = set()
    for item in assertion.get("except", ()):
        if str(item)[0].isdigit():
            if port in numbers(item):
                return False
        elif str(item).startswith("exposes:"):
            if target in NAMES and PORTS.get(port) == str(item).removeprefix("exposes:"):
                return False
        else:
            exempt_names |= meant(str(item))
    return (
        any(source in meant(word) for word in assertion["deny"])
        and target in meant(assertion["to"])
        and not exempt_names & {source, target}
        and assertion.get("protocol") in (None, protocol)
        and ("ports" not in assertion or any(port in numbers(word) for word in assertion["ports"]))
    )


@given(flows, denials, st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple))
def test_a_denial_agrees_with_every_packet(
    flow_rows: tuple[dict[str, Any], ...], denial: dict[str, Any], leaves: tuple[str, ...]
) -> None:
    inventory = world(flow_rows, (denial,), leaves)
    packets = {
        (source, target, flow["protocol"], port)
        for flow in flow_rows
        for source in meant(flow["source"])
        for target in meant(flow["destination"])
        for word in flow["ports"]
        for port in numbers(word)
        if source != target
    }
    packets |= {(name, "internet", "tcp", 3) for name in leaves}
    found = said(inventory)
    broken = [text for text in found if text.startswith("this denies")]
    if [text for text in found if text not in broken]:
        assert not broken
        assert not any(breaks(denial, *packet) for packet in packets) or any("does not speak of" in t for t in found)
        return
    assert bool(broken) == any(breaks(denial, *packet) for packet in packets)


@given(flows, who, who, st.sampled_from([(), (1,), ("1-2",)]))
def test_a_demand_agrees_with_every_pair(
    flow_rows: tuple[dict[str, Any], ...], source: str, target: str, wanted: tuple[int | str, ...]
) -> None:
    found = said(world(flow_rows, ({"allow": source, "to": target, "ports": wanted},)))
    pairs = [(s, d) for s in meant(source) for d in meant(target) if s != d]
    if not pairs:
        assert found == ["this assertion speaks of nothing: no source and destination are left"]
        return

    def open_ports(s: str, d: str) -> set[int]:
        rows = [f for f in flow_rows if f["protocol"] == "tcp"]
        rows = [f for f in rows if s in meant(f["source"]) and d in meant(f["destination"])]
        return {port for f in rows for word in f["ports"] for port in numbers(word)}

    ports = {port for word in wanted for port in numbers(word)}
    holds = all(open_ports(s, d) and ports <= open_ports(s, d) for s, d in pairs)
    assert bool(found) != holds
    assert all(text.startswith("this demands") for text in found)


def test_what_breaks_it_is_named_with_its_place_and_reason(tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    replace(root, "zones.yaml", "    because: Workflows are", "    ports: [8200]\n    because: Workflows are")
    replace(root, "zones.yaml", "except: [8200]", "except: [8201]")
    flow = next(n for n, line in enumerate((root / "zones.yaml").read_text().splitlines(), 1) if "row: 19" in line)
    (line,) = problems(root)
    assert f"'n8n' -> 'vault' on 8200/tcp, which zones.yaml:{flow + 3}:13 allows (row 19)" in line
    assert line.endswith("Because: Workflows are written by users; of the vault they see its API and nothing else")


def test_the_shipped_assertions_hold_and_none_is_idle() -> None:
    inventory = load(REPOSITORY)
    assert len(inventory.assertions) == 9
    everything = tuple(
        {"source": source, "destination": "all", "ports": ("1-65535",)} for source in ("all", "internet")
    )
    for number, assertion in enumerate(inventory.assertions):
        wide = inventory.model_copy(
            update={
                "flows": tuple(Flow.model_validate({"purpose": "x", "derived": "x", **flow}) for flow in everything),
                "containers": tuple(
                    c.model_copy(update={"egress": container(1, "a", EVERY_WAY_OUT).egress})
                    for c in inventory.containers
                ),
                "assertions": (assertion,),
            }
        )
        bare = wide.model_copy(update={"flows": (), "containers": inventory.containers})
        broken = list(check_assertions(wide if assertion.deny else bare, frozenset()))
        assert broken, f"assertion {number} would never break"


EVERY_WAY_OUT = ({"to": ("any",), "ports": ("1-65535",), "purpose": "x"},)


def test_an_address_of_our_networks_is_not_the_internet(tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    egress = "egress:\n  - {to: [%s], ports: [123], protocol: udp, purpose: Time}\n"
    replace(root, "inventory/containers/404-db.yaml", "protect: true\n", "protect: true\n" + egress % "10.10.47.254")
    assert problems(root) == []
    replace(root, "inventory/containers/404-db.yaml", "to: [10.10.47.254]", "to: [10.10.47.254, 192.0.2.1]")
    assert ["'db' -> 'internet' on 123/udp" in line for line in problems(root)] == [True, True]


def test_many_pairs_of_one_line_are_one_problem() -> None:
    (text,) = said(world(({"source": "all", "destination": "all", "ports": (1,)},), ({"deny": "all", "to": "all"},)))
    assert "'a' -> 'b' on 1/tcp, 'a' -> 'c' on 1/tcp, 'a' -> 'd' on 1/tcp and 9 more, which" in text


def test_a_demand_that_another_assertion_forbids_says_so() -> None:
    forbidding = {"deny": "zone:east", "to": "d", "except": (2,)}
    (text,) = said(world((), (forbidding, {"allow": "a", "to": "d", "ports": (1,)})))
    assert "no flow allows it (the assertion in zones denies it)" in text
    (text,) = said(world((), (forbidding, {"allow": "a", "to": "d", "ports": (2,)})))
    assert "no flow allows it. Because: so" in text


def test_nothing_is_said_about_containers_that_could_not_be_read() -> None:
    assertions = ({"deny": "lost", "to": "a"}, {"deny": "a", "to": "b", "except": ("lost",)})
    inventory = world((), assertions)
    assert list(check_assertions(inventory, frozenset(("lost",)))) == []
    assert said(inventory) == ["there is no container 'lost'"] * 2


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (8200, (8200, None, None)),
        ("9300-9301", (9300, None, None)),
        ("exposes:data", (None, "data", None)),
        ("proxy", (None, None, "proxy")),
        ("zone:dmz", (None, None, "zone:dmz")),
    ],
)
def test_forms_of_an_exception(item: object, expected: tuple[object, ...]) -> None:
    made = Assertion.model_validate({"deny": "a", "to": ("b", "zone:c"), "except": (item,), "because": "x"})
    (exempt,) = made.exempt
    assert (exempt.ports.first if exempt.ports else None, exempt.exposes, exempt.name) == expected
    assert made.whose == ("a",) and made.to == ("b", "zone:c")


def test_the_schema_has_the_words_of_the_file() -> None:
    rules = schema("zones")
    known = rules["$defs"]["Assertion"]["properties"]
    assert set(known) == {"deny", "allow", "to", "ports", "protocol", "except", "because"}
    assert all(body.get("description") for body in known.values())
    assert "assert" in rules["properties"] and "assert" not in rules["required"]


def test_every_port_kind_is_one_of_an_exception() -> None:
    exposed = {kind for c in load(REPOSITORY).containers for _, port in ports_of(c) for kind in port.kinds}
    pattern = schema("zones")["$defs"]["Exempt"]["anyOf"][1]["pattern"]
    assert exposed == {"data", "api", "ui", "metrics"} and all(kind in pattern for kind in exposed)


def test_an_address_of_another_network_names_that_network(tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    other = "  other:\n    cidr: 10.10.48.0/24\n    gateway: 10.10.48.254\n"
    replace(root, "zones.yaml", "gateway: 10.10.47.254\n", f"gateway: 10.10.47.254\n{other}")
    replace(root, "inventory/containers/404-db.yaml", "10.10.40.4", "10.10.48.4")
    replace(root, "inventory/containers/418-docs.yaml", "address: 10.10.41.8", "address: 10.10.50.8")
    assert problems(root) == [
        "inventory/containers/404-db.yaml:5:10: address 10.10.48.4 is outside network 'internal' (10.10.32.0/20); "
        "it is in network 'other'",
        "inventory/containers/418-docs.yaml:5:10: address 10.10.50.8 is outside network 'internal' (10.10.32.0/20), "
        "and outside every other",
    ]
