"""Roles of the databases: who owns what is in them, and the groups that rights are granted to.

Logins are not made here. A container's login becomes a member of the groups of its components, and of nothing else.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

OWNER = "zentoria_owner"
"""Owns every object. Nobody can log in as it."""
GROUPS = ("svc_ai", "svc_auth", "svc_backend", "svc_ocr", "svc_rag")
"""One for each component that uses a database of ours."""


def ensure_roles(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Make the roles that are missing. Needs a superuser or CREATEROLE only if one is."""
    there = {row[0] for row in connection.execute("select rolname from pg_roles")}
    for name in (OWNER, *GROUPS):
        if name not in there:
            connection.execute(
                sql.SQL(
                    # Another database of the same server may be on its way to the same.
                    "do $$ begin create role {} nologin; "
                    "exception when duplicate_object or unique_violation then end $$"
                ).format(sql.Identifier(name))
            )
