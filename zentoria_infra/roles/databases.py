"""Who has which database, as the needs of the inventory's services say. Pure.

A container that needs the database container has one role in it, with the container's name and the password
``zentoria/db/<name>_password``. Its services share it. A database belongs to one such role, or to ``zentoria_owner``,
as which nobody logs in: then what roles may do in it is what their groups may.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from zentoria_infra.errors import InventoryError
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.roles.kit.clients import Consumer, consumers, database_password, reaches

SERVER, POOL = "postgresql", "pgbouncer"
RESERVED = frozenset({"postgres", "template0", "template1"})
"""Databases that every cluster has."""
OWNER = "zentoria_owner"
"""Owns the databases whose tables are ours (``zentoria_schema.roles``)."""


@dataclasses.dataclass(frozen=True, order=True)
class Access:
    """One role's way to one database.

    Args:
        role: name of the role, and of the container that it belongs to.
        database: name of the database.
        address: the container's address.
        direct: it connects to PostgreSQL itself.
        pooled: it connects to PgBouncer.
        groups: what it may do in a database of ours, as ``svc_backend``; empty where it owns the database.
        reads: it reads everything in it and owns nothing.
        extensions: what it wants installed there.
    """

    role: str
    database: str
    address: str
    direct: bool
    pooled: bool
    groups: tuple[str, ...] = ()
    reads: bool = False
    extensions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Database:
    """A database.

    Args:
        name: its name.
        owner: the role that owns it.
        members: roles that have rights in it by their groups.
        readers: roles that read everything in it.
        extensions: extensions that are created in it.
    """

    name: str
    owner: str
    members: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()

    @property
    def users(self) -> tuple[str, ...]:
        """Every role that may connect, sorted."""
        return tuple(sorted({self.owner, *self.members, *self.readers}))

    @property
    def ours(self) -> bool:
        """Whether its tables come with our migrations."""
        return self.owner == OWNER


def accesses(inventory: Inventory, container: Container) -> tuple[Access, ...]:
    """Every way from a role to a database in ``container``, as the inventory's needs say; sorted.

    A container that needs the port of PgBouncer is pooled, one that needs PostgreSQL's is direct; some are both. One
    that only reads has a way to each database that somebody else wished for.
    """
    found: dict[tuple[str, str], Access] = {}
    readers: list[tuple[Consumer, bool, bool]] = []
    for one, direct, pooled in _clients(inventory, container):
        if one.need.access == "read":
            readers.append((one, direct, pooled))
        elif one.need.database is not None:
            wish, name = one.need.database, one.container.name
            groups = (f"svc_{wish.group}",) if wish.group else ()
            way = Access(name, wish.name, str(one.container.address), direct, pooled, groups, False, wish.extensions)
            found[name, wish.name] = _both(found.get((name, wish.name)), way)
    names = {way.database for way in found.values()}
    for one, direct, pooled in readers:
        for name in names:
            key = (one.container.name, name)
            if key not in found or found[key].reads:
                way = Access(one.container.name, name, str(one.container.address), direct, pooled, reads=True)
                found[key] = _both(found.get(key), way)
    return tuple(sorted(found.values()))


def databases(ways: Iterable[Access]) -> tuple[Database, ...]:
    """The databases that are wished for, sorted by name.

    Raises:
        InventoryError: one of them belongs to nobody.
    """
    by_name: dict[str, list[Access]] = {}
    for way in ways:
        by_name.setdefault(way.database, []).append(way)
    found = []
    for name, every in sorted(by_name.items()):
        members = tuple(sorted(way.role for way in every if way.groups))
        owners = sorted(way.role for way in every if not way.groups and not way.reads) + [OWNER] * bool(members)
        if len(owners) != 1:
            raise InventoryError(
                "make the databases",
                on=name,
                got=f"{' and '.join(owners) or 'nobody'} would own it",
                todo="let one container need it without 'group', or all of them with it",
            )
        found.append(
            Database(
                name,
                owners[0],
                members,
                tuple(sorted(way.role for way in every if way.reads)),
                tuple(sorted({extension for way in every for extension in way.extensions})),
            )
        )
    return tuple(found)


def roles(ways: Iterable[Access]) -> tuple[str, ...]:
    """Roles that log in, sorted."""
    return tuple(sorted({way.role for way in ways}))


def groups(ways: Iterable[Access], role: str) -> tuple[str, ...]:
    """The groups of a role, sorted."""
    return tuple(sorted({group for way in ways if way.role == role for group in way.groups}))


def readers(ways: Iterable[Access]) -> frozenset[str]:
    """Roles that read everything (``pg_read_all_data``)."""
    return frozenset(way.role for way in ways if way.reads)


def check(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """Needs of the server that do not say which database, and databases with no owner or several."""
    owners: dict[str, Consumer] = {}
    for one, _, _ in _clients(inventory, container):
        wish = one.need.database
        if wish is None:
            if one.need.access == "use":
                text = "it says no database: 'database: {name: ...}', or 'access: read' to read all of them"
                yield problem(one.position(inventory), text)
            continue
        if wish.name in RESERVED:
            yield problem(one.position(inventory, "database.name"), f"'{wish.name}' is PostgreSQL's own database")
        other = owners.setdefault(wish.name, one)
        first = other.need.database
        if first is not None and bool(first.group) != bool(wish.group):
            there = other.position(inventory, "database")
            text = f"database '{wish.name}' is needed with a group and without one, also in {there}: who owns it?"
            yield problem(one.position(inventory, "database"), text)
        elif wish.group is None and other.container is not one.container:
            there = other.position(inventory, "database")
            text = f"database '{wish.name}' has an owner already, in {there}: two containers cannot own it"
            yield problem(one.position(inventory, "database"), text)


def grants(inventory: Inventory, container: Container, service: Service) -> Iterator[tuple[Consumer, str]]:
    """The password of each role that logs in, with a need that it is for."""
    for one, _, _ in _clients(inventory, container):
        yield one, database_password(one.container.name)


def _clients(inventory: Inventory, container: Container) -> Iterator[tuple[Consumer, bool, bool]]:
    """Consumers of a database container: whether they reach the server, and whether the pool."""
    of = {name: [one for one in container.services if one.component == name] for name in (SERVER, POOL)}
    for one in consumers(inventory, container):
        direct, pooled = (any(reaches(one, container, service) for service in of[name]) for name in (SERVER, POOL))
        if direct or pooled:
            yield one, direct, pooled


def _both(one: Access | None, other: Access) -> Access:
    """Two needs of one container for one database are one way."""
    if one is None:
        return other
    return dataclasses.replace(
        one,
        direct=one.direct or other.direct,
        pooled=one.pooled or other.pooled,
        groups=tuple(dict.fromkeys((*one.groups, *other.groups))),
        extensions=tuple(dict.fromkeys((*one.extensions, *other.extensions))),
    )
