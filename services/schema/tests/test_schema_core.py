"""The models are what the migrations make."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine
from zentoria_schema import core, vectors
from zentoria_schema.embedded import PostgresServer
from zentoria_schema.rights import RIGHTS


@pytest.mark.parametrize(
    ("fixture", "metadata"), [("core_database", core.Base.metadata), ("vectors_database", vectors.Base.metadata)]
)
def test_the_models_are_what_the_migrations_make(
    postgres_server: PostgresServer, request: pytest.FixtureRequest, fixture: str, metadata: MetaData
) -> None:
    engine = create_engine(postgres_server.url(request.getfixturevalue(fixture)))

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or not (name or "").startswith(("audit_log_", "procrastinate_", "applied"))

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": ours, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_table_has_its_rights() -> None:
    assert set(RIGHTS) == set(core.Base.metadata.tables)
