"""Who needs which database, read from what the inventory's services need. Pure.

A container that needs the database container has one role in it, with the container's name and the password
``zentoria/db/<name>_password``. Its services share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from zentoria_infra.inventory.flows import expand_needs
from zentoria_infra.inventory.model import Container, Inventory

SHARED = "zentoria_core"
"""The database of everybody who has none of its own."""

OWN = {"n8n": "n8n", "embeddings": "zentoria_vectors"}
"""Containers with a database of their own: n8n brings its own migrations, vectors have the extension."""

SHARED_OWNER = "backend"
"""Owns the shared database; each other role has a schema of its own in it, named as the role."""

EXTENSIONS = {"zentoria_vectors": ("vector",)}
"""Extensions by database. ``vector`` needs a superuser to be created."""

READERS = frozenset({"backup"})
"""Roles that read everything and own nothing (``pg_read_all_data``)."""


@dataclasses.dataclass(frozen=True, order=True)
class Access:
    """One role's way to one database.

    Args:
        role: name of the role, and of the container that it belongs to.
        database: name of the database.
        address: the container's address.
        direct: it connects to PostgreSQL itself.
        pooled: it connects to PgBouncer.
    """

    role: str
    database: str
    address: str
    direct: bool
    pooled: bool


@dataclasses.dataclass(frozen=True)
class Database:
    """A database.

    Args:
        name: its name.
        owner: the role that owns it.
        tenants: other roles that have a schema of their own in it.
        readers: roles that read everything in it.
        extensions: extensions that are created in it.
    """

    name: str
    owner: str
    tenants: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()

    @property
    def users(self) -> tuple[str, ...]:
        """Every role that may connect, sorted."""
        return tuple(sorted({self.owner, *self.tenants, *self.readers}))


def password_path(role: str) -> str:
    """Where a role's password is."""
    return f"zentoria/db/{role}_password"


def accesses(inventory: Inventory, container: Container) -> tuple[Access, ...]:
    """Every way from a role to a database in ``container``, as the inventory's needs say; sorted.

    A container that needs the port of PgBouncer is pooled, one that needs PostgreSQL's is direct; some are both.
    """
    pool = _ports(container, "pgbouncer")
    straight = _ports(container, "postgresql")
    wanted: dict[str, set[int]] = {}
    for need in expand_needs(inventory):
        if need.destination == container.name and need.protocol == "tcp":
            wanted.setdefault(need.source, set()).update(range(need.first, need.last + 1))
    found: list[Access] = []
    for role, ports in wanted.items():
        direct, pooled = bool(ports & straight), bool(ports & pool)
        if direct or pooled:
            address = str(inventory.by_name(role).address)
            found.extend(Access(role, name, address, direct, pooled) for name in _names(role))
    return tuple(sorted(found))


def databases(ways: Iterable[Access]) -> tuple[Database, ...]:
    """The databases that exist, sorted by name. They exist even when nobody needs them yet."""
    roles = {way.role for way in ways}
    owners = {SHARED: SHARED_OWNER, **{name: role for role, name in OWN.items()}}
    readers = tuple(sorted(roles & READERS))
    shared = tuple(sorted(roles - READERS - set(OWN) - {SHARED_OWNER}))
    return tuple(
        Database(name, owner, shared if name == SHARED else (), readers, EXTENSIONS.get(name, ()))
        for name, owner in sorted(owners.items())
    )


def roles(ways: Iterable[Access]) -> tuple[str, ...]:
    """Roles that log in, and owners of databases, sorted."""
    return tuple(sorted({SHARED_OWNER, *OWN, *(way.role for way in ways)}))


def _names(role: str) -> tuple[str, ...]:
    if role in READERS:
        return tuple(sorted({SHARED, *OWN.values()}))
    return (OWN.get(role, SHARED),)


def _ports(container: Container, component: str) -> set[int]:
    return {
        number
        for service in container.services
        if service.component == component
        for port in service.exposes
        for number in port.port.numbers
    }
