"""What must hold between containers, networks and the site: each check yields the problems that it finds."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable, Iterator

from zentoria_infra.inventory.assertion_checks import check_assertions
from zentoria_infra.inventory.flow_checks import check_flows
from zentoria_infra.inventory.flows import egress_of
from zentoria_infra.inventory.model import ALL, INTERNET, Container, Inventory, WorkspaceComponent
from zentoria_infra.inventory.network_checks import check_networks, check_public_nics
from zentoria_infra.inventory.order import circles
from zentoria_infra.inventory.private_names import check_private_names
from zentoria_infra.inventory.problems import Position, Problem, problem
from zentoria_infra.inventory.wording import nearest


def check(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    """Every problem between parts that are right by themselves.

    Args:
        inventory: what could be read.
        broken: names of containers whose files could not be: nothing is said about what leads to them.
    """
    yield from _duplicates(inventory)
    yield from _names_of_others(inventory)
    yield from _addresses(inventory)
    yield from check_public_nics(inventory)
    yield from _names(inventory)
    yield from _placement(inventory, broken)
    for container in inventory.containers:
        yield from _resources(inventory, container)
        yield from _ports(inventory, container)
        yield from _volumes(inventory, container)
        yield from _secrets(inventory, container)
        yield from _trusts(inventory, container, broken)
        yield from _settings(inventory, container)
    yield from _models(inventory)
    yield from _egress(inventory)
    yield from check_private_names(inventory)
    yield from _order(inventory)
    yield from check_flows(inventory, broken)
    yield from check_assertions(inventory, broken)


def _duplicates(inventory: Inventory) -> Iterator[Problem]:
    """VMIDs, names, host names, addresses and MACs that two containers have; zones and networks by the YAML keys."""
    kinds: tuple[tuple[str, str, Callable[[Container], Hashable]], ...] = (
        ("vmid", "vmid", lambda c: c.vmid),
        ("name", "name", lambda c: c.name),
        # without the domain: so it stands in all hosts files, and is what a machine calls itself
        ("hostname", "host name", lambda c: c.short_hostname),
        ("address", "address", lambda c: c.address),
        ("mac", "MAC address", lambda c: c.mac),
    )
    for key, words, value_of in kinds:
        first: dict[Hashable, Container] = {}
        for container in inventory.containers:
            value = value_of(container)
            other = first.setdefault(value, container)
            if other is not container and not _follows(key, container, other):
                there = inventory.where(other, key)
                yield problem(inventory.position(container, key), f"{words} {value} is used twice; also in {there}")


def _names_of_others(inventory: Inventory) -> Iterator[Problem]:
    """Host names that are another container's name: both stand in every hosts file, for two addresses."""
    by_name = {container.name: container for container in inventory.containers}
    for container in inventory.containers:
        other = by_name.get(container.short_hostname, container)
        if other is not container:
            text, there = container.short_hostname, inventory.where(other, "name")
            at = inventory.position(container, "hostname")
            yield problem(at, f"host name {text} is the name of another container; in {there}")


MEANT_OTHERWISE = frozenset((ALL, INTERNET, "outside", "private", "gateway", "node", "localhost"))
"""Words that flows, traces and proofs, or every hosts file, have for something else."""


def _follows(key: str, one: Container, other: Container) -> bool:
    """Whether two containers share a value only because it is made of another that they share."""
    return (key == "mac" and one.vmid == other.vmid) or (key == "hostname" and one.name == other.name)


