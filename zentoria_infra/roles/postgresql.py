"""Container 404: one PostgreSQL cluster on its own volume, a role a service, and exactly the ways that are needed."""

from __future__ import annotations

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest import secrets
from zentoria_infra.guest.state import Command, File, Health, Resource, Unit
from zentoria_infra.inventory.component_model import AptRepository
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles import databases, postgres_sql
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.data_owner import data_owner
from zentoria_infra.roles.kit.debian_server import exporter
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids
from zentoria_infra.roles.kit.role import Role

CLUSTER = "main"
HOME = "/var/lib/postgresql"
POOL_SIZE = 25
"""Server connections of PgBouncer for one role and database (``default_pool_size``)."""
DIRECT_CONNECTIONS = 10
"""Connections that a role may want beside the pool: migrations, n8n's own pool."""
MONITOR = "prometheus"
"""System user of Debian's exporters, and the role that it has."""
KEYRINGS = "/etc/apt/keyrings"
TOOLS = "/usr/local/lib/zentoria"


def postgresql(context: Context, service: Service) -> Fragment:
    """The server: packages of the version that the inventory says, the cluster, its settings, and what is in it."""
    component = context.apt(service)
    version = component.version
    if version is None or not version.isdecimal():
        raise InventoryError(
            "make the state of PostgreSQL",
            on=context.inventory.where(context.container, f"services.{service.name}.component"),
            got=f"component '{service.component}' says version '{version or ''}'",
            todo='set its version to PostgreSQL\'s major version, as "17"',
        )
    unit = f"postgresql@{version}-{CLUSTER}.service"
    port = service.port("postgres").first
    folder = f"/etc/postgresql/{version}/{CLUSTER}"
    ways = databases.accesses(context.inventory, context.container)
    hba = context.render("postgresql/pg_hba.conf", ways=ways, monitor=MONITOR)
    settings = context.render("postgresql/zentoria.conf", **_sizes(context, ways), address=context.address, port=port)
    files = (
        file(f"{folder}/conf.d/zentoria.conf", settings, owner="postgres", group="postgres"),
        file(f"{folder}/pg_hba.conf", hba, mode="0640", owner="postgres", group="postgres"),
        file(f"{folder}/pg_ident.conf", "# Made by Zentoria: no maps.\n", mode="0640", owner="postgres",
             group="postgres"),
        _late(context, version),
    )  # fmt: skip
    return Fragment(
        before=(
            # without it, the package would make a cluster of its own, with other settings
            file("/etc/postgresql-common/createcluster.conf", context.render("postgresql/createcluster.conf")),
            *(_repository(context, component.repository) if component.repository else ()),
        ),
        packages=component.packages,
        main=(
            data_owner("postgresql", HOME, "postgres"),
            *_cluster(context, version, port),
            *files,
            Unit(id="unit:postgresql.service", name="postgresql.service"),
            # started by systemd's generator for clusters whose start.conf says "auto"
            Unit(id=f"unit:{unit}", name=unit, enabled=None, reads=ids(files)),
            Health(id="health:postgresql answers", tcp=("127.0.0.1", port), timeout=60),
            *_content(context, ways),
            *context.health(service),
        ),
    )


def _content(context: Context, ways: tuple[databases.Access, ...]) -> tuple[Resource, ...]:
    render = context.render
    found: list[Resource] = []
    readers = databases.readers(ways)
    groups = {group for way in ways for group in way.groups}
    if groups:
        found.append(postgres_sql.groups_command(render, tuple(sorted({databases.OWNER, *groups}))))
    for role in databases.roles(ways):
        verifier = secrets.role_verifier(context.secret(clients.database_password(role)), role)
        mine = databases.groups(ways, role)
        found.append(postgres_sql.login_command(render, role, verifier, groups=mine, reads_all=role in readers))
    found += [postgres_sql.monitor_command(render, MONITOR), postgres_sql.closed_command(render)]
    for database in databases.databases(ways):
        found += [postgres_sql.database_command(render, database), postgres_sql.inside_command(render, database)]
    return tuple(found)


def _cluster(context: Context, version: str, port: int) -> tuple[Resource, ...]:
    """Make the cluster, or take on the one that is on the volume. One whose settings are there is never made anew."""
    text = context.render("postgresql/create-cluster", version=version, cluster=CLUSTER, home=HOME, port=port)
    return (
        directory(TOOLS),
        file(f"{TOOLS}/create-cluster", text, mode="0755"),
        Command(
            id="postgresql:cluster",
            check=(f"{TOOLS}/create-cluster", "check"),
            apply=(f"{TOOLS}/create-cluster", "make"),
            timeout=300,
        ),
    )


def _sizes(context: Context, ways: tuple[databases.Access, ...]) -> dict[str, object]:
    """Settings by the container's memory (MiB), after PostgreSQL's manual, "Resource Consumption"."""
    memory = context.container.resources.memory
    pooled = len({(way.role, way.database) for way in ways if way.pooled})
    direct = len({way.role for way in ways if way.direct})
    connections = POOL_SIZE * pooled + DIRECT_CONNECTIONS * direct + 15
    return {
        "connections": connections,
        "shared_buffers": max(memory // 4, 64),
        "effective_cache_size": max(memory * 5 // 8, 64),
        "work_mem": max(memory // 4 // connections, 4),
        "maintenance_work_mem": min(max(memory // 16, 32), 1024),
        "max_wal_size": min(max(memory // 4, 256), 4096),
        "cores": context.container.resources.cores,
    }


def _late(context: Context, version: str) -> File:
    """Not ``drop_in``: Debian's unit must not restart by itself while a recovery runs."""
    text = context.render("postgresql/unit.conf")
    return file(f"/etc/systemd/system/postgresql@{version}-{CLUSTER}.service.d/zentoria.conf", text)


def _repository(context: Context, repository: AptRepository) -> tuple[Resource, ...]:
    # apt tells an armored key from a binary one by the file's name (sources.list(5), Signed-By)
    key = f"{KEYRINGS}/postgresql.{'gpg' if repository.key_url.endswith('.gpg') else 'asc'}"
    source = {"types": ("deb",), "uris": (repository.url,), "suites": repository.suites,
              "components": repository.components, "signed_by": key}  # fmt: skip
    blob = context.materials.file(repository.key_url, repository.key_sha256)
    return (
        File(id=f"file:{key}", path=key, blob=blob),
        file("/etc/apt/sources.list.d/postgresql.sources", context.render("base/sources.deb822", sources=[source])),
    )


def _source(context: Context, service: Service) -> dict[str, str]:
    """Through its socket: no password."""
    return {"DATA_SOURCE_NAME": f"user={MONITOR} host=/run/postgresql dbname=postgres"}


ROLE = Role(
    "postgresql",
    postgresql,
    unit="postgresql.service",
    ports=("postgres",),
    volumes=(HOME,),
    grants=databases.grants,
    takes=frozenset({"database"}),
    checks=databases.check,
)
EXPORTER_ROLE = exporter("postgres-exporter", variables=_source)
