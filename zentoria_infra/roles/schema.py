"""On 404: the tables of our databases, brought to what this release of the services needs.

The program is ``services/schema``. It runs as PostgreSQL's system user, through the socket: no password, and nobody
else may. What a database has before is dumped onto the data volume first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Migration, Release, Resource
from zentoria_infra.inventory.component_model import WorkspaceComponent
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.roles import databases
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory
from zentoria_infra.roles.kit.role import Call, Role

ROOT = "/opt/zentoria/schema"
PROGRAM = "zentoria-schema"
USER = "postgres"
DUMPS = "/var/lib/postgresql/dumps"
"""Beside the cluster, on its volume: the container's own disk is too small for it."""
SECONDS = 4 * 3600
"""For a dump and a migration together."""


def schema(context: Context, service: Service) -> Fragment:
    """The program, and the migration of each database of ours that a service needs."""
    component = context.inventory.component(service)
    if not isinstance(component, WorkspaceComponent):
        raise InventoryError(
            f"make the state of {context.container.name}",
            on=context.inventory.where(context.container, f"services.{service.name}.source"),
            got=f"component '{service.component}' does not come from this project's services folder",
            todo="set its source to {kind: workspace, directory: schema}",
        )
    files = context.materials.release(component.directory)
    heads = context.materials.migrations(component.directory)
    port = context.target(service, "postgresql", "postgres").port
    release = Release(
        id=f"release:{service.name}",
        root=ROOT,
        version=files.version,
        content=files.content,
        units=(),
        preflight=(PROGRAM, "heads"),
        user=USER,
        nonce=context.nonce,
    )
    ways = databases.accesses(context.inventory, context.container)
    migrations: list[Resource] = [
        Migration(
            id=f"migration:{one.name}",
            database=one.name,
            head=_head(context, service, heads, one.name),
            root=ROOT,
            program=PROGRAM,
            port=port,
            user=USER,
            dumps=DUMPS,
            timeout=SECONDS,
        )
        for one in databases.databases(ways)
        if one.ours
    ]
    folder = directory(DUMPS, mode="0700", owner=USER, group=USER)
    return Fragment(packages=("python3-venv",), main=(release, folder, *migrations))


def _head(context: Context, service: Service, heads: Mapping[str, str], database: str) -> str:
    if database not in heads:
        raise InventoryError(
            f"make the state of {context.container.name}",
            on=context.inventory.where(context.container, f"services.{service.name}"),
            got=f"services need '{database}' with a group, and there are no migrations for it",
            todo=f"leave the group out, or name one of: {', '.join(sorted(heads))}",
        )
    return heads[database]


def _check(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """It is done in the order of the inventory: after the server."""
    before = [one.component for one in container.services[: container.services.index(service)]]
    if databases.SERVER not in before and any(one.component == databases.SERVER for one in container.services):
        at = inventory.position(container, f"services.{service.name}")
        yield problem(at, f"'{service.name}' migrates what the server has: put it behind component 'postgresql'")


ROLE = Role(
    "schema",
    schema,
    sources=frozenset({"workspace"}),
    calls=(Call("postgresql", "postgres"),),
    volumes=(DUMPS,),
    checks=_check,
)