def _addresses(inventory: Inventory) -> Iterator[Problem]:
    networks = {network.name: network for network in inventory.networks}
    exposed = {flow.destination for flow in inventory.flows if flow.source == INTERNET}
    yield from check_networks(inventory)
    for container in inventory.containers:
        at = inventory.position(container, "address")
        if container.network not in networks:
            text = f"there is no network '{container.network}'{nearest(container.network, networks)}"
            yield problem(inventory.position(container, "network"), text)
            continue
        network = networks[container.network]
        address, cidr = container.address, network.cidr
        if address not in cidr:
            yield problem(
                at, f"address {address} is outside network '{network.name}' ({cidr}){_home(inventory, address)}"
            )
        elif address == cidr.network_address:
            yield problem(at, f"address {address} is the network address of {cidr}")
        elif address == cidr.broadcast_address:
            yield problem(at, f"address {address} is the broadcast address of {cidr}")
        elif address == inventory.gateway(container):
            yield problem(at, f"address {address} is the gateway of network '{network.name}'")
        if container.public and container.name not in exposed:
            text = f"'{container.name}' has a public NIC, and no flow from the internet leads to it"
            yield problem(inventory.position(container, "public"), text)


def _home(inventory: Inventory, address: ipaddress.IPv4Address) -> str:
    """Words about the network that an address does belong to."""
    if len(inventory.networks) == 1:
        return ""
    own = [network.name for network in inventory.networks if address in network.cidr]
    return f"; it is in network '{own[0]}'" if own else ", and outside every other"


def _egress(inventory: Inventory) -> Iterator[Problem]:
    """Addresses in ``egress`` that are none, or a container's: from container to container lead flows."""
    owners = {str(other.address): other.name for other in inventory.containers}
    entries = ((container, *found) for container in inventory.containers for found in egress_of(container))
    for container, path, entry in entries:
        for number, host in enumerate(entry.to):
            at = inventory.position(container, f"{path}.to.{number}")
            if host in owners:
                yield problem(at, f"{host} is the address of '{owners[host]}': write a flow in zones.yaml instead")
            elif "/" in host:
                yield from _network(inventory, host, at)
            elif host.replace(".", "").isdigit() and not _is_address(host):
                yield problem(at, f"'{host}' is not an IPv4 address")


def _network(inventory: Inventory, text: str, at: Position) -> Iterator[Problem]:
    try:
        cidr = ipaddress.IPv4Network(text)
    except ValueError as error:
        yield problem(at, f"'{text}' is not an IPv4 network: {error}")
        return
    if cidr.prefixlen < WIDEST:
        yield problem(at, f"{cidr} is more than any network has: /{WIDEST} at most; 'any' means all public addresses")
    for network in inventory.networks:
        if cidr.subnet_of(network.cidr):
            yield problem(at, f"{cidr} is in the network '{network.name}': write a flow in zones.yaml instead")


WIDEST = 8
"""Shortest prefix of a network in ``egress``: 10.0.0.0/8 is the widest one that is private."""


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _names(inventory: Inventory) -> Iterator[Problem]:
    zones = {zone.name for zone in inventory.zones}
    for container in inventory.containers:
        if container.zone not in zones:
            text = f"there is no zone '{container.zone}'{nearest(container.zone, zones)}"
            yield problem(inventory.position(container, "zone"), text)
        if container.name in MEANT_OTHERWISE:
            at = inventory.position(container, "name")
            yield problem(at, f"'{container.name}' has a meaning of its own: choose another name")
        if container.short_hostname in MEANT_OTHERWISE and container.short_hostname != container.name:
            at = inventory.position(container, "hostname")
            yield problem(at, f"host name {container.hostname} has a meaning of its own: choose another one")
        if container.short_hostname.isdigit():
            at = inventory.position(container, "hostname")
            yield problem(at, f"host name {container.hostname} would be taken for a VMID: it needs a letter")
        if container.vmid in inventory.reserved and not container.reserved:
            text = f"VMID {container.vmid} is kept free for growth; to claim it, write 'reserved: true' in this file"
            yield problem(inventory.position(container, "vmid"), text)
        if container.reserved and container.vmid not in inventory.reserved:
            at = inventory.position(container, "reserved")
            yield problem(at, f"VMID {container.vmid} is not a reserved one: remove 'reserved'")


