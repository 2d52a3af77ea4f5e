"""PgBouncer on 404: transaction pooling of the roles that the inventory sends through it."""

from __future__ import annotations

from zentoria_infra.guest import secrets
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles import databases
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.debian_server import debian_server
from zentoria_infra.roles.kit.fragment import Context, Fragment, drop_in, file, secret_file
from zentoria_infra.roles.kit.role import Call, Role
from zentoria_infra.roles.postgresql import POOL_SIZE

UNIT = "pgbouncer.service"
MAX_CLIENTS = 1000
"""Clients that PgBouncer takes (``max_client_conn``): more than all services open together."""
MAX_PREPARED = 200
"""Prepared statements kept a server connection; above 0 they work in transaction mode (PgBouncer 1.21 and newer)."""


def pgbouncer(context: Context, service: Service) -> Fragment:
    """The pool.

    Its user list has the same SCRAM verifiers as the server, and so no password: PgBouncer takes the client's proof on
    to the server, which works when salt and iterations are equal (PgBouncer's manual, "Authentication file format").
    """
    ways = [way for way in databases.accesses(context.inventory, context.container) if way.pooled]
    ini = context.render(
        "pgbouncer/pgbouncer.ini",
        databases=sorted({way.database for way in ways}),
        server_port=context.target(service, "postgresql", "postgres").port,
        address=context.address,
        port=service.port("pool").first,
        max_clients=MAX_CLIENTS,
        pool_size=POOL_SIZE,
        max_prepared=MAX_PREPARED,
    )
    users = {way.role: context.secret(clients.database_password(way.role)) for way in ways}
    lines = [f'"{role}" "{secrets.role_verifier(password, role)}"\n' for role, password in sorted(users.items())]
    files = (
        file("/etc/pgbouncer/pgbouncer.ini", ini, mode="0640", group="postgres"),
        secret_file("/etc/pgbouncer/userlist.txt", "".join(lines), owner="postgres", group="postgres"),
    )
    late = drop_in(
        context,
        UNIT,
        "# One descriptor a client and a server connection, and some for itself.",
        f"LimitNOFILE={4 * MAX_CLIENTS}",
        wants="network-online.target postgresql.service",
    )
    return debian_server(context, service, UNIT, files, late=late)


ROLE = Role(
    "pgbouncer",
    pgbouncer,
    unit=UNIT,
    ports=("pool",),
    calls=(Call("postgresql", "postgres"),),
    takes=frozenset({"database"}),
)
