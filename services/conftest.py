"""Real servers for the services' tests, one of each a test process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from zentoria_schema import embedded
from zentoria_schema.embedded import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL 16 with the roles of ours; logins ``auth`` and ``backend`` in their groups, ``postgres`` above all."""
    with embedded.postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def core_template(postgres_server: PostgresServer) -> str:
    """Name of a database with zentoria_core's tables. Clone it, and do not connect to it."""
    return postgres_server.migrated("template_core", "zentoria_core")


@pytest.fixture(scope="module")
def core_database(postgres_server: PostgresServer, core_template: str) -> Iterator[str]:
    """Name of a fresh zentoria_core for the tests of one module: ``postgres_server.url(core_database, "backend")``."""
    name = postgres_server.clone(f"core_{next(_numbers)}", core_template)
    yield name
    postgres_server.drop(name)