def _placement(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    known = {str(container.vmid) for container in inventory.containers}
    known |= {container.name for container in inventory.containers} | broken
    pve = inventory.site.proxmox
    for name, node in pve.nodes.items():
        at = inventory.position(inventory.site, f"proxmox.nodes.{name}")
        if name not in known:
            yield problem(at, f"there is no container '{name}'{nearest(name, known)}")
        elif node != pve.node and pve.ssh.host_key is not None:
            # pct works on the containers of the node that it runs on, and SSH leads to one node.
            yield problem(at, f"'{name}' is placed on {node}, and its inside can only be reached on {pve.node} so far")


def _resources(inventory: Inventory, container: Container) -> Iterator[Problem]:
    if container.resources.cpulimit is not None and container.resources.cpulimit > container.resources.cores:
        at = inventory.position(container, "resources.cpulimit")
        yield problem(at, f"cpulimit {container.resources.cpulimit:g} is over its {container.resources.cores} cores")
    limit = container.maximum
    if limit is None:
        return
    for key, unit in (("cores", "cores"), ("memory", "MiB")):
        given, most = getattr(container.resources, key), getattr(limit, key)
        if given > most:
            at = inventory.position(container, f"resources.{key}")
            yield problem(at, f"{given} {unit} are over the maximum of '{container.name}', {most} {unit}")


def _ports(inventory: Inventory, container: Container) -> Iterator[Problem]:
    taken: dict[tuple[str, int], str] = {}
    for service in container.services:
        for port in service.exposes:
            at = inventory.position(container, f"services.{service.name}.exposes.{port.name}.port")
            name = f"{service.name}.{port.name}"
            clashes = {
                other for n in port.port.numbers if (other := taken.setdefault((port.protocol, n), name)) != name
            }
            for other in sorted(clashes):
                yield problem(at, f"port {port.port}/{port.protocol} is taken twice in this container; also by {other}")
        if service.health is not None and ("tcp", service.health.port) not in taken:
            at = inventory.position(container, f"services.{service.name}.health.port")
            yield problem(at, f"no service here exposes port {service.health.port}")


def _volumes(inventory: Inventory, container: Container) -> Iterator[Problem]:
    paths: dict[str, str] = {}
    for volume in container.volumes:
        at = inventory.position(container, f"volumes.{volume.name}.path")
        other = paths.setdefault(volume.path.rstrip("/"), volume.name)
        if other != volume.name:
            yield problem(at, f"path {volume.path} is used twice; also by volume '{other}'")
        if {".", ".."} & set(volume.path.split("/")) or "//" in volume.path:
            yield problem(at, f"path {volume.path} must be written without '.', '..' and '//'")
        if not volume.path.strip("/"):
            yield problem(at, "path / is the root file system's: a volume there would hide all of it")
        elif system := _of_the_system(volume.path):
            yield problem(
                at, f"path {volume.path} is the system's ({system}): a volume there would hide what it runs on"
            )


_SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp",  # noqa: S108 - a place that is refused
    "/usr", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/lib/zentoria", "/var/run", "/var/tmp",  # noqa: S108 - likewise
)  # fmt: skip
"""What a volume may neither lie in nor hide."""


def _of_the_system(path: str) -> str:
    """The folder of the system that a volume at this path would hide, or that it lies in; empty when there is none."""
    place = path.rstrip("/") + "/"
    return next((one for one in _SYSTEM if place.startswith(f"{one}/") or f"{one}/".startswith(place)), "")


def _secrets(inventory: Inventory, container: Container) -> Iterator[Problem]:
    """A secret that the service's own Vault policy does not let it read."""
    for service in container.services:
        if not service.vault_policy:
            continue
        for number, secret in enumerate(service.secrets):
            if not any("read" in rule.capabilities and _covers(rule.path, secret) for rule in service.vault_policy):
                at = inventory.position(container, f"services.{service.name}.secrets.{number}")
                yield problem(at, f"the vault_policy of '{service.name}' does not let it read {secret}")


