"""Small inventories in memory, and short words for compiled rules."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from zentoria_infra.firewall.config import Rule
from zentoria_infra.inventory.model import Container, Flow, Inventory, Network, Port, PortRange, Service, Site

REPOSITORY = Path(__file__).resolve().parents[2]
GATEWAY = "10.10.47.254"


def container(number: int, name: str, *ports: Port, **more: Any) -> Container:
    """A container that exposes some ports. Its address is 10.10.40.<number>, its VMID 400 + number."""
    values: dict[str, Any] = {
        "vmid": 400 + number,
        "name": name,
        "zone": "core",
        "address": f"10.10.40.{number}",
        "resources": {},
        "startup": {"order": number},
        "services": (Service(name="main", component="main", exposes=ports),),
    }
    return Container.model_validate(values | more)


def port(number: str | int, kind: str = "api", protocol: str = "tcp") -> Port:
    """A port, or a range as ``"9300-9301"``."""
    return Port.model_validate({"name": f"p{number}", "port": number, "kind": kind, "protocol": protocol})


def flow(source: str, destination: str, *ports: str | int, **more: Any) -> Flow:
    """A flow; derived unless it has a row."""
    origin = {} if "row" in more else {"derived": "a reason"}
    ranges = {"ports": tuple(PortRange.model_validate(one) for one in ports)} if ports else {}
    return Flow.model_validate(
        {"source": source, "destination": destination, "purpose": "Because", **ranges, **origin, **more}
    )


def inventory(containers: list[Container], flows: list[Flow], **site: Any) -> Inventory:
    """An inventory with one network and whatever the site shall be."""
    values: dict[str, Any] = {
        "name": "Small",
        "id": "small",
        "proxmox": {"host": "pve.home.arpa", "node": "pve"},
        "storages": {"rootfs": "local", "volumes": "local"},
        "template": "local:vztmpl/debian.tar.zst",
        "dns": {"nameservers": (GATEWAY,)},
        "public_name": "small.home.arpa",
    }
    network = Network(
        name="internal", cidr=ipaddress.IPv4Network("10.10.32.0/20"), gateway=ipaddress.IPv4Address(GATEWAY)
    )
    return Inventory(
        root=REPOSITORY,
        site=Site.model_validate(values | site),
        networks=(network,),
        zones=(),
        flows=tuple(flows),
        containers=tuple(containers),
    )


def words(rule: Rule) -> str:
    """A rule without its purpose: ``OUT ACCEPT net0 > dc/zt-db tcp 5432 zt/row-7/backend/db/tcp``."""
    parts = [
        "" if rule.enable else "|",
        rule.type.upper(),
        rule.action,
        rule.iface,
        f"< {rule.source}" if rule.source else "",
        f"> {rule.dest}" if rule.dest else "",
        rule.proto,
        f"{rule.sport}:" if rule.sport else "",
        rule.dport,
        rule.macro,
        rule.icmp_type,
        f"log={rule.log}" if rule.log else "",
        rule.comment.split()[0],
    ]
    return " ".join(part for part in parts if part)
