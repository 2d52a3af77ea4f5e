"""The shipped inventory says what the architecture says."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from tests.inventory.inventory_project import REPOSITORY
from tests.support.needs import need_shared
from zentoria_infra.inventory.flows import expand_flows
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory


@pytest.fixture(scope="module", params=[None, "lab"])
def inventory(request: pytest.FixtureRequest) -> Inventory:
    return load(REPOSITORY, request.param)


@pytest.fixture(scope="module")
def architecture() -> str:
    return need_shared("architecture", "architecture.md").read_text()


def table(text: str, heading: str) -> list[list[str]]:
    """Rows of the first Markdown table under a heading, without its two head lines."""
    section = text.split(heading, 1)[1]
    lines: list[str] = []
    for line in section.splitlines():
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            break
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_addresses_and_zones_are_those_of_the_table(inventory: Inventory, architecture: str) -> None:
    rows = table(architecture, "### IP Address Allocation")
    assert len(rows) == 17
    found = {(c.vmid, c.hostname, str(c.address), c.zone) for c in inventory.containers}
    assert found == {(int(vmid), name, address, zone.lower()) for vmid, name, address, zone in rows}


def test_every_row_of_the_matrix_is_there_in_its_order(inventory: Inventory, architecture: str) -> None:
    rows = table(architecture, "### Firewall Rules Matrix")
    flows = [flow for flow in inventory.flows if flow.row is not None]
    assert [flow.row for flow in flows] == list(range(1, len(rows) + 1)) == list(range(1, 36))
    for flow, (source, destination, ports, protocol, _) in zip(flows, rows, strict=True):
        assert flow.source == re.sub(r" \(\d+\)", "", source).lower()
        assert flow.destination == re.sub(r" \(\d+\)", "", destination).lower()
        assert flow.protocol == protocol.lower()
        written = ", ".join(str(interval) for interval in flow.ports) or "varies"
        assert written == ports


def test_derived_flows_say_why(inventory: Inventory) -> None:
    derived = {(f.source, f.destination): [str(p) for p in f.ports] for f in inventory.flows if f.derived}
    assert derived == {
        ("proxy", "waf"): ["7422", "8080"],
        ("proxy", "docs"): ["8080"],
        ("proxy", "auth"): ["9000"],
        ("backend", "n8n"): ["5678"],
        ("n8n", "files"): ["9000"],
        ("n8n", "embeddings"): ["8100"],
        ("auth", "db"): ["5432", "6432"],
        ("auth", "redis"): ["6379"],
        ("embeddings", "files"): ["9000"],
        ("embeddings", "backend"): ["4000"],
        ("ocr", "redis"): ["6379"],
        ("all", "logs"): ["3100"],
    }


def test_maxima_are_those_of_the_vertical_scaling_table(inventory: Inventory, architecture: str) -> None:
    expected = {}
    for name, cores, memory, _ in table(architecture, "### Vertical Scaling Limits"):
        vmid = int(re.search(r"\((\d+)\)", name)[1])  # type: ignore[index]  # every row has its VMID
        expected[vmid] = (int(cores.split()[0]), int(memory.split()[0]) * 1024)
    assert {c.vmid: (c.maximum.cores, c.maximum.memory) for c in inventory.containers if c.maximum} == expected


def test_no_secret_is_outside_the_paths_of_the_architecture(inventory: Inventory) -> None:
    allowed = re.compile(r"zentoria/(db|redis|minio|jwt|n8n|oauth|api_keys|auth|identity|ldap)/[a-z0-9_]+")
    secrets = {secret for c in inventory.containers for service in c.services for secret in service.secrets}
    assert {"zentoria/redis/password", "zentoria/db/n8n_password", "zentoria/jwt/secret_key"} <= secrets
    assert [secret for secret in secrets if not allowed.fullmatch(secret)] == []


def test_the_full_size_site() -> None:
    inventory = load(REPOSITORY)
    ai, db = inventory.by_name("ai"), inventory.by_name("db")
    assert (ai.resources.cores, ai.resources.memory) == (8, 32 * 1024)
    assert db.volume("data").size == 200
    source = inventory.component(db.service("postgresql"))
    assert source is not None and source.kind == "apt" and source.version == "16"
    assert source.repository is not None and len(source.repository.key_sha256) == 64
    assert [c.name for c in inventory.containers if c.protect] == ["vault", "db", "files"]


def test_the_lab_fits_in_14_gib() -> None:
    inventory = load(REPOSITORY, "lab")
    assert len(inventory.containers) == 17
    assert sum(c.resources.memory + c.resources.swap for c in inventory.containers) <= 14 * 1024
    source = inventory.component(inventory.by_name("db").service("postgresql"))
    assert source is not None and source.kind == "apt" and source.version == "17" and source.repository is None
    assert inventory.site.id == "lab" and not any(c.protect for c in inventory.containers)


def test_every_container_has_the_node_exporter_and_ships_logs(inventory: Inventory) -> None:
    for container in inventory.containers:
        assert container.service("node-exporter").port("node").first == 9100
        assert container.service("log-shipper").needs[0].service == "logs.loki"


def test_only_the_proxy_is_reached_from_outside_and_nothing_is_any(inventory: Inventory) -> None:
    flows = expand_flows(inventory)
    assert {(f.destination, f.first) for f in flows if f.source == "internet"} == {("proxy", 80), ("proxy", 443)}
    assert all(1 <= f.first <= f.last <= 65535 and f.last - f.first <= 1 for f in flows)
    assert not {"all"} & {name for f in flows for name in (f.source, f.destination)}


def test_start_order_has_dependencies_first(inventory: Inventory) -> None:
    order = [c.name for c in inventory.container_order()]
    assert len(order) == 17
    for container in inventory.containers:
        for needed in inventory.start_needs(container):
            assert order.index(needed) < order.index(container.name)
    assert order.index("db") < order.index("backend") < order.index("frontend")


def test_lookups(inventory: Inventory) -> None:
    db = inventory.by_vmid(404)
    assert inventory.by_name("db") is inventory.by_name("zentoria-db") is inventory.by_name("404") is db
    assert db.address == ipaddress.IPv4Address("10.10.40.4")
    assert db.mac == "BC:24:11:00:04:04"
    assert str(inventory.gateway(db)) == "10.10.47.254"
    with pytest.raises(KeyError):
        inventory.by_name("dbb")


def test_values_know_where_they_were_written() -> None:
    root = Path(REPOSITORY)
    inventory = load(root, "lab")
    db = inventory.by_name("db")
    file = root / "inventory/sites/lab.yaml"
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "memory: 1024" in text)
    assert inventory.where(db, "resources.memory") == f"inventory/sites/lab.yaml:{line}:25"
    assert inventory.where(db, "address").startswith("inventory/containers/404-db.yaml:")
    assert inventory.where(db, "services.node-exporter.unit").startswith("inventory/site.yaml:")
    assert inventory.where(db, "tags") == inventory.where(db)
    assert inventory.where(inventory.site, "proxmox.host").startswith("inventory/sites/lab.yaml:")
    assert inventory.where(inventory.flows[0], "ports.1").startswith("zones.yaml:")
