"""What migrations are run with: one transaction, as the owner of everything."""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg
from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import Connection, MetaData

ATTRIBUTE = "connection"
"""Under which a connection stands in the attributes of Alembic's configuration."""


def run(context: Any, metadata: MetaData) -> None:
    """Run what Alembic was asked for, on the connection that its configuration carries.

    All migrations of one run share the caller's transaction: after a failure there is what was before.
    """
    environment: EnvironmentContext = context
    connection: Connection = environment.config.attributes[ATTRIBUTE]
    environment.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    environment.run_migrations()


def to_driver(connection: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    """The connection of the driver below, in the same transaction."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"migrations need psycopg's connection, not {type(driver).__name__}")
    return driver


def run_sql(connection: Connection, database: str, name: str) -> None:
    """Run the statements of a file in the folder ``sql`` of ``database``."""
    text = resources.files("zentoria_schema").joinpath("migrations", database, "sql", name).read_text("utf-8")
    to_driver(connection).execute(text.encode())
