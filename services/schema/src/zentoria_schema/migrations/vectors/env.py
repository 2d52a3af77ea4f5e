"""How Alembic reaches zentoria_vectors: with the connection that it is handed."""

from alembic import context
from zentoria_schema.migrations.running import run
from zentoria_schema.vectors import Base

run(context, Base.metadata)
