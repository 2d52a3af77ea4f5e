"""The inventory's containers in Proxmox's terms. Pure."""

from __future__ import annotations

from zentoria_infra.inventory.model import ALL, Container, Inventory
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.model.values import GIB
from zentoria_infra.plan.volumes.binding import placed
from zentoria_infra.roles.catalog import unbuilt

_PATHS = {
    "cores": "resources.cores",
    "memory": "resources.memory",
    "swap": "resources.swap",
    "cpulimit": "resources.cpulimit",
    "rootfs": "resources.rootfs",
    "net0": "address",
    "net1": "public",
    "startup": "startup",
    "features": "features",
    "onboot": "onboot",
    "hostname": "hostname",
    "protection": "protect",
    "tags": "tags",
    "unprivileged": "unprivileged",
    "description": "purpose",
}
"""Proxmox's option to the path in a container's file."""


def desired_containers(inventory: Inventory) -> tuple[DesiredContainer, ...]:
    """All containers of an inventory, in its start order; their volumes as in new ones (:mod:`.volumes` binds them)."""
    return tuple(_desired(inventory, c, number) for number, c in enumerate(inventory.container_order()))


def _desired(inventory: Inventory, container: Container, order: int) -> DesiredContainer:
    site = inventory.site
    volumes = tuple(
        DesiredVolume("", site.storages.volumes, volume.size * GIB, volume.path, volume.backup, volume.name)
        for volume in container.volumes
    )
    where = {key: inventory.where(container, path) for key, path in _PATHS.items()}
    where |= {f"volume:{v.name}": inventory.where(container, f"volumes.{v.name}") for v in container.volumes}
    where |= {key: inventory.where(site, "dns") for key in ("nameserver", "searchdomain")}
    found = DesiredContainer(
        vmid=container.vmid,
        name=container.name,
        hostname=container.hostname,
        node=inventory.node_of(container),
        site_id=site.id,
        ostemplate=site.template,
        pool=site.proxmox.pool,
        unprivileged=container.unprivileged,
        options=_options(inventory, container),
        nets=_nets(inventory, container),
        features=frozenset(name for name, on in container.features.model_dump().items() if on),
        tags=frozenset({ownership.TAG, f"zone-{container.zone}", *container.tags}),
        rootfs=DesiredVolume("rootfs", site.storages.rootfs, container.resources.rootfs * GIB),
        volumes=volumes,
        protect=container.protect,
        needs=_needs(inventory, container),
        order=order,
        where={**where, "": inventory.where(container)},
    )
    return placed(found, {}, {})


def _needs(inventory: Inventory, container: Container) -> frozenset[int]:
    """Who must be up before this container's services are: of those that Zentoria installs, whom they call at start."""
    built = {service.name for service in container.services} - set(unbuilt(container))
    names = {
        need.container
        for service in container.services
        if service.name in built
        for need in service.needs
        if need.start and need.container not in (ALL, container.name)
    }
    return frozenset(inventory.by_name(name).vmid for name in names)


def _options(inventory: Inventory, container: Container) -> dict[str, str]:
    resources, startup, dns = container.resources, container.startup, inventory.site.dns
    order = [f"order={startup.order}"]
    order += [f"{key}={value}" for key, value in (("up", startup.up), ("down", startup.down)) if value is not None]
    options = {
        "hostname": container.hostname,
        "cores": str(resources.cores),
        "memory": str(resources.memory),
        "swap": str(resources.swap),
        "cpulimit": f"{resources.cpulimit or 0:g}",
        "onboot": str(int(container.onboot)),
        "startup": ",".join(order),
        "nameserver": " ".join(str(server) for server in dns.nameservers),
        "searchdomain": dns.search_domain,
        "protection": str(int(container.protect)),
        "description": ownership.description(container.hostname, container.purpose, inventory.site.id, container.vmid),
    }
    return options


def _nets(inventory: Inventory, container: Container) -> dict[str, dict[str, str]]:
    network = inventory.network(container.network)
    nets = {
        "net0": {
            "name": "eth0",
            "bridge": inventory.site.bridges.internal,
            "firewall": "1",
            "gw": str(inventory.gateway(container)),
            "hwaddr": container.mac,
            "ip": f"{container.address}/{network.cidr.prefixlen}",
            "type": "veth",
        }
    }
    if network.mtu is not None:
        nets["net0"]["mtu"] = str(network.mtu)
    if container.public is not None and container.public_mac is not None:
        nets["net1"] = {
            "name": "eth1",
            "bridge": inventory.site.bridges.public,
            "firewall": "1",
            "hwaddr": container.public_mac,
            "ip": container.public.address,
            "type": "veth",
        }
        if container.public.gateway is not None or container.public.address == "dhcp":
            # Two default routes would fight: the public one wins (a lease brings its own), the internal network is
            # on its own link.
            nets["net0"].pop("gw")
        if container.public.gateway is not None:
            nets["net1"]["gw"] = str(container.public.gateway)
    return nets
