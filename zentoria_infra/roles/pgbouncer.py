"""PgBouncer on 404: transaction pooling of the roles that the inventory sends through it."""

from __future__ import annotations

from zentoria_infra.guest import secrets
from zentoria_infra.guest.state import Unit
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles import databases
from zentoria_infra.roles.kit.fragment import Context, Fragment, drop_in, file, ids, secret_file
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
    server = next(other for other in context.container.services if other.component == "postgresql")
    ini = context.render(
        "pgbouncer/pgbouncer.ini",
        databases=sorted({way.database for way in ways}),
        server_port=server.port("postgres").first,
        address=context.address,
        port=service.port("pool").first,
        max_clients=MAX_CLIENTS,
        pool_size=POOL_SIZE,
        max_prepared=MAX_PREPARED,
    )
    users = {way.role: context.secret(databases.password_path(way.role)) for way in ways}
    lines = [f'"{role}" "{secrets.role_verifier(password, role)}"\n' for role, password in sorted(users.items())]
    files = (
        file("/etc/pgbouncer/pgbouncer.ini", ini, mode="0640", group="postgres"),
        secret_file("/etc/pgbouncer/userlist.txt", "".join(lines), owner="postgres", group="postgres"),
        drop_in(
            context,
            UNIT,
            "# One descriptor a client and a server connection, and some for itself.",
            f"LimitNOFILE={4 * MAX_CLIENTS}",
            wants="network-online.target postgresql.service",
        ),
    )
    return Fragment(
        packages=context.apt(service).packages,
        main=(*files, Unit(id=f"unit:{UNIT}", name=UNIT, reads=ids(files)), *context.health(service)),
    )
