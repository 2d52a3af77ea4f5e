"""Who needs what of whom, by container: what a provider is to make for its consumers, and where a consumer finds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from zentoria_infra.errors import InventoryError
from zentoria_infra.inventory.flows import expand_flows, need_intervals
from zentoria_infra.inventory.model import ALL, Container, Inventory, Need, Service
from zentoria_infra.inventory.problems import Position

S3_REGION = "us-east-1"
"""What requests to the object storage are signed for: servers of one's own take any, most call theirs so."""


@dataclasses.dataclass(frozen=True)
class Consumer:
    """A service that needs something of another container.

    Args:
        container: the one that the service is in.
        service: the service.
        number: which of its needs.
        need: that need.
    """

    container: Container
    service: Service
    number: int
    need: Need

    def position(self, inventory: Inventory, key: str = "") -> Position:
        """Where the need, or a key of it, is written."""
        path = f"services.{self.service.name}.needs.{self.number}"
        return inventory.position(self.container, f"{path}.{key}" if key else path)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a consumer connects to.

    Args:
        host: an address.
        port: its first port.
    """

    host: str
    port: int


def consumers(inventory: Inventory, container: Container) -> tuple[Consumer, ...]:
    """Services of other containers that need something in this one, in the inventory's order."""
    by_target = inventory.remembered("consumers", lambda: _consumers(inventory))
    found = (*by_target.get(container.name, ()), *by_target.get(ALL, ()))
    return tuple(one for one in found if one.container.name != container.name)


def reaches(consumer: Consumer, provider: Container, service: Service) -> bool:
    """Whether what a consumer needs of a container is, or has in it, a port of this service."""
    ports = [port for port in service.exposes if consumer.need.service_name in ("", service.name)]
    return any(
        protocol == port.protocol and first <= port.port.last and port.port.first <= last
        for protocol, first, last in need_intervals(provider, consumer.need)
        for port in ports
    )


def target(inventory: Inventory, container: Container, service: Service, component: str, port: str) -> Target:
    """Where a service reaches the service of a component that it says that it needs.

    Args:
        inventory: everything.
        container: the one that the service is in.
        service: who calls.
        component: whom it calls, as ``pgbouncer``.
        port: name of the port there.

    Raises:
        InventoryError: none of its needs leads to such a service, or that has no such port. What is not needed in the
            inventory, the firewall would not let through.
    """
    found = callee(inventory, service, component)
    if found is None:
        raise InventoryError(
            f"make the state of {container.name}",
            on=inventory.where(container, f"services.{service.name}.needs"),
            got=f"'{service.name}' calls a service of component '{component}', and none of its needs leads to one",
            todo="put it into its needs, as {service: container.service}",
        )
    there, called = found
    try:
        return Target(str(there.address), called.port(port).first)
    except KeyError:
        raise InventoryError(
            f"make the state of {container.name}",
            on=inventory.where(there, f"services.{called.name}.exposes"),
            got=f"{there.name}.{called.name} has no port '{port}', and {container.name}.{service.name} calls it",
            todo="give it a port of that name",
        ) from None


def callee(inventory: Inventory, service: Service, component: str) -> tuple[Container, Service] | None:
    """The service of a component that a service says that it needs, and its container; None: it needs none."""
    for need in service.needs:
        if need.container == ALL:
            continue
        try:
            there = inventory.by_name(need.container)
        except KeyError:  # `zentoria validate` names it
            continue
        for one in there.services:
            if one.component == component and need.service_name in ("", one.name):
                return there, one
    return None


def database_of(inventory: Inventory, service: Service, component: str) -> str | None:
    """Name of the database that a service wishes for of a service of that component; None: it says none."""
    found = callee(inventory, service, component)
    if found is None:
        return None
    there, one = found
    wished = [
        need.database.name
        for need in service.needs
        if need.database is not None and need.container == there.name and need.service_name in ("", one.name)
    ]
    return wished[0] if wished else None


def buckets_of(inventory: Inventory, service: Service, component: str) -> tuple[str, ...]:
    """Buckets that a service wishes for of a service of that component, sorted; none where it says none."""
    found = callee(inventory, service, component)
    if found is None:
        return ()
    there, one = found
    needs = (need for need in service.needs if need.container == there.name and need.service_name in ("", one.name))
    return tuple(sorted({name for need in needs for name in need.buckets}))


def database_password(role: str) -> str:
    """Where the password of a database role is; a role is named as its container."""
    return f"zentoria/db/{role}_password"


def redis_password(user: str) -> str:
    """Where the password of a user of Redis is; a user is named as its container."""
    return f"zentoria/redis/{user}_password"


def s3_secret_key(user: str) -> str:
    """Where the secret key of a user of the object storage is; the access key is its name, its container's."""
    return f"zentoria/minio/{user}_secret_key"


def identity_key(container: str) -> str:
    """Where the key is with which a container of ours shows others who it is."""
    return f"zentoria/identity/{container}"


def callers(inventory: Inventory, container: Container, service: Service) -> tuple[str, ...]:
    """Containers that may call a service of ours, sorted: those with a key, from which a flow leads to a port of it."""
    sources = {
        flow.source
        for flow in expand_flows(inventory)
        for port in service.exposes
        if flow.destination == container.name
        and flow.protocol == port.protocol
        and flow.first <= port.port.last
        and port.port.first <= flow.last
    }
    return tuple(
        sorted(
            one.name
            for one in inventory.containers
            if one.name in sources and any(identity_key(one.name) in each.secrets for each in one.services)
        )
    )


def _consumers(inventory: Inventory) -> Mapping[str, tuple[Consumer, ...]]:
    found: dict[str, list[Consumer]] = {}
    for container in inventory.containers:
        for service in container.services:
            for number, need in enumerate(service.needs):
                found.setdefault(need.container, []).append(Consumer(container, service, number, need))
    return {name: tuple(every) for name, every in found.items()}
