"""Flows and needs, made exact."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.inventory.inventory_project import REPOSITORY
from zentoria_infra.inventory.flows import expand_flows, expand_needs, ports_of
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Container, Flow, Inventory, Network, Site
from zentoria_infra.inventory.order import circles

NAMES = ("a", "b", "c", "d")
KINDS = ("data", "api", "ui", "metrics")

SITE = Site.model_validate(
    {
        "name": "Test",
        "id": "test",
        "proxmox": {"host": "pve.test", "node": "pve"},
        "storages": {"rootfs": "local", "volumes": "local"},
        "template": "local:vztmpl/x.tar.zst",
        "dns": {"nameservers": ("10.10.47.254",)},
        "public_name": "zentoria.test",
    }
)
NETWORK = Network.model_validate({"name": "internal", "cidr": "10.10.32.0/20", "gateway": "10.10.47.254"})


def container(number: int, name: str, ports: dict[int, dict[str, Any]], needs: tuple[Any, ...] = ()) -> Container:
    exposes = {f"p{port}": {"port": port, **body} for port, body in ports.items()}
    return Container.model_validate(
        {
            "vmid": 400 + number,
            "name": name,
            "zone": "core",
            "address": f"10.10.40.{number}",
            "resources": {},
            "startup": {"order": 1},
            "services": {"main": {"component": "main", "exposes": exposes, "needs": needs}},
        }
    )


def inventory(containers: tuple[Container, ...], flows: tuple[dict[str, Any], ...] = ()) -> Inventory:
    made = tuple(Flow.model_validate({"purpose": "test", "derived": "test", **flow}) for flow in flows)
    return Inventory(root=Path("/"), site=SITE, networks=(NETWORK,), zones=(), flows=made, containers=containers)


ports = st.dictionaries(
    st.integers(1, 9),
    st.fixed_dictionaries(
        {"kind": st.sampled_from(KINDS), "also": st.lists(st.sampled_from(KINDS), max_size=2).map(tuple)},
        optional={"protocol": st.sampled_from(["tcp", "udp"])},
    ),
    max_size=4,
)
flows = st.fixed_dictionaries(
    {
        "source": st.sampled_from([*NAMES, "all"]),
        "destination": st.sampled_from([*NAMES, "all"]),
        "exposes": st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True).map(tuple),
        "protocol": st.sampled_from(["tcp", "udp"]),
    }
)


@given(st.tuples(ports, ports, ports, ports), flows)
def test_varies_means_exactly_what_the_targets_expose(exposed: tuple[Any, ...], flow: dict[str, Any]) -> None:
    containers = tuple(container(n, name, exposed[n]) for n, name in enumerate(NAMES))
    found = [(f.source, f.destination, f.first, f.last) for f in expand_flows(inventory(containers, (flow,)))]
    expected = [
        (source.name, target.name, port.port.first, port.port.last)
        for source in containers
        for target in containers
        if source is not target and flow["source"] in ("all", source.name)
        if flow["destination"] in ("all", target.name)
        for _, port in ports_of(target)
        if port.kinds & set(flow["exposes"]) and port.protocol == flow["protocol"]
    ]
    assert sorted(found) == sorted(expected)


def test_a_need_means_all_but_metrics_unless_it_says_more() -> None:
    target = container(0, "a", {1: {"kind": "api"}, 2: {"kind": "data"}, 3: {"kind": "metrics"}})

    def needed(need: Any) -> list[int]:
        return [n.first for n in expand_needs(inventory((target, container(1, "b", {}, (need,)))))]

    assert needed("a.main") == needed("a") == [1, 2]
    assert needed({"service": "a", "exposes": ("metrics",)}) == [3]
    assert needed({"service": "all", "exposes": ("data",)}) == [2]
    assert needed({"service": "a.main", "ports": ("2-3",)}) == [2]
    assert needed("b.main") == []


def test_flows_keep_their_row_reason_and_place() -> None:
    found = {(f.source, f.destination, f.ports): f for f in expand_flows(load(REPOSITORY, "lab"))}
    assert found["backend", "voice", "9300-9301"].origin == "row 14"
    assert found["ocr", "redis", "6379"].origin == "derived: Paperless-ngx has its broker in Redis"
    assert str(found["logs", "db", "9187"].position).startswith("zones.yaml:")
    assert found["logs", "db", "9187"].row == 34
    assert found["backup", "db", "5432"].row == 33
    assert ("backup", "db", "6432") not in found
    assert ("logs", "logs", "3100") not in found
    shippers = {source for source, target, port in found if (target, port) == ("logs", "3100")}
    assert len(shippers) == 16


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"), max_size=3), max_size=6))
def test_circles_are_real_and_none_is_missed(edges: dict[str, set[str]]) -> None:
    found = circles(edges)
    for circle in found:
        assert circle[0] == circle[-1] and len(circle) >= 2
        assert all(after in edges[before] for before, after in itertools.pairwise(circle))
    left = {node: set(targets) for node, targets in edges.items()}
    while free := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in free:
            del left[node]
    assert bool(left) == bool(found)