def _trusts(inventory: Inventory, container: Container, broken: frozenset[str]) -> Iterator[Problem]:
    """Containers whose word is taken and that do not call the service: theirs must not be believed."""
    for service in container.services:
        for number, name in enumerate(service.trusts):
            at = inventory.position(container, f"services.{service.name}.trusts.{number}")
            try:
                other = inventory.by_name(name)
            except KeyError:
                if name not in broken:
                    known = [one.name for one in inventory.containers]
                    yield problem(at, f"there is no container '{name}'{nearest(name, known)}")
                continue
            calls = {f"{container.name}.{service.name}", container.name, ALL}
            if not any(need.service in calls for one in other.services for need in one.needs):
                yield problem(at, f"'{name}' is trusted, and does not need {container.name}.{service.name}")


def _settings(inventory: Inventory, container: Container) -> Iterator[Problem]:
    """Settings of a service that is not ours: nobody would read them. A server of models is told them in its words."""
    for service in container.services:
        if service.settings and not service.models and not isinstance(inventory.component(service), WorkspaceComponent):
            at = inventory.position(container, f"services.{service.name}.settings")
            yield problem(at, f"'{service.name}' is not one of this project's own services: it takes no 'settings'")


def _covers(pattern: str, path: str) -> bool:
    """Whether a Vault policy path covers a path: ``+`` is one segment, a ``*`` at the end is any rest."""
    if pattern.endswith("*"):
        head = pattern[:-1].split("/")
        parts = path.split("/")
        fits = len(parts) >= len(head) and parts[len(head) - 1].startswith(head[-1])
        return fits and all(a in ("+", b) for a, b in zip(head[:-1], parts, strict=False))
    ours, theirs = pattern.split("/"), path.split("/")
    return len(ours) == len(theirs) and all(a in ("+", b) for a, b in zip(ours, theirs, strict=True))


def _order(inventory: Inventory) -> Iterator[Problem]:
    """Circles of needs, and start orders that say the opposite of the needs."""
    by_name = {container.name: container for container in inventory.containers}
    edges = {name: inventory.start_needs(container) & by_name.keys() for name, container in by_name.items()}
    in_circle: set[str] = set()
    for circle in circles(edges):
        in_circle.update(circle)
        at = inventory.position(by_name[circle[0]], _need_path(by_name[circle[0]], circle[1]))
        yield problem(at, f"these need each other to start: {' -> '.join(circle)}; mark one need with 'start: false'")
    for name, container in by_name.items():
        for other in sorted(edges[name]):
            if name in in_circle and other in in_circle:
                continue
            mine, theirs = container.startup.order, by_name[other].startup.order
            if mine <= theirs:
                text = f"'{name}' starts in place {mine} and needs '{other}', which starts in place {theirs}"
                yield problem(inventory.position(container, "startup.order"), text)


def _need_path(container: Container, target: str) -> str:
    for service in container.services:
        for number, need in enumerate(service.needs):
            if need.start and need.container == target:
                return f"services.{service.name}.needs.{number}"
    return ""


def _models(inventory: Inventory) -> Iterator[Problem]:
    """Models that the site does not know; two models for one purpose; files that have no place."""
    first: dict[str, str] = {}
    for container in inventory.containers:
        for service in container.services:
            for one in service.models:
                at = inventory.position(container, f"services.{service.name}.models.{one.name}")
                model = inventory.site.models.get(one.model)
                if model is None:
                    text = f"the site's 'models' do not have '{one.model}'{nearest(one.model, inventory.site.models)}"
                    yield problem(at, text)
                elif model.files and service.models_folder is None:
                    yield problem(at, f"'{one.model}' consists of files: say 'models_folder' at '{service.name}'")
                if (other := first.setdefault(one.name, one.model)) != one.model:
                    yield problem(at, f"'{one.name}' is '{other}' elsewhere: one purpose has one model")
