"""What runs: one line a container, from the node and from inside."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from zentoria_infra.errors import ApiError, ZentoriaError
from zentoria_infra.execute.look import world
from zentoria_infra.execute.look.firewall_observe import nics
from zentoria_infra.execute.look.reading import readers
from zentoria_infra.firewall.identity import OPENING
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.orphans import orphans_of
from zentoria_infra.plan.saved.between import CLOSED
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.roles.catalog import unbuilt

ON = "on"
_PATIENCE = 20.0
"""Seconds that a container has to answer, from when the question has reached it."""
_MISSING = {"not-found": "not installed", "masked": "masked", "error": "broken", "bad-setting": "broken"}
"""What systemd's LoadState means for a service that shall run."""


@dataclasses.dataclass(frozen=True)
class ContainerStatus:
    """One line of ``status``. ``good`` is False for what needs a look."""

    vmid: int
    name: str
    zone: str
    address: str
    status: str
    services: str
    good: bool
    firewall: str = ""
    """``on``; else what is wrong, as ``OFF``, ``PACKAGE SOURCES OPEN``, or ``CLOSED`` by a run that was killed."""

    def as_data(self) -> dict[str, Any]:
        """As plain data for ``--json``."""
        return dataclasses.asdict(self)


def read_status(inventory: Inventory, proxmox: Proxmox) -> tuple[ContainerStatus, ...]:
    """Look at every container of the inventory. Changes nothing.

    Calls: two a node (its containers, and whether its firewall's daemon runs), one for the datacenter's firewall;
    three a container (one where there is none of ours), and one command inside if it runs.
    """
    nodes = {inventory.node_of(container) for container in inventory.containers}
    guests = {guest.vmid: guest for node in nodes for guest in proxmox.observe.containers(node)}
    switch = _switch(proxmox)
    dead = {node: _dead(proxmox, node) for node in nodes}

    def one(container: Container) -> ContainerStatus:
        guest = guests.get(container.vmid)
        if guest is None:
            taken = not proxmox.observe.is_free(container.vmid)
            return _line(container, "not ours: we may not see it" if taken else "missing", "", good=False)
        config = proxmox.observe.config(container.vmid, guest.node).values
        whose = ownership.owner(config.get("description", ""), inventory.site.id, container.vmid)
        if whose is not ownership.Owner.OURS:
            return _line(container, f"{guest.status}, not ours", "", good=False)
        locked = f", locked ({guest.lock})" if guest.lock else ""
        firewall = switch or dead.get(guest.node, "") or _firewall(container, proxmox, guest.node, config)
        if guest.status != "running":
            return _line(container, f"{guest.status}{locked}", "", good=False, firewall=firewall)
        services, good = _services(container, proxmox)
        return _line(container, f"{guest.status}{locked}", services, good=good and firewall == ON, firewall=firewall)

    with readers(8, "status") as pool:
        return tuple(pool.map(one, inventory.containers))


def read_orphans(inventory: Inventory, proxmox: Proxmox) -> tuple[Orphan, ...]:
    """Containers with the site's mark that the inventory does not have. Two lists, and one call for each candidate."""
    known = {container.vmid for container in inventory.containers}
    nodes = {inventory.node_of(container) for container in inventory.containers}
    others = world.observe_others(proxmox.observe, nodes, {inventory.site.proxmox.pool}, known)
    return orphans_of(World({}, others=others), known, inventory.site.id)


def _line(container: Container, status: str, services: str, *, good: bool, firewall: str = "") -> ContainerStatus:
    return ContainerStatus(
        container.vmid, container.name, container.zone, str(container.address), status, services, good, firewall
    )


def _switch(proxmox: Proxmox) -> str:
    """What is wrong with the datacenter's switch, without which nothing is filtered; empty when it is on."""
    try:
        options, _ = proxmox.firewall.options(fw.DATACENTER)
    except ApiError:
        return "unknown: the datacenter's firewall cannot be read"
    return "" if options.get("enable", "0") != "0" else "OFF in the datacenter"


def _dead(proxmox: Proxmox, node: str) -> str:
    """What is wrong with a node whose pve-firewall does not run: all is open there. Empty when it runs."""
    try:
        return "" if proxmox.observe.service_runs("pve-firewall", node) else f"OFF: pve-firewall is dead on {node}"
    except ApiError:
        return "unknown: whether pve-firewall runs cannot be read"


def _firewall(container: Container, proxmox: Proxmox, node: str, config: Mapping[str, str]) -> str:
    try:
        guest = proxmox.firewall.guest(container.vmid, container.name, nics(config), node=node, ipsets=()).guest
    except ApiError as error:
        return f"unknown: {error.got}"
    if guest.options.get("enable", "0") == "0":
        return "OFF"
    if off := [nic.key for nic in guest.nics if not nic.firewall]:
        return f"OFF on {', '.join(off)}"
    if any(rule.comment.startswith(OPENING) for rule in guest.rules):
        return "PACKAGE SOURCES OPEN"
    if any(rule.comment.startswith(CLOSED) for rule in guest.rules):
        return "CLOSED"
    return ON


def _services(container: Container, proxmox: Proxmox) -> tuple[str, bool]:
    """Ask systemd inside for the units of all services that the inventory declares, in one command."""
    if not proxmox.has_ssh:
        return "inside not asked", True
    services = [service for service in container.services if service.unit]
    ask = f"systemctl is-system-running; systemctl show --property=LoadState,ActiveState {shlex.join(_units(services))}"
    try:
        tried = f"ask systemd in {container.name}"
        result = proxmox.pct.exec(container.vmid, ["sh", "-c", ask], timeout=_PATIENCE, tried=tried)
    except ZentoriaError as error:
        return f"unknown: {error.got.splitlines()[0]}", False
    system, _, rest = result.stdout.decode(errors="replace").partition("\n")
    found: list[str] = []
    good = system.strip() == "running"
    if not good:
        found.append(f"system {system.strip() or 'silent'}")
    # The blocks are in the order of the question; a unit's own Id may be another than the name it was asked by.
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in rest.split("\n\n")]
    states = {service.name: block for service, block in zip(services, blocks, strict=False) if block}
    not_made = unbuilt(container)
    absent: list[str] = []
    for service in services:
        values = states.get(service.name, {})
        state = values.get("ActiveState", "unknown")
        if values.get("LoadState") == "loaded":
            good = good and state == "active"
            found.append(service.name if state == "active" else f"{service.name} {state}")
        elif service.name in not_made:
            absent.append(service.name)
        else:
            good = False
            found.append(f"{service.name} {_MISSING.get(values.get('LoadState', ''), 'not told of')}")
    absent += [service.name for service in container.services if not service.unit and service.name in not_made]
    left_out = [one.name for one in container.services if one.name in absent and not one.installed]
    if unmade := [name for name in absent if name not in left_out]:
        found.append(f"not installed, for Zentoria does not make them yet: {', '.join(unmade)}")
    if left_out:
        found.append(f"not installed, for the inventory leaves them out: {', '.join(left_out)}")
    return ", ".join(found) or "base", good


def _units(services: Sequence[Service]) -> list[str]:
    return [str(service.unit) for service in services]
