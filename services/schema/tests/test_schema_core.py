"""The models are what the migrations make."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from zentoria_schema.core import Base
from zentoria_schema.embedded import PostgresServer


def test_the_models_are_what_the_migrations_make(postgres_server: PostgresServer, core_database: str) -> None:
    engine = create_engine(postgres_server.url(core_database))

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or not (name or "").startswith(("audit_log_", "procrastinate_", "applied"))

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": ours, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
