"""Real servers for the services' tests, one of each a test process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from real_servers import RedisServer, S3Server
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


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis with ACL users ``auth`` and ``backend``; ``redis_server.password("auth")``, ``.flush()``, ``.stop()``."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """S3 with the three buckets; ``s3_server.secret_key("backend")``, ``.store("uploads")`` for the administrator."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def vectors_database(postgres_server: PostgresServer) -> Iterator[str]:
    """Name of a fresh zentoria_vectors for the tests of one module."""
    name = postgres_server.migrated(f"vectors_{next(_numbers)}", "zentoria_vectors")
    yield name
    postgres_server.drop(name)
