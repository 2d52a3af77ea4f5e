"""A role as a value: what a component is made by, and what it asks of the inventory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Inventory, Service
    from zentoria_infra.inventory.problems import Problem
    from zentoria_infra.roles.kit.clients import Consumer
    from zentoria_infra.roles.kit.fragment import Context, Fragment

Source = Literal["apt", "npm", "pypi", "url", "workspace"]
"""``kind`` of a component's source."""
Wish = Literal["buckets", "database", "keys"]
"""What a need may wish for besides ports: the name of its key in the inventory."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A service that a role has to reach: the one of that component which the inventory says that it needs.

    Args:
        component: whom it calls, as ``pgbouncer``.
        port: name of the port there.
    """

    component: str
    port: str


def no_secrets(inventory: Inventory, container: Container, service: Service) -> Iterable[str]:
    """A role that asks for none."""
    return ()


def no_grants(inventory: Inventory, container: Container, service: Service) -> Iterable[tuple[Consumer, str]]:
    """A role that shares no secret with its consumers."""
    return ()


def no_problems(inventory: Inventory, container: Container, service: Service) -> Iterable[Problem]:
    """A role that checks nothing of its own."""
    return ()


@dataclasses.dataclass(frozen=True)
class Role:
    """How a component is built into a container. ``zentoria validate`` holds it against the inventory.

    Args:
        component: what services of it name.
        build: makes a service's part of its container's state.
        sources: kinds of source that it can use.
        unit: the systemd unit of the service; None: it has none of its own. Where it repeats, a further service has
            a unit with its name behind, as ``n8n-worker.service``.
        ports: names of the service's ports that it cannot do without.
        calls: other services that it cannot do without.
        volumes: folders that must be on a volume, or their content is lost with the container.
        secrets: paths that it asks for, to be declared by the service.
        grants: paths that it shares with a consumer, as the password of a login: the consumer's container declares it.
        metrics_path: where it has metrics; None: it has none.
        takes: wishes of its consumers that it knows how to fulfil.
        repeats: several services of it may be in one container.
        checks: what else must hold between it and the inventory.
    """

    component: str
    build: Callable[[Context, Service], Fragment]
    sources: frozenset[Source] = frozenset({"apt"})
    unit: str | None = None
    ports: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    volumes: tuple[str, ...] = ()
    secrets: Callable[[Inventory, Container, Service], Iterable[str]] = no_secrets
    grants: Callable[[Inventory, Container, Service], Iterable[tuple[Consumer, str]]] = no_grants
    metrics_path: str | None = None
    takes: frozenset[Wish] = frozenset()
    repeats: bool = False
    checks: Callable[[Inventory, Container, Service], Iterable[Problem]] = no_problems

    def units(self, service: Service) -> tuple[str, ...]:
        """Names that the unit of a service may have; empty where there is none."""
        if self.unit is None:
            return ()
        stem, _, kind = self.unit.rpartition(".")
        return (self.unit, f"{stem}-{service.name}.{kind}") if self.repeats else (self.unit,)
